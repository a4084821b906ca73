"""From words on the command line to one composed configuration. Imports no torch."""
