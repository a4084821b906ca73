"""Synthetic sources: sequences whose best possible loss is known exactly, token by token. NumPy alone: no dataset, no model.

A source draws symbols (`sample`) and says for each one, in nats, what the perfect predictor loses on it (`losses`). A model's
excess over that is a paired quantity with little noise, and no model can go below it: one that does has seen its targets.

| file | source | what it asks of a positional scheme |
|---|---|---|
| lags.py | copies from a fixed set of lags (Raftery 1985) | to find an offset: one (lag copy) or a whole law of them |
| weights.py | the laws of lags, and the bias that is exactly right for each | |
| fractional.py | copies from a lag that is a fixed share of the document | a position relative to the length |
| dirichlet.py | symbols of an unknown frequency, drawn anew for each document | nothing but to use all of the context alike |
| recall.py | pairs of a key and a value, asked for again at chosen distances | to match content, at any distance |

Beside them: draws.py (random numbers that are the same everywhere), copying.py (sampling by copying, fast), partitions.py (the exact
entropy rate of lags). A task with one right answer is a source whose answer has the floor 0, as the values in recall.py have.

Tasks that are nothing but questions and answers are examples packed into documents by tasks.py, and have exact match in place of a floor:
strings.py (copy, reverse, sorting), arithmetic.py (addition), groups.py (parity, S5), mqar.py (multi-query associative recall).
"""
