"""Images of localizations: histogram, Gaussians of each one's own precision, averaged shifted histograms."""

from parfocal.puncta.rendering._renderer import Renderer, RenderKind, RenderSettings, render
from parfocal.puncta.rendering._rendering_file import write_rendering

__all__ = ["RenderKind", "RenderSettings", "Renderer", "render", "write_rendering"]
