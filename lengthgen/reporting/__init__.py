"""From the tables of runs to a folder worth citing: verdicts, summaries, figures. Imports no torch."""
