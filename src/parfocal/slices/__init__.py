"""Selection, quality and repair of slices."""
