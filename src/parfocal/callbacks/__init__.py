"""Documents in, documents out: one Analysis per science room, and replay."""
