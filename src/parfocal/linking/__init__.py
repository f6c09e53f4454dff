"""Sparse assignment, overlapping labels, sets merged by pairs, points linked over time."""

from parfocal.linking._assign import assign, merge_pairs
from parfocal.linking._overlaps import Overlaps, compact, overlaps
from parfocal.linking._points import PointTracks, link_points

__all__ = ["Overlaps", "PointTracks", "assign", "compact", "link_points", "merge_pairs", "overlaps"]
