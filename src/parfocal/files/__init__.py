"""TIFF, OME-TIFF, ND2, HDF5 and folders of planes in; safe writes out."""
