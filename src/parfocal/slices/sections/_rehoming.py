"""Steps between sections that no sample made: glitches of an encoder, tile columns added, a stage homed anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.slices.ledger import Metric, StageResult, Stamp
from parfocal.slices.sections._positions import (
    FloatArray,
    chains,
    drift_scale_mm,
    mend_sections,
    outlying_sections,
    tile_step_mm,
)
from parfocal.slices.sections._rehoming_linumpy import linumpy_rehoming
from parfocal.slices.sections._shifts import ShiftTable
from parfocal.slices.sections._step_classes import CLASSES, StepClass, step_likelihoods, unexplained

STAGE = "detect-rehoming"


@dataclass(frozen=True, eq=False)
class Rehoming:
    """Shifts with what no sample made taken out, and what was found.

    Attributes
    ----------
    shifts : ShiftTable
        Rows and order as given; steps of glitches and tile steps corrected.
    labels : tuple of str
        One a row: "drift", "tile-step", "glitch", "rehome" or "unknown".
    likelihoods : ndarray of float64, shape (n, 4)
        Probability of drift, tile-step, glitch and rehome, by row; each row sums to 1.
    reliable : ndarray of bool, shape (n,)
        The corrected step is within `max_shift_mm`; where it is not, an image must tell (`verify_by_image`).
    tile_step_mm : tuple of two float
        The step used along x and y; 0 where none was.
    stage : StageResult
        Stamps `rehomed` and `rehoming_reliable`, numbers, messages.
    """

    shifts: ShiftTable
    labels: tuple[StepClass, ...]
    likelihoods: FloatArray
    reliable: NDArray[np.bool_]
    tile_step_mm: tuple[float, float]
    stage: StageResult


def detect_rehoming(
    shifts: ShiftTable,
    *,
    max_shift_mm: float = 0.5,
    return_fraction: float = 0.4,
    tile_fov_mm: float | tuple[float, float] | Literal["auto"] | None = None,
    tile_fov_tolerance: float = 0.05,
    max_glitch_slices: int = 1,
    compat: Literal["linumpy"] | None = None,
) -> Rehoming:
    """Find the steps between sections that no sample made, and take them out.

    Glitches are decided on the cumulative position, over all sections at once: a section that lies off the path
    of the others is laid evenly between its neighbours, and every other position stays where it was, to the last
    digit of the sum. Tile steps are whole multiples of one length and stay; each takes its multiple out of one
    step. A long step that is neither is left as it is, and said to be unreliable.

    Parameters
    ----------
    shifts : ShiftTable
        Steps between consecutive sections.
    max_shift_mm : float
        No shorter step is looked at; a corrected step is reliable up to here.
    return_fraction : float
        A section is a glitch when the way past it is shorter than this share of the way to it.
    tile_fov_mm : float, (float, float), "auto" or None
        The tile step along x and y. It is not tile x (1 - overlap): it must be read off the shifts. "auto" reads
        it off; None takes none out, but says when the shifts show one.
    tile_fov_tolerance : float
        How far from a multiple, as a share of the tile step.
    max_glitch_slices : int
        How many sections in a row one glitch may hit. A stage that was homed anew and back again two sections
        later looks like a glitch of two.
    compat : "linumpy", optional
        The numbers of linumpy's two passes, which mend the first half of a glitch and then miss the second.

    Returns
    -------
    Rehoming

    Raises
    ------
    BadInputError
        A parameter or a step that is not a finite number, or out of range.
    """
    steps = steps_of(shifts)
    _check(max_shift_mm, return_fraction, tile_fov_tolerance, max_glitch_slices)
    fov = _given_fov(tile_fov_mm)
    if compat is not None:
        return _as_linumpy(shifts, steps, max_shift_mm, return_fraction, fov, tile_fov_tolerance)
    rows = chains(shifts.fixed_id, shifts.moving_id)
    found = _tile_steps(steps, rows, max_shift_mm, return_fraction, max_glitch_slices, tile_fov_tolerance)
    messages: list[str] = []
    if tile_fov_mm == "auto":
        fov = np.array([size or 0.0 for size in found])
        messages.append(_tile_words("tile step read off the shifts", found))
    elif tile_fov_mm is None and any(found):
        messages.append(_tile_words("the shifts show a tile step that was not asked to be taken out", found))
    tile = fov if fov is not None and fov.any() else None
    mended = steps.copy()
    n_tiles = np.zeros(steps.shape, np.int64)
    likelihoods = np.zeros((len(steps), 4))
    glitch_rows = np.zeros(len(steps), np.bool_)  # the ways to and from a section that was laid elsewhere
    arrives_off = np.zeros(len(steps), np.bool_)  # the way to it
    for chain in rows:
        off = outlying_sections(
            steps[chain],
            max_shift_mm=max_shift_mm,
            return_fraction=return_fraction,
            max_run=max_glitch_slices,
            tile_mm=tile,
            tile_tolerance=tile_fov_tolerance,
        )
        mended[chain], n_tiles[chain] = mend_sections(steps[chain], off, tile, tile_fov_tolerance)
        likelihoods[chain] = step_likelihoods(steps[chain], tile, max_shift_mm)
        arrives_off[chain] = off[1:]
        glitch_rows[chain] = off[1:] | off[:-1]
    is_tile = n_tiles.any(axis=1)
    long = np.hypot(*mended.T) > max_shift_mm
    labels: tuple[StepClass, ...] = tuple(
        "glitch" if glitch_rows[i] else "tile-step" if is_tile[i] else unexplained(likelihoods[i], bool(long[i]))
        for i in range(len(steps))
    )
    stage = _stage(shifts, steps, mended, labels, likelihoods, arrives_off | is_tile, long, n_tiles, messages)
    size = (float(tile[0]), float(tile[1])) if tile is not None else (0.0, 0.0)
    return Rehoming(with_steps(shifts, mended, ~long), labels, likelihoods, ~long, size, stage)


def steps_of(shifts: ShiftTable) -> FloatArray:
    """Return the steps (x, y) of a table, mm, shape (n, 2)."""
    steps = np.column_stack([shifts.dx_mm, shifts.dy_mm]).astype(np.float64)
    bad = ~np.isfinite(steps).all(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise BadInputError(
            f"shifts: step {shifts.fixed_id[row]} to {shifts.moving_id[row]} is not a finite number of mm"
        )
    return steps


def with_steps(shifts: ShiftTable, step_mm: FloatArray, reliable: NDArray[np.bool_]) -> ShiftTable:
    """Return the table with other steps; columns in pixels follow by the table's own pixel size.

    Which of them are reliable is told where the table has that column.
    """
    dx_mm, dy_mm = step_mm[:, 0].copy(), step_mm[:, 1].copy()
    return replace(
        shifts,
        dx_mm=dx_mm,
        dy_mm=dy_mm,
        dx_px=_pixels(shifts.dx_px, shifts.dx_mm, dx_mm),
        dy_px=_pixels(shifts.dy_px, shifts.dy_mm, dy_mm),
        reliable=None if shifts.reliable is None else reliable.copy(),
    )


def _pixels(px: FloatArray | None, mm: FloatArray, new_mm: FloatArray) -> FloatArray | None:
    """Return new pixel steps; the pixel size is read off the longest step, where rounding weighs least."""
    if px is None:
        return None
    longest = int(np.argmax(np.abs(mm))) if mm.size else 0
    if not mm.size or mm[longest] == 0.0:
        return px.copy()
    return np.where(new_mm == mm, px, new_mm * (px[longest] / mm[longest]))


def _tile_steps(
    steps: FloatArray,
    rows: Sequence[Sequence[int]],
    max_shift_mm: float,
    return_fraction: float,
    max_run: int,
    tolerance: float,
) -> list[float | None]:
    """Read the tile step off what is left of the long steps when glitches are gone, along x and y."""
    rest: list[FloatArray] = []
    for chain in rows:
        off = outlying_sections(
            steps[chain], max_shift_mm=max_shift_mm, return_fraction=return_fraction, max_run=max_run
        )
        rest.append(mend_sections(steps[chain], off)[0])
    left = np.vstack(rest) if rest else np.zeros((0, 2))
    middle, _ = drift_scale_mm(left, max_shift_mm)
    return [
        tile_step_mm(left[np.abs(left[:, axis] - middle[axis]) > max_shift_mm, axis], tolerance) for axis in (0, 1)
    ]


def _tile_words(begin: str, found: Sequence[float | None]) -> str:
    sizes = [f"{axis} {size:.4g} mm" for axis, size in zip("xy", found) if size]
    return f"{begin}: {', '.join(sizes) if sizes else 'none'}"


def _stage(
    shifts: ShiftTable,
    steps: FloatArray,
    mended: FloatArray,
    labels: Sequence[StepClass],
    likelihoods: FloatArray,
    rehomed: NDArray[np.bool_],
    long: NDArray[np.bool_],
    n_tiles: NDArray[np.int64],
    messages: Sequence[str],
) -> StageResult:
    stamps: list[Stamp] = []
    metrics: dict[str, dict[str, Metric]] = {}
    for i, section in enumerate(shifts.moving_id):
        stamps.append(Stamp(section, "rehomed", bool(rehomed[i])))
        told = bool(rehomed[i]) or bool(long[i])
        stamps.append(Stamp(section, "rehoming_reliable", not bool(long[i]) if told else None))
        metrics[section] = {
            "fixed_id": shifts.fixed_id[i],
            "step": labels[i],
            "x_shift_mm": float(steps[i, 0]),
            "y_shift_mm": float(steps[i, 1]),
            "corrected_x_shift_mm": float(mended[i, 0]),
            "corrected_y_shift_mm": float(mended[i, 1]),
            "tile_steps_x": int(n_tiles[i, 0]),
            "tile_steps_y": int(n_tiles[i, 1]),
            **{f"p_{name.replace('-', '_')}": float(p) for name, p in zip(CLASSES, likelihoods[i])},
        }
    said = list(messages)
    for label, words in (("glitch", "glitch, laid between its neighbours"), ("tile-step", "tile step taken out")):
        ids = [s for s, name, hit in zip(shifts.moving_id, labels, rehomed) if name == label and hit]
        if ids:
            said.append(f"{len(ids)} section(s) with a {words}: {', '.join(ids)}")
    doubtful = [
        f"{f} to {m} ({name})" for f, m, name, far in zip(shifts.fixed_id, shifts.moving_id, labels, long) if far
    ]
    if doubtful:
        said.append(f"{len(doubtful)} step(s) not explained, let an image tell: {', '.join(doubtful)}")
    if len(said) == len(messages):
        said.append("no step out of the ordinary")
    return StageResult(STAGE, tuple(stamps), metrics, tuple(said))


def _as_linumpy(
    shifts: ShiftTable,
    steps: FloatArray,
    max_shift_mm: float,
    return_fraction: float,
    fov: FloatArray | None,
    tolerance: float,
) -> Rehoming:
    mended, n_tiles, spikes = linumpy_rehoming(steps, max_shift_mm, return_fraction, fov, tolerance)
    likelihoods = step_likelihoods(steps, fov, max_shift_mm)
    is_tile = n_tiles.any(axis=1)
    long = np.hypot(*mended.T) > max_shift_mm
    labels: tuple[StepClass, ...] = tuple(
        "glitch" if spikes[i] else "tile-step" if is_tile[i] else "rehome" if long[i] else "drift"
        for i in range(len(steps))
    )
    stage = _stage(shifts, steps, mended, labels, likelihoods, spikes | is_tile, long, n_tiles, ())
    stamps = tuple(  # the original stamps every section
        Stamp(one.slice_id, one.column, True) if one.column == "rehoming_reliable" and one.value is None else one
        for one in stage.stamps
    )
    size = (float(fov[0]), float(fov[1])) if fov is not None else (0.0, 0.0)
    stage = StageResult(stage.stage, stamps, stage.metrics, stage.messages)
    return Rehoming(with_steps(shifts, mended, ~long), labels, likelihoods, ~long, size, stage)


def _given_fov(given: float | tuple[float, float] | Literal["auto"] | None) -> FloatArray | None:
    if given is None or given == "auto":
        return None
    size = np.broadcast_to(np.asarray(given, np.float64), (2,)).copy()
    if not np.isfinite(size).all() or (size < 0).any() or not size.any():
        raise BadInputError(f"tile_fov_mm: {given!r} is no length in mm; expected one above 0, or (x, y)")
    return size


def _check(max_shift_mm: float, return_fraction: float, tolerance: float, max_run: int) -> None:
    if not (np.isfinite(max_shift_mm) and max_shift_mm > 0):
        raise BadInputError(f"max_shift_mm: expected a length above 0, got {max_shift_mm!r}")
    if not 0 < return_fraction < 1:
        raise BadInputError(f"return_fraction: expected a share between 0 and 1, got {return_fraction!r}")
    if not 0 < tolerance < 0.5:
        raise BadInputError(f"tile_fov_tolerance: expected a share between 0 and 0.5, got {tolerance!r}")
    if max_run < 1:
        raise BadInputError(f"max_glitch_slices: expected 1 or more, got {max_run!r}")
