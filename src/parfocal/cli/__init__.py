"""The command line."""

from parfocal.cli._main import app, main

__all__ = ["app", "main"]
