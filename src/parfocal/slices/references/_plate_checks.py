"""Whether wells lie where the stage was, and time stamps that can be trusted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.slices.references._plate import ROWS


def stage_disagreements(
    xy_um: Mapping[str, tuple[float, float]], columns_run: str = "against_x"
) -> tuple[str, ...]:
    """Say which wells do not lie where the stage was when they were imaged.

    The stage's x (y) positions are cut at their largest gaps into as many groups as there are plate columns
    (rows) among the wells; every group must hold the wells of one column (row), in the order of the plate.

    Parameters
    ----------
    xy_um : mapping of well to (x, y)
        Stage position of each well's series, um.
    columns_run : {"against_x", "along_x"}
        Whether stage x falls or grows from column 1 to 12. On the inverted Nikon stands that this was written
        for it falls.

    Returns
    -------
    tuple of str
        One sentence a well that lies elsewhere; empty where all fit.
    """
    if columns_run not in ("against_x", "along_x"):
        raise BadInputError(f"columns_run is {columns_run!r}, expected against_x or along_x")
    wells = sorted(xy_um)
    x = np.array([xy_um[well][0] for well in wells])
    y = np.array([xy_um[well][1] for well in wells])
    columns = np.array([int(well[1:]) for well in wells])
    rows = np.array([ROWS.index(well[0]) for well in wells])
    said: list[str] = []
    flipped = -1.0 if columns_run == "against_x" else 1.0
    column_found = _ranked_groups(flipped * x, columns)
    # which way y runs differs between stands, and is told by the wells themselves
    row_found = min(
        (_ranked_groups(sign * y, rows) for sign in (1.0, -1.0)), key=lambda found: int((found != rows).sum())
    )
    for k, well in enumerate(wells):
        if (column_found[k], row_found[k]) != (columns[k], rows[k]):
            there = f"{ROWS[row_found[k]]}{column_found[k]:02d}"
            said.append(
                f"{well}: the stage was at ({x[k]:.0f}, {y[k]:.0f}) um, which is {there} among these wells; "
                "check series_number_map"
            )
    return tuple(said)


def mended_times_s(
    recorded_s: ArrayLike, usual_cycle_s: float = 1800.0
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return one time a time point from the stamps of a few wells.

    Times count from each well's first stamp, and the median over wells is taken. A stamp that is missing is
    filled with the median cycle. A step of more than two cycles is a known artefact of ND2 files: it is
    replaced by one cycle, and what follows is shifted with it. Times never fall.

    Parameters
    ----------
    recorded_s : array_like of shape (n_wells, n_times)
        Stamps, s; NaN where there is none. Up to three wells are enough.
    usual_cycle_s : float
        Cycle where no two stamps follow each other.

    Returns
    -------
    times_s : ndarray of float64, shape (n_times,)
    warnings : tuple of str
    """
    recorded = np.atleast_2d(np.asarray(recorded_s, np.float64))
    told = np.isfinite(recorded)
    if recorded.shape[-1] == 0:
        return np.empty(0), ()
    steps = np.diff(recorded, axis=1)
    steps = steps[np.isfinite(steps) & (steps > 0)]
    cycle_s = float(np.median(steps)) if steps.size else usual_cycle_s
    first = np.where(told.any(axis=1), told.argmax(axis=1), 0)
    at_first = recorded[np.arange(len(recorded)), first] - cycle_s * first  # a late first stamp starts no sooner
    relative = np.where(told, recorded - at_first[:, np.newaxis], np.nan)
    times = np.empty(recorded.shape[1])
    shift, filled, jumps = 0.0, 0, 0
    for t in range(times.size):
        column = relative[np.isfinite(relative[:, t]), t]
        before = float(times[t - 1]) if t else 0.0
        if column.size == 0:
            times[t] = before + cycle_s if t else 0.0
            filled += 1
            continue
        value = float(np.median(column)) + shift
        if t and value - before > 2 * cycle_s:
            shift += before + cycle_s - value
            value, jumps = before + cycle_s, jumps + 1
        times[t] = max(before, value) if t else value
    said = [f"{filled} time stamps are missing: filled with the cycle of {cycle_s:g} s"] if filled else []
    if jumps:
        said.append(f"{jumps} time stamps jump by more than two cycles of {cycle_s:g} s: taken as one cycle")
    return times, tuple(said)


def _ranked_groups(values: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the label of each value by its place: cut at the largest gaps, groups in the order of labels."""
    known = np.unique(labels)
    order = np.argsort(values, kind="stable")
    gaps = np.diff(values[order])
    cuts = np.sort(np.argsort(gaps, kind="stable")[::-1][: known.size - 1])
    group = np.zeros(values.size, np.int64)
    group[order] = np.searchsorted(cuts, np.arange(values.size), side="left")
    return known[group]
