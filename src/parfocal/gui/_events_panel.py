"""The log of events: shown, and added to `autofocus_events.log` as they happen."""

from __future__ import annotations

import math
from datetime import UTC, datetime
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

    def note(self, text: str, code: str = "NOTE", frame: int = -1, error_um: float = math.nan) -> None:
        """Add a line: time (UTC), code, frame, error, words, as `parfocal lock` writes them."""
        words = " ".join(text.split())
        now = datetime.now(UTC)
        self.appendPlainText(f"{now.astimezone():%H:%M:%S}  {words}")
        if not self._file.closed:
            when = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            which = f"frame {frame}" if frame >= 0 else "-"
            error = f"{1e3 * error_um:+.1f} nm" if math.isfinite(error_um) else "-"
            self._file.write(f"{when}  {code:<20} {which:<12} {error:<10} {words}\n")

    def shut(self) -> None:
        """Close the file."""
        self._file.close()
