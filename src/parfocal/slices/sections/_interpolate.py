"""A missing section made from its neighbours by registration, or refused with a reason. Never made up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, ndimage

from parfocal.errors import BadInputError
from parfocal.imaging import correlation_through, morph, register_affine
from parfocal.slices.ledger import Metric
from parfocal.slices.sections._planes import best_planes, clipped, coarse_matrix, slab, translation, turn_deg

Method = Literal["zmorph", "weighted", "average"]
METHODS: tuple[str, ...] = get_args(Method)

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "no_foreground_planes": "no plane at the cut shows anything",
        "low_overlap_ncc": "the planes at the cut do not look alike, even after the coarse shift",
        "registration_exception": "the registration found nothing to hold on to",
        "reg_did_not_improve": "neither did registration bring the planes closer, nor are they alike",
        "affine_determinant_non_positive": "the transform mirrors or folds the section",
        "affine_out_of_bounds": "the transform turns, scales or shears more than a cut can",
    }
)
"""Why a section is not made, in words. The first five are those of the seed; the last is ours."""

_FLOATS = NDArray[np.float64]


@dataclass(frozen=True)
class InterpolateSettings:
    """How a missing section is made, and when it is not.

    Attributes
    ----------
    method : {"zmorph", "weighted", "average"}
        By registration; or, where a user asks for it by name, a blend without any.
    overlap_search_window : int
        Planes on each side of the gap among which the best pair is sought.
    min_overlap_correlation : float
        Least correlation of that pair after the coarse shift.
    reference_slab_size : int
        Planes averaged around it for the registration.
    min_foreground_fraction : float
        Least share of a plane above the background.
    min_ncc_improvement, min_final_ncc : float
        A registration is taken if it gains the one or reaches the other.
    max_rotation_deg, max_scale, max_shear : float
        What a cut can do: turn, largest stretch (and its inverse), shear as the tangent of its angle.
    max_iterations : int
        Of the registration, at each level.
    compat : {None, "linumpy"}
        "linumpy": its gates: no coarse shift, the best pair of planes against the registered slabs, a gain of
        `min_ncc_improvement` always demanded, no bounds on the transform.
    """

    method: Method = "zmorph"
    overlap_search_window: int = 5
    min_overlap_correlation: float = 0.3
    reference_slab_size: int = 3
    min_foreground_fraction: float = 0.1
    min_ncc_improvement: float = 0.05
    min_final_ncc: float = 0.9
    max_rotation_deg: float = 15.0
    max_scale: float = 1.2
    max_shear: float = 0.2
    max_iterations: int = 50
    compat: Literal["linumpy"] | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise BadInputError(f"interpolate: method {self.method!r}, expected one of {', '.join(METHODS)}")
        if self.compat not in (None, "linumpy"):
            raise BadInputError(f"interpolate: compat {self.compat!r}, expected linumpy")
        if self.overlap_search_window < 1 or self.reference_slab_size < 1 or self.max_iterations < 1:
            raise BadInputError("interpolate: window, slab and iterations must be 1 or more")
        if not self.max_scale >= 1:
            raise BadInputError("interpolate: max_scale must be 1 or more")


@dataclass(frozen=True, eq=False)
class Interpolation:
    """What became of a missing section.

    Attributes
    ----------
    volume : ndarray, shape (z, y, x), or None
        Its pixels, in the dtype of its neighbours; None where it was refused: the slot stays a gap.
    method : str
        What was asked for.
    reason : str
        Why it was refused, one of `REASONS`; empty where it was made.
    metrics : mapping
        Raw numbers: correlations before and after like with like, the transform, the planes used.
    """

    volume: NDArray[Any] | None
    method: Method
    reason: str = ""
    metrics: Mapping[str, Metric] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def failed(self) -> bool:
        """Whether it was refused."""
        return self.volume is None


def interpolate_section(
    before: NDArray[Any],
    after: NDArray[Any],
    settings: InterpolateSettings | None = None,
    *,
    before_px: tuple[float, float] = (0.0, 0.0),
    after_px: tuple[float, float] = (0.0, 0.0),
    shape: tuple[int, int, int] | None = None,
    part: tuple[int, int] = (0, 1),
) -> Interpolation:
    """Make a missing section from the ones before and after it.

    The gates, in order: planes with something on them; a coarse shift by phase correlation; correlation of the
    best pair of planes (`min_overlap_correlation`); an affine registration of slabs around them; a transform that
    does not mirror, within bounds; a correlation that reached `min_final_ncc` or gained `min_ncc_improvement`, the
    same slabs over the same window before and after. Then plane z of n, at `a = z / (n - 1)`, is the last plane of
    `before` through `T^a` and the first of `after` through `T^(a - 1)`, weighted `1 - a` and `a`, with
    `T^a = expm(a logm(T))` (Arsigny et al. 2006): its first and last planes are those of its neighbours.

    Parameters
    ----------
    before, after : ndarray, shape (z, y, x)
        The neighbours.
    settings : InterpolateSettings, optional
        Method and gates.
    before_px, after_px : tuple of float
        Position (y, x) of each less that of the missing section, px, as the stage says.
    shape : tuple of int, optional
        (z, y, x) of the result; the smaller of both neighbours by default.
    part : tuple of int
        (k, n): the k-th, from 0, of n sections missing in a row.

    Returns
    -------
    Interpolation
    """
    how = settings or InterpolateSettings()
    if before.ndim != 3 or after.ndim != 3:
        raise BadInputError(f"interpolate: shapes {before.shape} and {after.shape}, expected volumes (z, y, x)")
    out_shape = shape or _common_shape(before, after)
    if how.method != "zmorph":
        volume = _blended(before, after, how.method, before_px, after_px, out_shape)
        return Interpolation(_as_dtype(volume, before.dtype), how.method)
    to_before = translation(-before_px[0], -before_px[1])
    to_after = translation(-after_px[0], -after_px[1])
    numbers: dict[str, Metric] = {}
    reason, turn = _registered(before, after, to_before @ np.linalg.inv(to_after), how, numbers)
    if turn is None:
        return Interpolation(None, how.method, reason, numbers)
    # Both neighbours are seen from the common frame: what is left between them is the deformation alone.
    between = np.linalg.inv(to_before) @ turn @ to_after
    power = linalg.logm(between)
    if np.abs(np.imag(power)).max() > 1e-6:
        return Interpolation(None, how.method, "affine_determinant_non_positive", numbers)
    generator = np.real(power)
    last, first = before[-1].astype(np.float32), after[0].astype(np.float32)
    n, (k, parts) = out_shape[0], part
    volume = np.empty(out_shape, np.result_type(before.dtype, after.dtype))
    for z in range(n):
        alpha = 0.5 if n * parts == 1 else (k * n + z) / (n * parts - 1)
        plane = morph(
            last,
            first,
            to_before @ linalg.expm(alpha * generator),
            to_after @ linalg.expm((alpha - 1.0) * generator),
            alpha,
            (out_shape[1], out_shape[2]),
        )
        volume[z] = _as_dtype(plane, volume.dtype)
    return Interpolation(volume, how.method, "", numbers)


def _registered(
    before: NDArray[Any],
    after: NDArray[Any],
    nominal: _FLOATS,
    how: InterpolateSettings,
    numbers: dict[str, Metric],
) -> tuple[str, _FLOATS | None]:
    """Return the reason to refuse, or the matrix from `after` to `before`; `nominal` is the stage's."""
    old = how.compat == "linumpy"
    ends, starts = _foreground(before, after, how)
    if not ends or not starts:
        return "no_foreground_planes", None
    tail, head = before[ends[0] : ends[-1] + 1], after[starts[0] : starts[-1] + 1]
    fixed = clipped(slab(after, starts[0], how.reference_slab_size))
    moving = clipped(slab(before, ends[-1], how.reference_slab_size))
    start, coarse_ncc = (nominal, math.nan) if old else coarse_matrix(fixed, moving, nominal)
    # best_planes asks for the way from the section before the cut to the one after it
    match = best_planes(tail, head, np.linalg.inv(start), len(tail))
    z_before, z_after = ends[0] + match.fixed_z, starts[0] + match.moving_z
    numbers |= {"ref_before": z_before, "ref_after": z_after, "overlap_ncc": match.ncc, "coarse_ncc": coarse_ncc}
    moved = start @ np.linalg.inv(nominal)
    numbers |= {"coarse_dy_px": float(moved[0, 2]), "coarse_dx_px": float(moved[1, 2])}
    if not match.ncc >= how.min_overlap_correlation:
        return "low_overlap_ncc", None
    fixed = clipped(slab(after, z_after, how.reference_slab_size))
    moving = clipped(slab(before, z_before, how.reference_slab_size))
    fit = register_affine(fixed, moving, model="affine", start=start, max_iterations=how.max_iterations)
    if not math.isfinite(fit.ncc):
        return "registration_exception", None
    pre = match.ncc if old else correlation_through(fixed, moving, nominal, 0.5)[0]
    post = correlation_through(fixed, moving, fit.matrix, 0.5)[0]
    stretch = np.linalg.svd(fit.matrix[:2, :2], compute_uv=False)
    determinant = float(np.linalg.det(fit.matrix[:2, :2]))
    turn, shear = turn_deg(fit.matrix), _shear(fit.matrix)
    gain = post - pre if math.isfinite(pre) else post
    numbers |= {
        "pre_reg_ncc": pre,
        "post_reg_ncc": post,
        "ncc_improvement": gain,
        "affine_determinant": determinant,
        "affine_matrix": " ".join(f"{v:.6g}" for v in fit.matrix[:2].ravel()),
        "rotation_deg": turn,
        "largest_stretch": float(max(stretch[0], 1.0 / max(stretch[1], 1e-12))),
        "shear": shear,
        "n_iterations": fit.n_iterations,
        "is_converged": fit.is_converged,
    }
    if not determinant > 0:
        return "affine_determinant_non_positive", None
    if not old and (
        abs(turn) > how.max_rotation_deg
        or stretch[0] > how.max_scale
        or stretch[1] < 1.0 / how.max_scale
        or abs(shear) > how.max_shear
    ):
        return "affine_out_of_bounds", None
    if not (gain >= how.min_ncc_improvement or (not old and post >= how.min_final_ncc)):
        return "reg_did_not_improve", None
    return "", fit.matrix


