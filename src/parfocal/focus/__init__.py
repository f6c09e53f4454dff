"""Focus scores of a stack and its best plane."""
