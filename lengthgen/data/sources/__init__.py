"""Synthetic sources whose best possible loss is known exactly, token by token. NumPy alone.

A source draws symbols (`sample`) and gives for each, in nats, the loss of the perfect predictor
(`losses`). A model's excess over that is paired, with little noise; a model below it has seen its
targets.

| file | source | what it asks of a positional scheme |
|---|---|---|
| lags.py | copies from a fixed set of lags (Raftery 1985) | to find one offset, or a law of them |
| weights.py | laws of lags, and the bias that is exactly right for each | |
| fractional.py | copies from a fixed share of the document | a position relative to the length |
| dirichlet.py | symbols whose frequencies are new in each document | to use all context alike |
| recall.py | pairs of key and value, repeated later | to match content at any distance |

draws.py makes random numbers that are the same everywhere, copying.py samples by copying.

Tasks have exact match in place of a floor, and tasks.py packs their examples into documents:
strings.py (copy, reverse, sorting), arithmetic.py, groups.py (parity, S5), mqar.py.
"""
