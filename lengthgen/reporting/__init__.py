"""From the tables of runs to a folder worth citing: verdicts, pages, figures. No torch."""
