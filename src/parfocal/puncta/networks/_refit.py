"""Puncta that a network has found, fitted by maximum likelihood: alone where they stand alone, else together."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from parfocal.errors import BadInputError
from parfocal.fitting import CrowdLimits, fit_frame_crowds, fit_psfs
from parfocal.optics import CameraModel
from parfocal.puncta._localizations import Localizations

Floats = NDArray[np.float64]
_REMEMBERED = 400
_ENOUGH = 5
_ODD_WIDTH = 1.6
_ODD_SHAPE = 1.35


@dataclass(frozen=True)
class RefitSettings:
    """What is fitted again, and when a fit is believed.

    Parameters
    ----------
    sigma_px : float, optional
        Width of a spot; where not told it is the median of those that stand alone in this frame and those before.
    alone_px : float
        A punctum stands alone where no other is as near (and none within 5 widths).
    crowd_px : float
        Puncta as near to one another are fitted together, up to `largest_crowd`.
    largest_crowd : int
    least_gain : float
        Of the log-likelihood that one punctum more in a crowd must bring; fewer are taken where they say as much.
    gain_per_photon : float
        So much more for each photon of the brightest beside it, since no spot is quite a Gaussian.
    most_more : int
        Puncta that may be added to a crowd.
    most_shift_px : float
        A fit of a lone punctum that ends farther from where the network sees it is not believed.
    """

    sigma_px: float | None = None
    alone_px: float = 7.0
    crowd_px: float = 5.0
    largest_crowd: int = 12
    least_gain: float = 9.0
    gain_per_photon: float = 0.01
    most_more: int = 2
    most_shift_px: float = 1.5

    def __post_init__(self) -> None:
        for name in ("alone_px", "crowd_px", "least_gain", "most_shift_px"):
            if not getattr(self, name) > 0:
                raise BadInputError(f"refit: {name} is {getattr(self, name)!r}; expected above 0")
        if self.largest_crowd < 1 or self.most_more < 0 or self.gain_per_photon < 0:
            raise BadInputError("refit: largest_crowd is 1 or more, most_more and gain_per_photon 0 or more")
        if self.sigma_px is not None and not 0.3 <= self.sigma_px <= 5:
            raise BadInputError(f"refit: sigma_px is {self.sigma_px!r}; expected 0.3 to 5")


class Refitter:
    """Fits the puncta of frame after frame; remembers how wide spots are.

    Parameters
    ----------
    camera_model : CameraModel
    settings : RefitSettings, optional
    excess_noise : float
        As in `fit_psfs`.
    """

    def __init__(
        self, camera_model: CameraModel, settings: RefitSettings | None = None, *, excess_noise: float = 1.0
    ) -> None:
        self._camera, self._how, self._excess = camera_model, settings or RefitSettings(), excess_noise
        self._widths: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def sigma_px(self) -> float | None:
        """How wide spots are; None until enough stood alone."""
        if self._how.sigma_px is not None:
            return self._how.sigma_px
        return float(np.median(self._widths)) if len(self._widths) >= _ENOUGH else None

    def refitted(self, frame: NDArray[Any], found: Localizations, *, crowds: bool = True) -> Localizations:
        """Return the puncta of one frame as the pixels say.

        Parameters
        ----------
        frame : ndarray[y, x]
            Raw ADU.
        found : Localizations
            All puncta of the frame.
        crowds : bool
            Fit those that do not stand alone too, together; puncta may be taken away and added there.
        """
        if not len(found):
            return found
        alone = self._alone_fitted(frame, found)
        if not crowds or (sigma := self.sigma_px) is None:
            return alone
        together = self._crowds_fitted(frame, found, sigma)
        return self._alone_fitted(frame, together)

    def _alone_fitted(self, frame: NDArray[Any], found: Localizations) -> Localizations:
        """Fit those that stand alone, each with widths of its own."""
        if not len(found):
            return found
        sigma = self.sigma_px or 1.0
        half = int(np.clip(round(3 * sigma) + 1, 4, 8))
        places = np.stack([found.y_px, found.x_px], axis=1)
        near = _count_near(places, max(self._how.alone_px, half + 2 * sigma))
        pixel = np.rint(places).astype(np.int64)
        inside = (pixel >= half).all(axis=1) & (pixel < np.array(frame.shape) - half).all(axis=1)
        rows = np.flatnonzero((near == 1) & inside)
        if not len(rows):
            return found
        corners = pixel[rows] - half
        windows = np.lib.stride_tricks.sliding_window_view(frame, (2 * half + 1, 2 * half + 1))
        rois = windows[corners[:, 0], corners[:, 1]]
        fits = fit_psfs(rois, self._camera, corners_px=corners, excess_noise=self._excess, n_threads=1)
        x, y = fits.x_px + corners[:, 1], fits.y_px + corners[:, 0]
        shift = np.hypot(x - found.x_px[rows], y - found.y_px[rows])
        width = np.sqrt(fits.sigma_x_px * fits.sigma_y_px)
        believed = fits.is_mle & (shift <= self._how.most_shift_px) & (width < 0.75 * half)
        if (
            self.sigma_px is not None
        ):  # one that is far wider, narrower or longer than others stands for two, or noise
            longer = np.maximum(fits.sigma_x_px, fits.sigma_y_px) / width
            believed &= (width > sigma / _ODD_WIDTH) & (width < sigma * _ODD_WIDTH) & (longer < _ODD_SHAPE)
        errors = fits.standard_errors
        sure = believed & (fits.photons > 8 * errors[:, 2])
        self._widths.extend(width[sure].tolist())
        kept = rows[believed]
        said: dict[str, Floats] = {
            "x_px": x,
            "y_px": y,
            "photons": fits.photons,
            "background": fits.background,
            "sigma_x_px": fits.sigma_x_px,
            "sigma_y_px": fits.sigma_y_px,
            "x_se_px": errors[:, 0],
            "y_se_px": errors[:, 1],
            "photons_se": errors[:, 2],
            "misfit": fits.excess_deviance,
        }
        columns: dict[str, NDArray[Any]] = {}
        for name, values in said.items():
            columns[name] = getattr(found, name).copy()
            columns[name][kept] = values[believed]
        return replace(found, **columns)

    def _crowds_fitted(self, frame: NDArray[Any], found: Localizations, sigma: float) -> Localizations:
        """Fit crowds; their rows are replaced by what came out, in the order of y, then x."""
        places = np.stack([found.y_px, found.x_px], axis=1)
        crowd_of = _crowds(places, self._how.crowd_px)
        sizes = np.bincount(crowd_of)
        small = np.flatnonzero(sizes <= self._how.largest_crowd)
        fits = fit_frame_crowds(
            frame,
            self._camera,
            [np.flatnonzero(crowd_of == c) for c in small],
            found.x_px,
            found.y_px,
            found.photons,
            found.background,
            sigma,
            CrowdLimits(self._how.least_gain, self._how.gain_per_photon, self._how.most_more),
            excess_noise=self._excess,
        )
        height, width = frame.shape
        inside = (fits.x_px >= -0.5) & (fits.x_px < width - 0.5) & (fits.y_px >= -0.5) & (fits.y_px < height - 0.5)
        good = inside & fits.is_mle & (fits.photons > 0)
        # A crowd whose fit did not get there stays as the network tells it.
        kept = np.flatnonzero(good & ~np.isin(fits.crowd, fits.crowd[~good & inside]))
        if not len(kept):
            return found
        crowd = fits.crowd[kept]
        came = np.zeros(len(sizes), bool)
        came[small[np.unique(crowd)]] = True
        stays = found.take(~came[crowd_of])
        x_px, y_px = fits.x_px[kept], fits.y_px[kept]
        nearest = KDTree(places).query(np.stack([y_px, x_px], axis=1))[1]
        fitted = replace(
            found.take(nearest),
            x_px=x_px,
            y_px=y_px,
            photons=fits.photons[kept],
            background=fits.background[kept],
            sigma_x_px=np.full(len(kept), sigma),
            sigma_y_px=np.full(len(kept), sigma),
            x_se_px=fits.x_se_px[kept],
            y_se_px=fits.y_se_px[kept],
            photons_se=fits.photons_se[kept],
            n_emitters=np.bincount(crowd)[crowd],
        )
        columns = {
            name: np.concatenate([values, getattr(stays, name)]) for name, values in fitted.columns().items()
        }
        joined = replace(found, **columns)
        return joined.take(np.lexsort((joined.x_px, joined.y_px)))


def _count_near(places: Floats, reach_px: float) -> NDArray[np.int64]:
    return np.asarray(KDTree(places).query_ball_point(places, reach_px, return_length=True), np.int64)


def _crowds(places: Floats, reach_px: float) -> NDArray[np.int64]:
    """Return which crowd each place is of: places that a chain of steps below the reach joins are one."""
    n = len(places)
    pairs = KDTree(places).query_pairs(reach_px, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)
