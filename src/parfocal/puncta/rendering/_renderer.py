"""Localizations added up to an image, batch after batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.puncta._localizations import Localizations

RenderKind = Literal["gaussian", "histogram", "average_shifted"]
ColorBy = Literal["none", "time", "z"]
Image = NDArray[np.float32]
_REACH_SIGMA = 4.0
# From first to last: blue, cyan, green, yellow, red. Each adds up to one: brightness is density.
_COLORS = np.array([[0.0, 0.2, 0.8], [0.0, 0.5, 0.5], [0.15, 0.7, 0.15], [0.5, 0.5, 0.0], [0.8, 0.2, 0.0]])


@dataclass(frozen=True)
class RenderSettings:
    """How localizations become an image.

    Parameters
    ----------
    kind : {"gaussian", "histogram", "average_shifted"}
        `gaussian`: each as wide as its own precision; `histogram`: each in the pixel where it lies;
        `average_shifted`: the mean of `n_shifts` histograms of bins that are `n_shifts` pixels wide, each a pixel
        further than the one before (per axis).
    zoom : int
        Pixels of the image per camera pixel.
    n_shifts : int
        See `kind`.
    unknown_se_px : float
        Precision, camera pixels, of a localization that tells none.
    min_se_px : float
        Least width of a Gaussian, camera pixels.
    color_by : {"none", "time", "z"}
        What the colour of a localization tells; the image has then three planes: red, green, blue.
    color_range : (float, float)
        Frames, or um, of the first and the last colour; what lies beyond has that of the end.
    """

    kind: RenderKind = "gaussian"
    zoom: int = 5
    n_shifts: int = 4
    unknown_se_px: float = 0.15
    min_se_px: float = 0.02
    color_by: ColorBy = "none"
    color_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.kind not in ("gaussian", "histogram", "average_shifted"):
            raise BadInputError(f"render: kind={self.kind!r}, gaussian, histogram or average_shifted was expected")
        if self.color_by not in ("none", "time", "z"):
            raise BadInputError(f"render: color_by={self.color_by!r}, none, time or z was expected")
        if not (1 <= self.zoom <= 100 and self.n_shifts >= 1 and self.unknown_se_px > 0 and self.min_se_px > 0):
            raise BadInputError(
                f"render: zoom={self.zoom}, n_shifts={self.n_shifts}, unknown_se_px={self.unknown_se_px:g}, "
                f"min_se_px={self.min_se_px:g}: 1 to 100, 1 or more, and widths above 0 were expected"
            )
        if self.color_by != "none" and not self.color_range[0] < self.color_range[1]:
            raise BadInputError(f"render: color_range={self.color_range}, a first below a last was expected")


class Renderer:
    """An image that localizations are added to as they come.

    Its sum is the number of localizations inside, but for the tails of those at the border. Pixel `(0, 0)` of the
    image begins at the corner where camera pixel `(0, 0)` begins: the camera's `x_px` lies at
    `(x_px + 0.5) * zoom - 0.5`.

    Parameters
    ----------
    shape_px : (int, int)
        Height and width of the camera's frames.
    settings : RenderSettings, optional
    """

    def __init__(self, shape_px: tuple[int, int], settings: RenderSettings | None = None) -> None:
        self.settings = settings or RenderSettings()
        height, width = (int(n) * self.settings.zoom for n in shape_px)
        if height < 1 or width < 1:
            raise BadInputError(f"render: frames of {shape_px} px, a height and a width above 0 were expected")
        n_planes = 1 if self.settings.color_by == "none" else 3
        self._image = np.zeros((n_planes, height, width), np.float32)
        self._row = np.empty(width)
        self.n_added = 0

    def add(self, localizations: Localizations) -> None:
        """Add a batch; rows whose position is not finite are left out."""
        from parfocal.puncta.rendering import _kernels  # numba is slow to import

        settings = self.settings
        finite = np.isfinite(localizations.x_px) & np.isfinite(localizations.y_px)
        some = localizations if finite.all() else localizations.take(finite)
        y = (some.y_px + 0.5) * settings.zoom - 0.5
        x = (some.x_px + 0.5) * settings.zoom - 0.5
        weights = self._weights(some)
        if settings.kind == "histogram":
            _kernels.add_counts(self._image, y, x, weights)
        elif settings.kind == "average_shifted":
            _kernels.add_shifted(self._image, y, x, weights, settings.n_shifts)
        else:
            sigma_y, sigma_x = (self._width(se) for se in (some.y_se_px, some.x_se_px))
            _kernels.add_gaussians(self._image, y, x, sigma_y, sigma_x, weights, _REACH_SIGMA, self._row)
        self.n_added += len(some)

    @property
    def image(self) -> Image:
        """Localizations per pixel so far, `[y, x]`; `[3, y, x]` where colour tells something. A copy."""
        return (self._image[0] if self.settings.color_by == "none" else self._image).copy()

    def _width(self, se_px: NDArray[np.float64]) -> NDArray[np.float64]:
        known = np.where(np.isfinite(se_px) & (se_px > 0), se_px, self.settings.unknown_se_px)
        # A fit that knows nearly nothing must not paint the whole image.
        return np.clip(known.astype(np.float64), self.settings.min_se_px, 4.0) * float(self.settings.zoom)

    def _weights(self, some: Localizations) -> NDArray[np.float64]:
        if self.settings.color_by == "none":
            return np.ones((len(some), 1))
        told: NDArray[Any] = some.frame if self.settings.color_by == "time" else some.z_um
        first, last = self.settings.color_range
        place = np.clip((np.asarray(told, np.float64) - first) / (last - first), 0, 1) * (len(_COLORS) - 1)
        grey = np.full((len(some), 3), 1 / 3)  # where z is not known
        known = np.isfinite(place)
        for plane in range(3):
            grey[known, plane] = np.interp(place[known], np.arange(len(_COLORS)), _COLORS[:, plane])
        return grey


def render(
    localizations: Localizations,
    shape_px: tuple[int, int] | None = None,
    zoom: int = 5,
    kind: RenderKind = "gaussian",
    settings: RenderSettings | None = None,
) -> Image:
    """Return an image of localizations.

    Parameters
    ----------
    localizations : Localizations
    shape_px : (int, int), optional
        Height and width of the camera's frames. Default: as far as there are localizations.
    zoom : int
        Pixels of the image per camera pixel.
    kind : {"gaussian", "histogram", "average_shifted"}
        See `RenderSettings`.
    settings : RenderSettings, optional
        All of it; `zoom` and `kind` do not count then.

    Returns
    -------
    float32[y, x]
        Localizations per pixel; `[3, y, x]` where colour tells something.

    Raises
    ------
    BadInputError
        A setting is out of range, or there is neither a shape nor a localization.

    Examples
    --------
    >>> import numpy as np
    >>> from parfocal.puncta import Localizations
    >>> one = Localizations((0.1, 0.1), np.array([0]), np.array([2.0]), np.array([1.0]), np.array([500.0]))
    >>> image = render(one, (4, 6), zoom=3, kind="histogram")
    >>> image.shape, np.argwhere(image).tolist()
    ((12, 18), [[4, 7]])
    """
    if shape_px is None:
        if not len(localizations):
            raise BadInputError("render: no localizations, and no shape of the frames was told")
        y_px, x_px = (float(np.nanmax(v)) for v in (localizations.y_px, localizations.x_px))
        shape_px = (max(1, int(np.ceil(y_px + 0.5))), max(1, int(np.ceil(x_px + 0.5))))
    renderer = Renderer(shape_px, settings or RenderSettings(kind, zoom))
    renderer.add(localizations)
    return renderer.image
