"""PSF fits, bounds and the defocus model."""
