"""Puncta: detection, localization, tracks and calcium."""
