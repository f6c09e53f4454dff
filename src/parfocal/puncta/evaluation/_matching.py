"""Which localization is which true punctum, and what follows: found, missed, false, and by how much off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from parfocal.errors import BadInputError
from parfocal.linking import assign
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._truth import PunctaTruth
from parfocal.puncta.evaluation._points import Points, points_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_WOBBLE_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class Matching:
    """Localizations laid beside the truth, frame by frame. Rows count in the tables that were compared.

    Parameters
    ----------
    truth_row, found_row : int64[n_tp]
        The pairs, by frame.
    missed_row : int64[n_fn]
        Of the truth: seen by nobody.
    false_row : int64[n_fp]
        Of the localizations: nothing is there.
    ignored_truth_row, ignored_found_row : int64[k]
        Too dim or too near the border to count, on either side, neither for nor against.
    dx_nm, dy_nm : float64[n_tp]
        Found less true, after `wobble_nm` was taken off.
    dz_nm : float64[n_tp]
        NaN where either has no z.
    wobble_nm : (float, float)
        Constant shift (y, x) of all that was found; (0, 0) where it was not asked to be removed.
    tolerance_nm : float
    """

    truth_row: Ints
    found_row: Ints
    missed_row: Ints
    false_row: Ints
    ignored_truth_row: Ints
    ignored_found_row: Ints
    dx_nm: Floats
    dy_nm: Floats
    dz_nm: Floats
    wobble_nm: tuple[float, float]
    tolerance_nm: float

    @property
    def n_matched(self) -> int:
        """True positives."""
        return len(self.truth_row)

    @property
    def n_missed(self) -> int:
        """False negatives."""
        return len(self.missed_row)

    @property
    def n_false(self) -> int:
        """False positives."""
        return len(self.false_row)

    @property
    def precision(self) -> float:
        """TP / (TP + FP); NaN where nothing was found."""
        return _share(self.n_matched, self.n_matched + self.n_false)

    @property
    def recall(self) -> float:
        """TP / (TP + FN); NaN where there is nothing to find."""
        return _share(self.n_matched, self.n_matched + self.n_missed)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN)."""
        return _share(2 * self.n_matched, 2 * self.n_matched + self.n_false + self.n_missed)

    @property
    def jaccard(self) -> float:
        """TP / (TP + FP + FN)."""
        return _share(self.n_matched, self.n_matched + self.n_false + self.n_missed)

    @property
    def rmse_nm(self) -> float:
        """Lateral error of the pairs, sqrt(mean(dx² + dy²)); sqrt(2) times that along one axis."""
        return _root_mean_square(np.hypot(self.dx_nm, self.dy_nm))

    @property
    def rmse_z_nm(self) -> float:
        """Axial error of the pairs that have a z."""
        return _root_mean_square(self.dz_nm[np.isfinite(self.dz_nm)])

    @property
    def efficiency(self) -> float:
        """`100 - sqrt((100 - 100 JI)² + (alpha RMSE)²)` with alpha 1 per nm: 100 is perfect; it may be negative.

        D. Sage et al., Nature Methods 16, 387 (2019).
        """
        return efficiency(self.jaccard, self.rmse_nm)

    @property
    def efficiency_z(self) -> float:
        """The same for z, where alpha is 0.5 per nm."""
        return efficiency(self.jaccard, self.rmse_z_nm, alpha_per_nm=0.5)

    def figures(self) -> dict[str, Any]:
        """Return counts and figures by name, as JSON can hold them (None for what there is not)."""
        values = {
            "jaccard": self.jaccard,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "rmse_nm": self.rmse_nm,
            "efficiency": self.efficiency,
            "rmse_z_nm": self.rmse_z_nm,
            "wobble_y_nm": self.wobble_nm[0],
            "wobble_x_nm": self.wobble_nm[1],
        }
        return {
            "n_matched": self.n_matched,
            "n_missed": self.n_missed,
            "n_false": self.n_false,
            **{name: value if math.isfinite(value) else None for name, value in values.items()},
        }


def efficiency(jaccard: float, rmse_nm: float, alpha_per_nm: float = 1.0) -> float:
    """Return `100 - sqrt((100 - 100 JI)² + (alpha RMSE)²)`."""
    return 100.0 - math.hypot(100.0 - 100.0 * jaccard, alpha_per_nm * rmse_nm)


