"""TIFF, OME-TIFF, ND2, HDF5 and folders of planes in; safe writes out."""

from parfocal.files._safe_write import write_atomically

__all__ = ["write_atomically"]
