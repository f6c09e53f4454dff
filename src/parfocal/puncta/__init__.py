"""Puncta: simulate, detect, localize, follow, and tie calcium to them."""

from parfocal.puncta._localizations import Localizations, join_localizations, no_localizations
from parfocal.puncta._tracks import CalciumEvents, CalciumTraces, PunctaTracks
from parfocal.puncta._truth import PunctaTruth

__all__ = [
    "CalciumEvents",
    "CalciumTraces",
    "Localizations",
    "PunctaTracks",
    "PunctaTruth",
    "join_localizations",
    "no_localizations",
]
