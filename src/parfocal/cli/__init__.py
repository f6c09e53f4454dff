"""The command line."""

from parfocal.cli._main import commands, main

__all__ = ["commands", "main"]
