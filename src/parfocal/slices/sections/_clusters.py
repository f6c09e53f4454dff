"""Runs of sections that do not fit their neighbours: noisy clusters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np

from parfocal.errors import BadInputError
from parfocal.files import natural_key
from parfocal.slices.ledger import CellValue, StageResult, Stamp, as_slice_id

_FEWEST_PAIRS = 8
_SURE_Z = 3.0
_LEAST_SPREAD = 0.02
_OURS = "noisy cluster"
_LINUMPY = "consecutive_low_z_corr"
Endpoints = Literal["moving", "both", "inner"]


class PairScore(Protocol):
    """How well one section fits the one before it."""

    @property
    def fixed_id(self) -> str:
        """The section before."""
        ...

    @property
    def moving_id(self) -> str:
        """The section after."""
        ...

    @property
    def z_correlation(self) -> float:
        """Best correlation over the planes at the cut; NaN where none can be told."""
        ...


def exclude_noisy_clusters(
    pairs: Iterable[PairScore],
    rows: Mapping[str, Mapping[str, CellValue]],
    *,
    enter: float | Literal["auto"] = 0.4,
    leave: float = 0.5,
    min_run: int = 3,
    endpoints: Endpoints = "moving",
    compat: Literal["linumpy"] | None = None,
) -> StageResult:
    """Mark the slices of runs of pairs that do not fit.

    A run is of adjacent pairs (each begins where the one before it ends, and ids grow by one: a missing slice ends
    a run) whose correlation is below `leave`, one of them at least below `enter`; whichever way it is read, it is
    the same. A correlation that is not a number is bad. Runs of `min_run` pairs or more are marked. Run again,
    it clears the marks that it set and would not set now; marks of others stay.

    Parameters
    ----------
    pairs : iterable of PairScore
        Such as the pairs of `register`.
    rows : mapping of slice id to mapping of column to value
        The ledger's rows.
    enter : float or "auto"
        Correlation below which a run begins. With "auto" the pairs' own median less three robust standard
        deviations, and `leave` is a third of the way up to the median: on tissue that correlates little
        everywhere a fixed limit marks nearly all.
    leave : float
        Correlation at which a run ends.
    min_run : int
        Fewest pairs in a run.
    endpoints : "moving", "both" or "inner"
        Which slices of a run of n pairs over n + 1 slices: the n moving ones; all n + 1; or the n - 1 that fit
        neither neighbour.
    compat : "linumpy", optional
        linumpy's marks: one threshold (`enter`), the order of the list instead of ids, NaN ends a run, reason
        `consecutive_low_z_corr`.

    Returns
    -------
    StageResult
        Stamps `auto_excluded` and `auto_exclude_reason` of every slice that was judged.

    Raises
    ------
    BadInputError
        A threshold is out of order, a slice is not in the ledger, or two pairs have one moving slice.
    """
    ordered = sorted(pairs, key=lambda pair: natural_key(as_slice_id(pair.moving_id)))
    values = [float(pair.z_correlation) for pair in ordered]
    messages: list[str] = []
    if enter == "auto":
        enter, leave, how = _by_the_pairs(values)
        messages.append(how)
    if not (math.isfinite(enter) and math.isfinite(leave)) or enter > leave:
        raise BadInputError(f"exclude: enter {enter:g}, leave {leave:g}; enter <= leave was expected")
    if min_run < 1:
        raise BadInputError(f"exclude: min_run {min_run}; 1 or more was expected")
    links = [(as_slice_id(pair.fixed_id), as_slice_id(pair.moving_id)) for pair in ordered]
    _check(links, rows)
    if compat == "linumpy":
        runs = _runs([v < enter for v in values], [True] * (len(values) - 1))
        endpoints = "moving"
    else:
        bad = [math.isnan(v) or v < enter for v in values]
        adjacent = [a[1] == b[0] and _next(*a) and _next(*b) for a, b in pairwise(links)]
        loose = [is_bad or v < leave for is_bad, v in zip(bad, values)]
        runs = [run for run in _runs(loose, adjacent) if any(bad[i] for i in run)]
    marked: dict[str, str] = {}
    for run in runs:
        if len(run) < min_run:
            continue
        slices = [links[run[0]][0], *(links[i][1] for i in run)]
        slices = slices[1:] if endpoints == "moving" else slices[1:-1] if endpoints == "inner" else slices
        span = f"{links[run[0]][0]} to {links[run[-1]][1]}"
        reason = _LINUMPY if compat == "linumpy" else f"{_OURS} ({len(run)} consecutive): {span}"
        marked |= dict.fromkeys(slices, reason)
        measured = [values[i] for i in run if not math.isnan(values[i])]
        told = f"correlation {min(measured):.3f} to {max(measured):.3f}" if measured else "no correlation"
        unknown = f", {len(run) - len(measured)} not a number" if len(measured) < len(run) else ""
        messages.append(
            f"noisy cluster of {len(run)} pairs, {span}: {told}{unknown}; {', '.join(slices)} excluded"
        )
    stamps = _stamps(marked, {sid for link in links for sid in link}, rows, messages)
    messages.append(f"{len(marked)} of {len(rows)} slices are in noisy clusters, {len(values)} pairs looked at")
    return StageResult("exclude", stamps, messages=tuple(messages))


def _by_the_pairs(values: Sequence[float]) -> tuple[float, float, str]:
    """Return where a run begins and ends among pairs such as these, and how it came about."""
    known = np.array([value for value in values if math.isfinite(value)])
    if known.size < _FEWEST_PAIRS:
        nothing = f"enter auto: {known.size} correlations tell nothing about each other; only NaN is bad"
        return -1.0, -1.0, nothing
    median = float(np.median(known))
    # Pairs of one scatter would condemn each other for nothing.
    spread = max(1.4826 * float(np.median(np.abs(known - median))), _LEAST_SPREAD)
    enter, leave = median - _SURE_Z * spread, median - 2 / 3 * _SURE_Z * spread
    words = f"{_SURE_Z:g} robust standard deviations of {spread:.3f} below the median {median:.3f}"
    return enter, leave, f"enter auto: {enter:.3f}, {words} of {known.size} pairs; leave {leave:.3f}"


def _check(links: Sequence[tuple[str, str]], rows: Mapping[str, object]) -> None:
    missing = [sid for sid in dict.fromkeys(sid for link in links for sid in link) if sid not in rows]
    if missing:
        raise BadInputError(f"exclude: slice {', '.join(missing)} is not in the ledger")
    moving = [link[1] for link in links]
    twice = next((b for a, b in pairwise(moving) if a == b), None)
    if twice is not None:
        raise BadInputError(f"exclude: two pairs end at slice {twice}")


def _runs(bad: Sequence[bool], adjacent: Sequence[bool]) -> list[list[int]]:
    runs: list[list[int]] = []
    for i, is_bad in enumerate(bad):
        if not is_bad:
            continue
        if i and bad[i - 1] and adjacent[i - 1]:
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs


def _next(fixed: str, moving: str) -> bool:
    """Whether no slice is missing between two; names that are no numbers are taken at their word."""
    return not (fixed.isdecimal() and moving.isdecimal()) or int(moving) - int(fixed) == 1


def _stamps(
    marked: Mapping[str, str],
    judged: set[str],
    rows: Mapping[str, Mapping[str, CellValue]],
    messages: list[str],
) -> tuple[Stamp, ...]:
    stamps: list[Stamp] = []
    for sid, row in rows.items():
        if sid in marked:
            stamps += [Stamp(sid, "auto_excluded", True), Stamp(sid, "auto_exclude_reason", marked[sid])]
            continue
        was, reason = row.get("auto_excluded") is True, row.get("auto_exclude_reason")
        is_ours = isinstance(reason, str) and reason.startswith((_OURS, _LINUMPY))
        if was and not is_ours:
            continue
        if was:
            messages.append(f"{sid} is no longer in a noisy cluster")
        if was or sid in judged:
            stamps.append(Stamp(sid, "auto_excluded", False))
        if is_ours:
            stamps.append(Stamp(sid, "auto_exclude_reason", None))
    return tuple(stamps)
