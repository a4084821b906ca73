"""What counts as small, in nats a token."""

DELTA = 0.01  # a smaller difference is taken as none: 1 % of perplexity
SMALLEST_GAIN = 0.005  # a smaller gain by longer context is none, of a text as of a model
