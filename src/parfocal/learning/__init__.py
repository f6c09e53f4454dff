"""Training loop, weights and cards, adapters."""
