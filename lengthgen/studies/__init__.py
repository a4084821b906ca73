"""Studies: claims declared before anything runs, their runs, and a verdict on each."""
