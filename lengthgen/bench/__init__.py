"""`lengthgen bench`: how fast, how large, and beside whom. No part of a run.

command.py reads the arguments, kinds.py is each kind of benchmark, measuring.py how candidates are
measured, marks.py the pass marks. intervals.py: whether intervals and tests keep their promise.
"""
