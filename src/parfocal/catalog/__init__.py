"""The Tiled catalog: serve, open, write, query, recover."""
