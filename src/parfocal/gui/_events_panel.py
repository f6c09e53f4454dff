"""The log of events: shown, and added to `autofocus_events.log` as they happen."""

from __future__ import annotations

import time
from pathlib import Path

from PySide6.QtWidgets import QPlainTextEdit

EVENTS_FILE = "autofocus_events.log"


class EventsPanel(QPlainTextEdit):
    """Lines of what happened.

    Parameters
    ----------
    folder : Path
        Where the log is written; lines are added, never replaced.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setMaximumBlockCount(2000)
        self.path = folder / EVENTS_FILE
        self._file = self.path.open("a", encoding="utf-8", buffering=1)

    def note(self, text: str) -> None:
        """Add a line."""
        line = " ".join(text.split())
        now = time.time()
        self.appendPlainText(f"{time.strftime('%H:%M:%S', time.localtime(now))}  {line}")
        if not self._file.closed:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
            self._file.write(f"{stamp}.{int(now % 1 * 1000):03d}Z  {line}\n")

    def shut(self) -> None:
        """Close the file."""
        self._file.close()
