"""Which frames of a stack make one good image."""

from parfocal.slices.selection._evidence import Selection, StackEvidence

__all__ = ["Selection", "StackEvidence"]
