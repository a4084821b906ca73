"""From words on the command line to one composed configuration; what is wrong with it is told in one line. Imports no torch."""
