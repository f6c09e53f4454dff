"""Windows."""

from parfocal.gui._live import live_command
from parfocal.gui._view import layers_of, view_command

__all__ = ["layers_of", "live_command", "view_command"]
