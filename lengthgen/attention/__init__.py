"""Attention: what a bias looks like, and the fastest exact way to compute it."""
