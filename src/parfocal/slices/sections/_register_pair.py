"""Two neighbouring sections registered: transform, z-correlation, and how far to trust them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.imaging import AffineModel, register_affine
from parfocal.slices.ledger import Metric, Stamp
from parfocal.slices.sections._planes import (
    best_planes,
    clipped,
    coarse_matrix,
    moved_at_centre,
    slab,
    translation,
    turn_deg,
)

Action = Literal["full", "rotation", "skip"]
VERIFY_MIN_NCC = 0.5
"""Correlation of registered slabs from which an image is believed against the stage."""


@dataclass(frozen=True)
class RegisterSettings:
    """How sections are registered.

    Attributes
    ----------
    model : {"rigid", "affine", "translation"}
        What a pairwise transform may be.
    search_window : int
        Planes on each side of a cut among which the best pair is sought.
    slab_planes : int
        Planes averaged around it.
    max_translation_px, max_rotation_deg : float
        What counts as far: confidence falls to that of the z-correlation alone.
    confidence_high, confidence_low : float
        At least `high`: the whole transform is used. Below `low`: none of it. Between: its rotation only.
    verify_min_ncc : float
        See `verified_pair`: when an image overrules a step that the stage could not vouch for.
    max_search_px : float, optional
        Bound of the coarse search on each axis; half of the section by default.
    """

    model: AffineModel = "rigid"
    search_window: int = 5
    slab_planes: int = 3
    max_translation_px: float = 20.0
    max_rotation_deg: float = 5.0
    confidence_high: float = 0.6
    confidence_low: float = 0.3
    verify_min_ncc: float = VERIFY_MIN_NCC
    max_search_px: float | None = None

    def __post_init__(self) -> None:
        if self.model not in ("rigid", "affine", "translation"):
            raise BadInputError(f"register: model {self.model!r}, expected rigid, affine or translation")
        if self.search_window < 1 or self.slab_planes < 1:
            raise BadInputError("register: search_window and slab_planes must be 1 or more")
        if not (self.max_translation_px > 0 and self.max_rotation_deg > 0):
            raise BadInputError("register: max_translation_px and max_rotation_deg must be above 0")
        if not 0 <= self.confidence_low <= self.confidence_high <= 1:
            raise BadInputError("register: 0 <= confidence_low <= confidence_high <= 1 was expected")


@dataclass(frozen=True, eq=False)
class PairRegistration:
    """One section against the one before it.

    Attributes
    ----------
    fixed_id, moving_id : str
        The section before and the one after.
    matrix : ndarray of float64, shape (3, 3)
        From (y, x, 1) in the fixed section to (y, x, 1) in the moving one, px, positions included.
    residual : ndarray of float64, shape (3, 3)
        The same less the known positions: the identity where the stage told the truth.
    dy_px, dx_px : float
        What to move the moving section by, beyond its position, at the middle of the fixed one.
    step_y_px, step_x_px : float
        The whole step from the fixed section to the moving one: known position and `dy_px`, `dx_px`.
    rotation_deg : float
        Of the transform.
    z_correlation : float
        Best correlation over the planes at the cut after the coarse shift (5-95 % clip, central half); the input
        of exclusion. NaN where none can be told.
    fixed_z, moving_z : int
        Those planes.
    ncc : float
        Correlation of the slabs around them after registration.
    confidence : float
        `0.5 z_correlation + 0.3 (1 - t / t_max) + 0.2 (1 - rotation / rotation_max)`, each part within 0 and 1; 0
        where a section was interpolated or nothing was found.
    action : {"full", "rotation", "skip"}
        What stacking does with it.
    reason : str
        Why it is not used in full; empty where it is.
    is_verified : bool
        The stage could not vouch for the step, and the image is to be believed (`verified_pair`).
    """

    fixed_id: str
    moving_id: str
    matrix: NDArray[np.float64]
    residual: NDArray[np.float64]
    dy_px: float
    dx_px: float
    step_y_px: float
    step_x_px: float
    rotation_deg: float
    z_correlation: float
    fixed_z: int
    moving_z: int
    ncc: float
    confidence: float
    action: Action
    reason: str = ""
    is_verified: bool = False

    def metrics(self) -> dict[str, Metric]:
        """Return its numbers, for the JSON of the moving section."""
        numbers = {k: v for k, v in asdict(self).items() if k not in ("matrix", "residual", "moving_id")}
        return {("registered_to" if k == "fixed_id" else k): v for k, v in numbers.items()}


def confidence_of(
    z_correlation: float, translation_px: float, rotation_deg: float, settings: RegisterSettings
) -> float:
    """Return how far a pairwise transform is to be trusted, 0 to 1."""
    if not all(math.isfinite(v) for v in (z_correlation, translation_px, rotation_deg)):
        return 0.0
    near = 1.0 - min(1.0, translation_px / settings.max_translation_px)
    upright = 1.0 - min(1.0, abs(rotation_deg) / settings.max_rotation_deg)
    return 0.5 * min(1.0, max(0.0, z_correlation)) + 0.3 * near + 0.2 * upright


def action_of(confidence: float, settings: RegisterSettings) -> Action:
    """Return what stacking does with a transform of this confidence."""
    if confidence >= settings.confidence_high:
        return "full"
    return "rotation" if confidence >= settings.confidence_low else "skip"


def register_pair(
    fixed: NDArray[Any],
    moving: NDArray[Any],
    *,
    ids: tuple[str, str] = ("", ""),
    step_px: tuple[float, float] = (0.0, 0.0),
    settings: RegisterSettings | None = None,
) -> PairRegistration:
    """Register one section to the one before it.

    A phase correlation finds the shift, a search over the planes at the cut the two that look most alike, and
    Gauss-Newton steps on slabs around them the transform; it is kept where it does not correlate worse.

    Parameters
    ----------
    fixed, moving : ndarray, shape (z, y, x)
        The section before the cut and the one after it; (y, x) may differ.
    step_px : tuple of float
        Known position (y, x) of the moving section less that of the fixed one, px.
    """
    how = settings or RegisterSettings()
    nominal = translation(-step_px[0], -step_px[1])
    end, start = (
        clipped(v) for v in (slab(fixed, len(fixed) - 1, how.slab_planes), slab(moving, 0, how.slab_planes))
    )
    coarse, found = coarse_matrix(end, start, nominal, how.max_search_px)
    match = best_planes(fixed, moving, coarse, how.search_window)
    matrix, ncc, reason = coarse, found, ""
    if not math.isfinite(found) or not math.isfinite(match.ncc):
        matrix, reason = nominal, "nothing to register: a flat section, or no overlap"
    elif min(*end.shape, *start.shape) >= 24:
        end = clipped(slab(fixed, match.fixed_z, how.slab_planes))
        start = clipped(slab(moving, match.moving_z, how.slab_planes))
        fine = register_affine(end, start, model=how.model, start=coarse)
        at_start = register_affine(end, start, model=how.model, start=coarse, n_levels=1, max_iterations=1)
        ncc = at_start.ncc
        if fine.ncc >= at_start.ncc:
            matrix, ncc = fine.matrix, fine.ncc
    residual = np.linalg.inv(nominal) @ matrix
    dy, dx = (-d for d in moved_at_centre(residual, (end.shape[0], end.shape[1])))
    turn = turn_deg(matrix)
    confidence = 0.0 if reason else confidence_of(match.ncc, math.hypot(dy, dx), turn, how)
    action = action_of(confidence, how)
    if not reason and action != "full":
        reason = f"confidence {confidence:.2f}"
    return PairRegistration(
        fixed_id=ids[0],
        moving_id=ids[1],
        matrix=matrix,
        residual=residual,
        dy_px=dy,
        dx_px=dx,
        step_y_px=step_px[0] + dy,
        step_x_px=step_px[1] + dx,
        rotation_deg=turn,
        z_correlation=match.ncc,
        fixed_z=match.fixed_z,
        moving_z=match.moving_z,
        ncc=float(ncc),
        confidence=confidence,
        action=action,
        reason=reason,
    )


def verified_pair(
    fixed: NDArray[Any],
    moving: NDArray[Any],
    *,
    ids: tuple[str, str] = ("", ""),
    step_px: tuple[float, float] = (0.0, 0.0),
    max_discrepancy_px: float = 0.0,
    settings: RegisterSettings | None = None,
) -> PairRegistration:
    """Register two sections whose step the stage cannot vouch for, and say whether the image is to be believed.

    They are registered twice, from where the stage says and from where their arrays lie: a stage that is far off
    leaves too little overlap to find the way back. The better correlation of the registered slabs counts. From
    `verify_min_ncc` on the image is believed (`is_verified`), and nothing is held against the pair for how far it
    lies from where the stage thought it to be.

    Parameters
    ----------
    fixed, moving, ids, step_px, settings
        See `register_pair`.
    max_discrepancy_px : float
        Farthest that the image may differ from the stage on either axis, px; 0 for any.
    """
    how = settings or RegisterSettings()
    found = [register_pair(fixed, moving, ids=ids, step_px=step_px, settings=how)]
    if any(step_px):
        here = register_pair(fixed, moving, ids=ids, settings=how)
        residual = np.linalg.inv(translation(-step_px[0], -step_px[1])) @ here.matrix
        dy, dx = (-d for d in moved_at_centre(residual, (fixed.shape[1], fixed.shape[2])))
        found.append(replace(here, residual=residual, dy_px=dy, dx_px=dx))
    pair = max(found, key=lambda one: one.ncc if math.isfinite(one.ncc) else -2.0)
    far = max(abs(pair.dy_px), abs(pair.dx_px))
    if not pair.ncc >= how.verify_min_ncc or (max_discrepancy_px > 0 and far > max_discrepancy_px):
        return found[0]
    confidence = confidence_of(pair.z_correlation, 0.0, pair.rotation_deg, how)
    action = action_of(confidence, how)
    reason = "" if action == "full" else f"confidence {confidence:.2f}"
    return replace(pair, confidence=confidence, action=action, reason=reason, is_verified=True)


def verification(pair: PairRegistration) -> tuple[str, tuple[Stamp, ...]]:
    """Return what `verified_pair` found in words, and as stamps: the same whoever asked."""
    verdict = "verified" if pair.is_verified else "not verified"
    note = f"rehoming {verdict} by image: {pair.dx_px:+.1f}, {pair.dy_px:+.1f} px (x, y) beyond the stage"
    stamps = [Stamp(pair.moving_id, "notes", note, append=True)]
    if pair.is_verified:
        stamps.insert(0, Stamp(pair.moving_id, "rehoming_reliable", True))
    return f"{pair.fixed_id} to {pair.moving_id}: {note}, ncc {pair.ncc:.2f}", tuple(stamps)
