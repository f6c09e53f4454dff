"""Where pixels are: the FrameSource protocol, the memory ring, the OME-Zarr store."""
