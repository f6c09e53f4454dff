"""Sparse assignment, graph linking and interval runs."""
