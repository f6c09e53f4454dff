"""PSF fits, bounds and the defocus model."""

from parfocal.fitting._defocus_model import DefocusModel, WidthCurve, ZCorrection
from parfocal.fitting._fit_defocus import DefocusFit, WidthSamples, fit_defocus

__all__ = ["DefocusFit", "DefocusModel", "WidthCurve", "WidthSamples", "ZCorrection", "fit_defocus"]