def _foreground(
    before: NDArray[Any], after: NDArray[Any], how: InterpolateSettings
) -> tuple[list[int], list[int]]:
    """Return the planes at the cut, of each neighbour, that show something."""
    window = how.overlap_search_window
    ends = range(max(0, before.shape[0] - window), before.shape[0])
    starts = range(min(window, after.shape[0]))
    return (
        [z for z in ends if _shows(before[z], how.min_foreground_fraction)],
        [z for z in starts if _shows(after[z], how.min_foreground_fraction)],
    )


def _shows(plane: NDArray[Any], least: float) -> bool:
    positive = plane[plane > 0]
    if positive.size == 0 or float(plane.std()) <= 1e-6 * max(1.0, abs(float(plane.mean()))):
        return False
    return float((plane >= np.percentile(positive, 1.0)).mean()) >= least


def _shear(matrix: _FLOATS) -> float:
    """Return the tangent of how far two axes are from square after the transform."""
    m = matrix[:2, :2]
    square = float(np.dot(m[:, 0], m[:, 1]))
    return square / max(abs(float(np.linalg.det(m))), 1e-12)


def _blended(
    before: NDArray[Any],
    after: NDArray[Any],
    method: Method,
    before_px: tuple[float, float],
    after_px: tuple[float, float],
    shape: tuple[int, int, int],
) -> NDArray[np.float32]:
    """Return the mean of the neighbours at their positions; `weighted` is smoothed along z."""
    to_before, to_after = translation(-before_px[0], -before_px[1]), translation(-after_px[0], -after_px[1])
    volume = np.empty(shape, np.float32)
    for z in range(shape[0]):
        b, a = (v[min(z, len(v) - 1)] for v in (before, after))
        volume[z] = morph(b, a, to_before, to_after, 0.5, (shape[1], shape[2]))
    if method == "average":
        return volume
    return np.asarray(ndimage.gaussian_filter(volume, (2.0, 0, 0)), np.float32)


def _common_shape(before: NDArray[Any], after: NDArray[Any]) -> tuple[int, int, int]:
    z, y, x = (min(a, b) for a, b in zip(before.shape, after.shape))
    return z, y, x


def _as_dtype(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind not in "ui":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
