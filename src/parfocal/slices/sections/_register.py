"""Each section registered to the one before it: transform, z-correlation, and how far to trust them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.imaging import AffineModel, register_affine
from parfocal.slices.ledger import Metric, StageResult, Stamp
from parfocal.slices.sections._planes import (
    best_planes,
    clipped,
    coarse_matrix,
    moved_at_centre,
    slab,
    translation,
    turn_deg,
)
from parfocal.slices.sections._source import SectionSource

Action = Literal["full", "rotation", "skip"]
Positions = Mapping[str, tuple[float, float]]
"""Where sections lie, (y, x) px in the common frame, by slice id."""

_NOWHERE: Positions = MappingProxyType({})


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
        Z-correlation from which the image overrules a step that the stage could not vouch for.
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
    verify_min_ncc: float = 0.5
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

    def metrics(self) -> dict[str, Metric]:
        """Return its numbers, for the JSON of the moving section."""
        numbers = {k: v for k, v in asdict(self).items() if k not in ("matrix", "residual", "moving_id")}
        return {("registered_to" if k == "fixed_id" else k): v for k, v in numbers.items()}


@dataclass(frozen=True)
class Registration:
    """What `register` found.

    Attributes
    ----------
    pairs : tuple of PairRegistration
        One for each two neighbours, in the order of the sections.
    result : StageResult
        For the ledger and the report.
    """

    pairs: tuple[PairRegistration, ...]
    result: StageResult = field(default_factory=lambda: StageResult("register"))

    def by_moving(self) -> dict[str, PairRegistration]:
        """Return the pairs by the id of their moving section."""
        return {pair.moving_id: pair for pair in self.pairs}


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


def register(
    source: SectionSource,
    slice_ids: Sequence[str] | None = None,
    *,
    positions_px: Positions = _NOWHERE,
    interpolated: Collection[str] = (),
    unreliable: Collection[str] = (),
    settings: RegisterSettings | None = None,
    progress: Callable[[str], None] | None = None,
) -> Registration:
    """Register every section to the one before it.

    Sections that are left out of `slice_ids` are bridged: the two on either side are registered to each other.
    One whose step the stage could not vouch for (`unreliable`: `rehoming_reliable` is false) is verified: where
    its image registers with confidence, however far from where it was thought to be, the ledger is told so, and
    `step_y_px`, `step_x_px` are the step to use.

    Parameters
    ----------
    source : SectionSource
        The sections.
    slice_ids : sequence of str, optional
        Which, in order; all by default.
    positions_px : mapping of slice id to (y, x)
        Where they are known to lie in the common frame, px; all at the origin by default.
    interpolated : collection of str
        Sections that were made, not measured: whatever is registered with one gets confidence 0.
    unreliable : collection of str
        Sections whose step is to be verified.
    progress : callable, optional
        Called with each moving section's id when it is done.

    Raises
    ------
    BadInputError
        A section is not there, or fewer than two are asked for.
    """
    how = settings or RegisterSettings()
    ids = tuple(source.slice_ids if slice_ids is None else slice_ids)
    if len(ids) < 2:
        raise BadInputError(f"register: {len(ids)} section(s), expected two or more")
    pairs: list[PairRegistration] = []
    before = source.volume(ids[0])
    for fixed_id, moving_id in pairwise(ids):
        after = source.volume(moving_id)
        (fy, fx), (my, mx) = (positions_px.get(i, (0.0, 0.0)) for i in (fixed_id, moving_id))
        pair = register_pair(before, after, ids=(fixed_id, moving_id), step_px=(my - fy, mx - fx), settings=how)
        if moving_id in unreliable and pair.z_correlation >= how.verify_min_ncc:
            pair = _verified(pair, how)
        made = [i for i in (fixed_id, moving_id) if i in interpolated]
        if made:
            pair = _distrusted(pair, f"slice {', '.join(made)} is interpolated")
        pairs.append(pair)
        before = after
        if progress is not None:
            progress(moving_id)
    return Registration(tuple(pairs), _result(pairs, unreliable, how))


def _verified(pair: PairRegistration, how: RegisterSettings) -> PairRegistration:
    """Return the pair with nothing held against it for how far it lies from where the stage thought it to be."""
    confidence = confidence_of(pair.z_correlation, 0.0, pair.rotation_deg, how)
    action = action_of(confidence, how)
    reason = "" if action == "full" else f"confidence {confidence:.2f}"
    return replace(pair, confidence=confidence, action=action, reason=reason)


def _distrusted(pair: PairRegistration, reason: str) -> PairRegistration:
    return replace(pair, confidence=0.0, action="skip", reason=reason)


def _result(pairs: Sequence[PairRegistration], unreliable: Collection[str], how: RegisterSettings) -> StageResult:
    stamps: list[Stamp] = []
    messages: list[str] = []
    for pair in pairs:
        if pair.moving_id in unreliable:
            verified = pair.action == "full"
            beyond = f"{pair.dx_px:+.1f}, {pair.dy_px:+.1f} px (x, y) beyond the stage"
            if verified:
                stamps.append(Stamp(pair.moving_id, "rehoming_reliable", True))
            note = f"rehoming {'verified by image' if verified else 'not verified by image'}: {beyond}"
            stamps.append(Stamp(pair.moving_id, "notes", note, append=True))
            messages.append(f"{pair.moving_id}: {note}")
        if pair.action != "full":
            taken = "only its rotation is used" if pair.action == "rotation" else "its transform is not used"
            messages.append(f"{pair.fixed_id} to {pair.moving_id}: {pair.reason}; {taken}")
    n_full = sum(pair.action == "full" for pair in pairs)
    messages.append(f"{n_full} of {len(pairs)} pairs registered with confidence {how.confidence_high:g} or more")
    return StageResult("register", tuple(stamps), {p.moving_id: p.metrics() for p in pairs}, tuple(messages))
