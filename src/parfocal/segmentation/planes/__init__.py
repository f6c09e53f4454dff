"""Masks of planes linked into objects, plane by plane."""

from parfocal.segmentation.planes._finish import LinkedPlanes, MergeCandidate
from parfocal.segmentation.planes._linker import PlaneLinker, link_planes
from parfocal.segmentation.planes._settings import LinkSettings

__all__ = ["LinkSettings", "LinkedPlanes", "MergeCandidate", "PlaneLinker", "link_planes"]
