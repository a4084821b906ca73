"""Evaluation: protocols (which windows, which targets), scoring, statistics."""
