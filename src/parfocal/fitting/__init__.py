"""PSF fits, bounds and the defocus model."""

from parfocal.fitting._defocus_model import DefocusModel, WidthCurve
from parfocal.fitting._psf_depth import ZEstimate, ZEstimates, estimate_z, estimate_zs
from parfocal.fitting._psf_fit import FitKind, PsfFit, PsfFits, fit_psf, fit_psfs

__all__ = [
    "DefocusModel",
    "FitKind",
    "PsfFit",
    "PsfFits",
    "WidthCurve",
    "ZEstimate",
    "ZEstimates",
    "estimate_z",
    "estimate_zs",
    "fit_psf",
    "fit_psfs",
]
