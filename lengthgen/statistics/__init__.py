"""Losses by seed and document; intervals, comparisons and power. NumPy and SciPy alone."""
