"""What the keys `kernel` and `linear` may name, for those who check them without torch."""

ATTENTION = ("auto", "cpu", "sdpa", "flex", "reference")  # dispatch.py says what each is
PRODUCTS = ("auto", "torch", "onednn")  # of activations and weights: linear.py
