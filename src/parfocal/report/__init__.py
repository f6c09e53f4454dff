"""Pages a person reads in the morning."""
