"""parfocal: a self-driving light microscope on Bluesky."""

from importlib.metadata import version

__version__ = version("parfocal")
