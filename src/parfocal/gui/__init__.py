"""Windows."""

from parfocal.gui._view import layers_of, view_command

__all__ = ["layers_of", "view_command"]
