"""parfocal: a self-driving light microscope on Bluesky."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("parfocal")
except PackageNotFoundError:  # a clone that is not installed
    __version__ = "0+clone"