def match_localizations(
    truth: PunctaTruth | Localizations,
    found: Localizations,
    tolerance_um: float = 0.25,
    *,
    tolerance_z_um: float | None = None,
    min_photons: float = 0.0,
    margin_px: float = 0.0,
    shape_px: tuple[int, int] | None = None,
    remove_wobble: bool = False,
) -> Matching:
    """Pair localizations with true puncta within each frame: as many as can be, and of those the nearest.

    The pairing is optimal (one linear assignment), where the tools of the SMLM challenges pair greedily or by the
    smallest sum alone; a found spot between two true ones never costs a pair that could have been made.

    Parameters
    ----------
    truth : PunctaTruth or Localizations
        Of a truth, the puncta that are visible; any table of positions may stand for one, such as labels made by
        hand or what another program found.
    found : Localizations
    tolerance_um : float
        How far apart a pair may be in the plane; 0.25 as in the challenges.
    tolerance_z_um : float, optional
        And along z, where both have one (0.5 in the challenges).
    min_photons : float
        True puncta that are dimmer are neither asked for nor held against who finds them.
    margin_px : float
        Nor those nearer to the border, which needs `shape_px`.
    shape_px : (int, int), optional
        Of the image, (y, x).
    remove_wobble : bool
        Take a constant shift of all that was found off first (the mean over pairs, found anew thrice).

    Raises
    ------
    BadInputError
        A tolerance is not above 0, or a margin comes without a shape.
    """
    for name, value in (("tolerance_um", tolerance_um), ("tolerance_z_um", tolerance_z_um)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise BadInputError(f"match localizations: {name} is {value}, expected a length above 0")
    if margin_px > 0 and shape_px is None:
        raise BadInputError("match localizations: a margin needs shape_px, the size of the image")
    real, got = points_of(truth), points_of(found)
    real_counts = ~(real.photons < min_photons) & _inside(real, truth.pixel_size_um, margin_px, shape_px)
    got_counts = _inside(got, found.pixel_size_um, margin_px, shape_px)
    shift_y = shift_x = 0.0
    a, b = _pairs(real, got, real_counts, shift_y, shift_x, tolerance_um, tolerance_z_um)
    if remove_wobble:
        for _ in range(_WOBBLE_ROUNDS):
            if not a.size:
                break
            shift_y = float(np.mean(got.y_um[b] - real.y_um[a]))
            shift_x = float(np.mean(got.x_um[b] - real.x_um[a]))
            a, b = _pairs(real, got, real_counts, shift_y, shift_x, tolerance_um, tolerance_z_um)
    counted = real_counts[a]
    left = np.ones(got.row.size, np.bool_)
    left[b] = False
    missed = real_counts.copy()
    missed[a] = False
    pair_real, pair_got = a[counted], b[counted]
    ignored_got = (left & ~got_counts) | _flags(b[~counted], left.size)
    return Matching(
        real.row[pair_real],
        got.row[pair_got],
        real.row[missed],
        got.row[left & got_counts],
        real.row[~real_counts],
        got.row[ignored_got],
        1e3 * (got.x_um[pair_got] - real.x_um[pair_real] - shift_x),
        1e3 * (got.y_um[pair_got] - real.y_um[pair_real] - shift_y),
        1e3 * (got.z_um[pair_got] - real.z_um[pair_real]),
        (1e3 * shift_y, 1e3 * shift_x),
        1e3 * tolerance_um,
    )


def _pairs(
    real: Points,
    got: Points,
    real_counts: Flags,
    shift_y: float,
    shift_x: float,
    tolerance_um: float,
    tolerance_z_um: float | None,
) -> tuple[Ints, Ints]:
    """Return the pairs, by frame: first with what counts, then what is left with what does not."""
    a, b, squares = _near(real, got, shift_y, shift_x, tolerance_um)
    if tolerance_z_um is not None:
        # where one has no z, the plane alone decides
        near = ~(np.abs(got.z_um[b] - real.z_um[a]) > tolerance_z_um)
        a, b, squares = a[near], b[near], squares[near]
    is_first = real_counts[a]
    pairs = assign(a[is_first], b[is_first], squares[is_first], real.row.size, got.row.size, math.inf)
    rest = ~is_first & ~_flags(pairs[:, 1], got.row.size)[b]
    more = assign(a[rest], b[rest], squares[rest], real.row.size, got.row.size, math.inf)
    both = np.concatenate([pairs, more]).astype(np.int64)
    both = both[np.lexsort((both[:, 1], real.frame[both[:, 0]]))]
    return both[:, 0], both[:, 1]


def _near(
    real: Points, got: Points, shift_y: float, shift_x: float, tolerance_um: float
) -> tuple[Ints, Ints, Floats]:
    """Return the pairs in one frame that are near enough, and their squared distances over the tolerance's."""
    nothing = np.empty(0, np.int64)
    if not (real.row.size and got.row.size):
        return nothing, nothing, np.empty(0)
    # frames are one more axis, so far apart that no neighbour lies in another one; whole numbers differ exactly
    unit = 1.0 / tolerance_um
    here = np.column_stack([real.x_um * unit, real.y_um * unit, 4.0 * real.frame])
    there = np.column_stack([(got.x_um - shift_x) * unit, (got.y_um - shift_y) * unit, 4.0 * got.frame])
    found = KDTree(here).sparse_distance_matrix(KDTree(there), 1.0 + 1e-9, output_type="ndarray")
    return found["i"].astype(np.int64), found["j"].astype(np.int64), np.square(found["v"])


def _inside(
    points: Points, pixel_size_um: tuple[float, float], margin_px: float, shape_px: tuple[int, int] | None
) -> Flags:
    if shape_px is None or margin_px <= 0:
        return np.ones(points.row.size, np.bool_)
    inside = np.ones(points.row.size, np.bool_)
    for at_um, size_um, n_px in zip((points.y_um, points.x_um), pixel_size_um, shape_px):
        at = at_um / size_um
        inside &= (at >= margin_px - 0.5) & (at <= n_px - 0.5 - margin_px)
    return inside


def _flags(rows: NDArray[np.integer[Any]], n: int) -> Flags:
    flags = np.zeros(n, np.bool_)
    flags[rows] = True
    return flags


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _root_mean_square(values: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else math.nan
