"""The focus operators by name: what each is, what white noise alone makes of it, how it grows with exposure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from parfocal.errors import BadInputError

_NOTHING: Mapping[str, float] = MappingProxyType({})

Family = Literal["neighbourhood", "spectrum", "windows", "entropy"]


@dataclass(frozen=True)
class Operator:
    """One focus operator. All grow with sharpness.

    Attributes
    ----------
    name : str
        Its name in every table.
    abbreviation : str
        What the literature calls it; `operator_scores` takes it too, in any case.
    formula : str
        With I the image less the camera's offset, m its mean, s² its noise variance, F its spectrum.
    floor : str
        What white noise alone gives; "0" for none, "-" where it has no closed form and nothing is taken away.
    power : int
        Power of gain and exposure that it grows with: it is normalized by the mean to that power.
    family : str
        What it works on: "neighbourhood" (3x3 and Gaussian), "spectrum", "windows" or "entropy".
    """

    name: str
    abbreviation: str
    formula: str
    floor: str
    power: int
    family: Family


_ALL = (
    Operator("laplacian_variance", "LAPV", "var(I * [0 1 0; 1 -4 1; 0 1 0])", "20 s²", 2, "neighbourhood"),
    Operator(
        "modified_laplacian",
        "LAPM",
        "mean(|2 I - I(x-1) - I(x+1)| + |2 I - I(y-1) - I(y+1)|)",
        "2 sqrt(2/pi) sqrt(6) s, in quadrature",
        1,
        "neighbourhood",
    ),
    Operator(
        "mean_abs_log",
        "LOG",
        "mean |LoG * I|, sigma 1.5 px",
        "sqrt(2/pi) s ‖kernel‖, in quadrature",
        1,
        "neighbourhood",
    ),
    Operator("tenengrad", "TENG", "mean(Gx² + Gy²), Sobel 3x3", "24 s²", 2, "neighbourhood"),
    Operator("tenengrad_variance", "TENV", "var(sqrt(Gx² + Gy²)), Sobel 3x3", "-", 2, "neighbourhood"),
    Operator("brenner", "BREN", "mean of (I(x+1) - I(x-1))² and (I(y+1) - I(y-1))²", "2 s²", 2, "neighbourhood"),
    Operator("normalized_variance", "NVAR", "var(I) / m²", "s² / m²", 0, "neighbourhood"),
    Operator("variance_over_mean", "VARM", "var(I) / m", "s² / m", 1, "neighbourhood"),
    Operator("vollath_f4", "VOL4", "mean (I(x-1) - m) (I(x) - I(x+1))", "0", 2, "neighbourhood"),
    Operator("vollath_f5", "VOL5", "mean (I(x-1) - m) (I(x) - m)", "0", 2, "neighbourhood"),
    Operator(
        "dct_entropy",
        "DCTS",
        "-sum |C| ln |C| / area over x/(W/3) + y/(H/3) < 1, C the DCT-II of unit length",
        "-",
        0,
        "spectrum",
    ),
    Operator(
        "high_frequency_ratio",
        "HFR",
        "sum |F| beyond min(H, W)/4 over sum |F|, F the spectrum",
        "-",
        0,
        "spectrum",
    ),
    Operator("band_power", "BAND", "mean |F|²/(H W) from 2.5 to 14 % of Nyquist", "s²", 2, "spectrum"),
    Operator(
        "power_slope",
        "PLLS",
        "slope of ln(power in a ring) on ln(radius), radii 2 to min(H, W)/8",
        "-",
        0,
        "spectrum",
    ),
    Operator(
        "local_focus",
        "LOCF",
        "variance over median of var/mean in windows of 20 px",
        "-",
        1,
        "windows",
    ),
    Operator(
        "relative_entropy",
        "REL_ENT",
        "entropy of the object's grey levels less that of its background, bits",
        "-",
        0,
        "entropy",
    ),
)

OPERATORS: Mapping[str, Operator] = MappingProxyType({operator.name: operator for operator in _ALL})
"""Every focus operator by name."""

_ALIASES = {operator.abbreviation.lower(): operator.name for operator in _ALL}


@dataclass(frozen=True)
class OperatorScores:
    """Focus operators of one frame or object: as measured, less the noise floor, free of gain and exposure.

    Attributes
    ----------
    raw : mapping of str to float
        As measured, noise included. NaN where an operator cannot be had; `flags` says why.
    debiased : mapping of str to float
        `raw` less what white noise of `noise_sd_adu` alone would give, where that has a closed form.
    normalized : mapping of str to float
        `debiased` over the mean to the operator's power, so that gain and exposure cancel; NaN where the mean is
        not positive.
    mean_adu : float
        Mean pixel value above the camera's offset, ADU.
    noise_sd_adu : float
        Standard deviation of the pixel noise taken away, ADU.
    noise : str
        Where it comes from: "model", "immerkaer" or "none".
    n_px : int
        Pixels that counted.
    flags : tuple of str
        "flat", "mean_not_positive", "non_finite", "too_small_for_<operator>".
    """

    raw: Mapping[str, float]
    debiased: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    normalized: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    mean_adu: float = math.nan
    noise_sd_adu: float = 0.0
    noise: str = "none"
    n_px: int = 0
    flags: tuple[str, ...] = ()


def operator_names(names: Iterable[str] | None) -> tuple[str, ...]:
    """Return full names for names and abbreviations, each once; all of them for None.

    Raises
    ------
    BadInputError
        A name is unknown; the message lists those there are.
    """
    if names is None:
        return tuple(OPERATORS)
    if isinstance(names, str):
        names = (names,)
    found: dict[str, None] = {}
    for name in names:
        full = name if name in OPERATORS else _ALIASES.get(name.lower())
        if full is None:
            raise BadInputError(f"operators: {name!r} is unknown; expected one of {', '.join(OPERATORS)}")
        found[full] = None
    return tuple(found)
