"""Sums of losses over seeds and documents, and what they support: intervals, comparisons, power. NumPy and SciPy alone."""
