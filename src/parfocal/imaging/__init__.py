"""Sharpness, correlation, registration and projection: numba over arrays."""
