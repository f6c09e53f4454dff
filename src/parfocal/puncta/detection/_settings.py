"""What a person sets of the classical detector."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from parfocal.errors import BadInputError
from parfocal.fitting import DefocusModel, FitMethod
from parfocal.optics import CameraModel
from parfocal.puncta.detection._expression import check_expression

PLANES = ("Wave.F1", "Wave.F2", "Wave.F", "Wave.I", "I1", "I")
"""Pictures that a threshold may name; `Wave.F` is `Wave.F2`, the others are the frame itself."""

SpotShape = Literal["round", "elliptical"]
Widths = Literal["alike", "own"]
Border = Literal["fit", "skip"]


@dataclass(frozen=True)
class LocalizeSettings:
    """How spots are found and fitted.

    Parameters
    ----------
    threshold : str
        `auto`: what noise alone exceeds `false_positives_per_1000_px` times, from the camera model and the local
        background. Else an expression, as ThunderSTORM's `std(Wave.F1)`, in photoelectrons; see `evaluate`.
    false_positives_per_1000_px : float
        Of `auto`, expected in a frame without spots.
    neighbours : {8, 4}
        Of a pixel that must not be brighter than a local maximum.
    fit_radius_px : int, optional
        A spot is fitted in 2 `fit_radius_px` + 1 pixels a side. By default 3, or up to 6 where a frame's spots are
        wide (two widths and half a pixel) or that does not hold the spot; with a defocus model always 6.
    method : {"mle", "wlsq", "lsq"}
        As in `fitting.fit_psfs`.
    shape : {"round", "elliptical"}
        One width a spot, or two.
    widths : {"alike", "own"}
        Whether the widths of a frame's spots are taken to scatter about one, as much as the pixels show, so that
        a dim spot is placed with nearly the width of the others (`fitting.common_width`; round spots fitted by
        mle, where 20 or more stand alone, of one kind), or each is fitted by itself, as ThunderSTORM does. Photons
        and widths are told by each picture alone either way.
    sigma_px : float, optional
        Width that a fit starts from; ThunderSTORM's is 1.6. Several are tried by default.
    defocus_model : DefocusModel, optional
        The lock's calibration: z is estimated straight from the pixels.
    max_emitters : int, optional
        Up to so many spots in one fit, 1 to 5: where the fit of one leaves too much over, or another candidate is
        near. 5 by default where spots are round, fitted by mle and without z; else 1.
    f_test_p : float
        One spot more is believed where an F test gives less than this.
    border : {"fit", "skip"}
        Spots nearer to the edge than `fit_radius_px` are fitted off the middle of a picture that is moved inside,
        or left out as ThunderSTORM does.
    min_photons : float
        Fainter ones are left out.
    sigma_range_px : (float, float), optional
        Others are left out; by default those below 0.3 px or wider than `fit_radius_px`.
    max_misfit : float
        A fit with more is left out; see `Localizations.misfit`.
    duplicate_px : float
        Of two spots of a frame that are nearer, the fainter is left out.
    ring_share : float
        A spot with less than this share of a neighbour's photons, four of its widths away or nearer, is taken for
        the neighbour's diffraction ring and left out; with 0 or a defocus model none is. A ring is brightest 3.9
        widths from the middle, and where several meet, Gaussians leave a twelfth of a spot over.
    excess_noise : float, optional
        Variance over mean of amplified electrons; by default what the camera model says, 2 for an EMCCD.
    baseline_frames : int
        Where above 1, the median over blocks of so many frames is background: it is taken off before spots are
        looked for, and is light that is known in the fit. For puncta that blink or move; one that stays is lost.
    """

    threshold: str = "auto"
    false_positives_per_1000_px: float = 0.02
    neighbours: Literal[8, 4] = 8
    fit_radius_px: int | None = None
    method: FitMethod = "mle"
    shape: SpotShape = "round"
    widths: Widths = "alike"
    sigma_px: float | None = None
    defocus_model: DefocusModel | None = None
    max_emitters: int | None = None
    f_test_p: float = 1e-4
    border: Border = "fit"
    min_photons: float = 0.0
    sigma_range_px: tuple[float, float] | None = None
    max_misfit: float = math.inf
    duplicate_px: float = 1.0
    ring_share: float = 0.08
    excess_noise: float | None = None
    baseline_frames: int = 0

    def __post_init__(self) -> None:
        if self.threshold != "auto":
            check_expression(self.threshold, PLANES)
        if not 0 < self.false_positives_per_1000_px <= 10:
            raise _bad("false_positives_per_1000_px", self.false_positives_per_1000_px, "above 0, at most 10")
        if self.neighbours not in (4, 8):
            raise _bad("neighbours", self.neighbours, "4 or 8")
        if not 2 <= self.radius_px <= 31:
            raise _bad("fit_radius_px", self.fit_radius_px, "2 to 31")
        if self.method not in ("mle", "wlsq", "lsq"):
            raise _bad("method", self.method, "mle, wlsq or lsq")
        if self.shape not in ("round", "elliptical"):
            raise _bad("shape", self.shape, "round or elliptical")
        if self.widths not in ("alike", "own"):
            raise _bad("widths", self.widths, "alike or own")
        if self.border not in ("fit", "skip"):
            raise _bad("border", self.border, "fit or skip")
        if not 1 <= self.most_emitters <= 5:
            raise _bad("max_emitters", self.max_emitters, "1 to 5")
        if self.most_emitters > 1 and not self._may_share:
            raise BadInputError("localize: several spots in one fit are round and fitted by mle, without z")
        if self.defocus_model is not None and self.method != "mle":
            raise BadInputError(f"localize: z is estimated by mle, not by {self.method}")
        if not 0 < self.f_test_p < 1:
            raise _bad("f_test_p", self.f_test_p, "between 0 and 1")
        if not (math.isfinite(self.min_photons) and self.min_photons >= 0):
            raise _bad("min_photons", self.min_photons, "0 or more")
        low, high = self.widths_px
        if not 0 <= low < high:
            raise _bad("sigma_range_px", self.sigma_range_px, "two widths, the smaller first")
        if not (math.isfinite(self.duplicate_px) and self.duplicate_px >= 0):
            raise _bad("duplicate_px", self.duplicate_px, "0 or more")
        if not 0 <= self.ring_share < 1:
            raise _bad("ring_share", self.ring_share, "0 (none is a ring) to below 1")
        if self.excess_noise is not None and not (math.isfinite(self.excess_noise) and self.excess_noise >= 1):
            raise _bad("excess_noise", self.excess_noise, "1, or 2 for an EMCCD")
        if self.baseline_frames < 0:
            raise _bad("baseline_frames", self.baseline_frames, "0 (none) or a number of frames")

    def excess_of(self, camera_model: CameraModel) -> float:
        """Return the excess noise, as set or the camera's."""
        return camera_model.excess_noise if self.excess_noise is None else self.excess_noise

    @property
    def radius_px(self) -> int:
        """The fit's radius, as set or by default."""
        if self.fit_radius_px is not None:
            return self.fit_radius_px
        return 3 if self.defocus_model is None else 6

    @property
    def most_emitters(self) -> int:
        """The most spots in one fit, as set or by default."""
        if self.max_emitters is not None:
            return self.max_emitters
        return 5 if self._may_share else 1

    @property
    def are_alike(self) -> bool:
        """Whether widths are taken to be alike; with two a spot, or with z, each is its own whatever was set."""
        return self.widths == "alike" and self._may_share

    @property
    def _may_share(self) -> bool:
        return self.method == "mle" and self.shape == "round" and self.defocus_model is None

    @property
    def widths_px(self) -> tuple[float, float]:
        """The widths that are kept, as set or by default."""
        return (0.3, float(self.radius_px)) if self.sigma_range_px is None else self.sigma_range_px


def thunderstorm_settings(method: FitMethod = "wlsq", **changes: object) -> LocalizeSettings:
    """Return settings as ThunderSTORM's defaults: `std(Wave.F1)`, 8 neighbours, radius 3, sigma 1.6, no border."""
    base = LocalizeSettings(
        threshold="std(Wave.F1)",
        method=method,
        widths="own",
        fit_radius_px=3,
        sigma_px=1.6,
        border="skip",
        sigma_range_px=(0.0, math.inf),
        duplicate_px=0.0,
        ring_share=0.0,
        max_emitters=1,
        f_test_p=1e-6,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def _bad(name: str, value: object, expected: str) -> BadInputError:
    return BadInputError(f"localize: {name} is {value}, expected {expected}")
