"""Nuclei in 3D: find, link, restore, doubt, correct, learn, follow."""

from parfocal.segmentation._certainty import (
    Certainty,
    CertaintyLimits,
    certainty_of,
)
from parfocal.segmentation._plane_stream import (
    PlaneStream,
)
from parfocal.segmentation._segmentation import (
    Backend,
    NetOutput,
    PlaneLink,
    Segmentation,
)

__all__ = [
    "Backend",
    "Certainty",
    "CertaintyLimits",
    "NetOutput",
    "PlaneLink",
    "PlaneStream",
    "Segmentation",
    "certainty_of",
]
