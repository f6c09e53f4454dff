"""Sections stacked by what their images say, beyond where the stage was."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from parfocal.slices.ledger import SliceLedger
from parfocal.slices.sections._align import Aligned, written
from parfocal.slices.sections._chosen import choose, positions_px
from parfocal.slices.sections._planes import translation, turn_deg
from parfocal.slices.sections._register import Positions, Registration
from parfocal.slices.sections._register_pair import PairRegistration, RegisterSettings, register_pair
from parfocal.slices.sections._shifts import ShiftTable
from parfocal.slices.sections._source import SectionSource

_FLOATS = NDArray[np.float64]


def stack(
    source: SectionSource,
    registration: Registration,
    shifts: ShiftTable | None = None,
    ledger: SliceLedger | None = None,
    *,
    path: Path,
    made: SectionSource | None = None,
    keep_gaps: bool = True,
    overwrite: bool = False,
    settings: RegisterSettings | None = None,
    progress: Callable[[str], None] | None = None,
) -> Aligned:
    """Write the sections into one OME-Zarr volume, each where the shifts say and corrected by its image.

    The pairwise transforms add up from the first section on. A section that the ledger wants skipped
    (`force_skip_slices`: excluded as noisy) is placed by the shifts beside the one before it, its own transform
    ignored; the section after it is registered to the last one that counts. A section that was interpolated lies
    between its neighbours' corrections; one whose interpolation failed stays a gap.

    Parameters
    ----------
    source, shifts, ledger, path, made, keep_gaps, overwrite, progress
        See `align`; without shifts, every section begins at the origin.
    registration : Registration
        Pairwise transforms.
    settings : RegisterSettings, optional
        For the pairs that have to be registered anew.
    """
    chosen = choose(source, made, ledger)
    everyone = chosen.everyone
    at_mm, at_px = dict.fromkeys(everyone, (0.0, 0.0)), dict.fromkeys(everyone, (0.0, 0.0))
    if shifts is not None:
        at_mm, at_px = positions_px(shifts, chosen.ids, source.voxel_size_um, chosen.made_ids)
    skipped = set(ledger.force_skip_slices()) if ledger is not None else set[str]()
    trusted = [i for i in chosen.ids if i not in skipped]
    steps = _steps(source, registration, trusted, at_px, settings or RegisterSettings())
    corrections = _corrections(everyone, trusted, chosen.made_ids, steps)
    matrices = {
        i: translation(-at_px[i][0], -at_px[i][1]) @ _between(*corrections[i], chosen.of(i).shape(i)[0])
        for i in everyone
    }
    return written("stack", chosen, matrices, at_mm, path, True, keep_gaps, overwrite, progress)


def _steps(
    source: SectionSource,
    registration: Registration,
    trusted: Sequence[str],
    at_px: Positions,
    how: RegisterSettings,
) -> dict[str, _FLOATS]:
    """Return each trusted section's correction against the one before it, in the common frame."""
    known = registration.by_moving()
    steps: dict[str, _FLOATS] = {}
    for fixed, moving in pairwise(trusted):
        pair = known.get(moving)
        if pair is None or pair.fixed_id != fixed:
            (fy, fx), (my, mx) = at_px[fixed], at_px[moving]
            pair = register_pair(
                source.volume(fixed),
                source.volume(moving),
                ids=(fixed, moving),
                step_px=(my - fy, mx - fx),
                settings=how,
            )
        (y, x), (my, mx) = at_px[fixed], at_px[moving]
        # less the positions of now, which may be better than those it was registered from
        residual = translation(my - y, mx - x) @ pair.matrix
        steps[moving] = translation(y, x) @ _taken(pair, residual, source.shape(fixed)) @ translation(-y, -x)
    return steps


def _taken(pair: PairRegistration, residual: _FLOATS, shape: tuple[int, int, int]) -> _FLOATS:
    """Return what is used of a pair's transform: all, its rotation about the middle of the section, or nothing."""
    if pair.action == "full":
        return residual
    if pair.action == "skip":
        return np.eye(3)
    turn = math.radians(turn_deg(residual))
    rotation = np.eye(3)
    rotation[:2, :2] = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    middle = translation(0.5 * (shape[1] - 1), 0.5 * (shape[2] - 1))
    return middle @ rotation @ np.linalg.inv(middle)


def _corrections(
    everyone: Sequence[str], trusted: Sequence[str], made: Collection[str], steps: Mapping[str, _FLOATS]
) -> dict[str, tuple[_FLOATS, _FLOATS]]:
    """Return each section's correction at its first and at its last plane."""
    at: dict[str, _FLOATS] = {}
    now = np.eye(3)
    for i in trusted:
        now = steps.get(i, np.eye(3)) @ now
        at[i] = now
    found: dict[str, tuple[_FLOATS, _FLOATS]] = {}
    before = np.eye(3)
    for k, i in enumerate(everyone):
        before = at.get(i, before)
        after = before
        if i in made:  # it leads from the section before it to the one after it
            after = next((at[j] for j in everyone[k + 1 :] if j in at), before)
        found[i] = (before, after)
    return found


def _between(start: _FLOATS, end: _FLOATS, n: int) -> _FLOATS:
    """Return matrices that lead evenly from one to the other over n planes; one where they are the same."""
    if np.allclose(start, end, rtol=0, atol=1e-9):
        return start[None]
    power = np.real(linalg.logm(end @ np.linalg.inv(start)))
    alphas = np.linspace(0, 1, n) if n > 1 else np.array([0.5])
    return np.array([linalg.expm(a * power) @ start for a in alphas])
