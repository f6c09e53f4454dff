"""Measurements beside peers: ``parfocal bench NAME``."""
