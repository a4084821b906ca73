"""lengthgen: which positional scheme holds up on sequences longer than it was trained on?"""

__version__ = "0.1.0"
