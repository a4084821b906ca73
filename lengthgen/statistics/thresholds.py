"""What counts as small, in nats a token."""

DELTA = 0.01  # a smaller difference is taken as none: 1 % of perplexity
SMALLEST_GAIN = 0.005  # a smaller gain by longer context is none, of a text as of a model
IN_USE = 0.05  # a smaller gain by positions at the training length: they are not in use
# A training whose last doubling of steps improved the loss at its length by as much or more is not
# at its end: what it shows may be its budget, not its scheme.
UNDER_TRAINED = 0.05
