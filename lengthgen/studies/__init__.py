"""Studies: claims that are declared before anything runs, the runs that they need, and a verdict on each (`lengthgen study NAME`)."""
