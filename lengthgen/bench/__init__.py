"""`lengthgen bench`: how fast, how large, and beside whom. command.py and kinds.py come first."""
