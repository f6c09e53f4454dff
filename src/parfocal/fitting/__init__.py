"""PSF fits, bounds and the defocus model."""

from parfocal.fitting._defocus_model import DefocusModel, WidthCurve

__all__ = ["DefocusModel", "WidthCurve"]
