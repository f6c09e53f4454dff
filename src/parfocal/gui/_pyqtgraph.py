"""pyqtgraph, on PySide6. What its plots have is made at run time, so it has no types here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import PySide6.QtWidgets  # noqa: F401  # pyright: ignore[reportUnusedImport]  (pyqtgraph takes the binding it finds)

pg: Any = import_module("pyqtgraph")
