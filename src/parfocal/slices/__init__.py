"""Selection, quality and repair of slices."""

from parfocal.slices._verdict import Verdict

__all__ = ["Verdict"]
