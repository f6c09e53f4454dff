"""Spots found and fitted, as ThunderSTORM defines it, on the one fitting core."""

from parfocal.puncta.detection._candidates import find_candidates
from parfocal.puncta.detection._expression import evaluate
from parfocal.puncta.detection._fit_spots import fit_at
from parfocal.puncta.detection._guess_camera import guess_camera
from parfocal.puncta.detection._labels import labels_of
from parfocal.puncta.detection._localize import localize
from parfocal.puncta.detection._movie import localize_frames, localize_movie
from parfocal.puncta.detection._settings import PLANES, LocalizeSettings, Widths, thunderstorm_settings
from parfocal.puncta.detection._thunderstorm_csv import Dialect, read_thunderstorm, write_thunderstorm
from parfocal.puncta.detection._uncertainty import uncertainty_nm
from parfocal.puncta.detection._wavelet import WaveletPlanes, noise_height, wavelet_filter

__all__ = [
    "PLANES",
    "Dialect",
    "LocalizeSettings",
    "WaveletPlanes",
    "Widths",
    "evaluate",
    "find_candidates",
    "fit_at",
    "guess_camera",
    "labels_of",
    "localize",
    "localize_frames",
    "localize_movie",
    "noise_height",
    "read_thunderstorm",
    "thunderstorm_settings",
    "uncertainty_nm",
    "wavelet_filter",
    "write_thunderstorm",
]
