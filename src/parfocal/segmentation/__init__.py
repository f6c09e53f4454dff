"""Nuclei in 3D."""
