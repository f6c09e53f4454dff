"""Frames as thumbnails, with what an audit said of them; attempts at one slice stand side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.report._story_reading import Reading, columns_of

_SIDE_PX = 128
_MOST_PLAIN = 12  # of frames that nobody judged


@dataclass(frozen=True, eq=False)
class Look:
    """One frame.

    Attributes
    ----------
    slice_id : str
        As the plan called it; without an audit the number of its event.
    attempt, frame : int
        Which attempt; index of its pixels.
    t_s : float
        Seconds since 1970; NaN where no event tells.
    z_um : float
        Of the stage; NaN where unknown.
    accepted : bool or None
        None where nobody judged.
    reason : str
    score : float
        Deviation over what is allowed: above 1 is rejected.
    pixels : ndarray of uint8 or None
        Small, all of a run on one scale; None where it was not among those shown.
    """

    slice_id: str
    attempt: int
    frame: int
    t_s: float
    z_um: float
    accepted: bool | None
    reason: str
    score: float
    pixels: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class SlicesShown:
    """The frames of a run.

    Attributes
    ----------
    groups : tuple of tuple of Look
        Attempts at one slice; those with a rejected one come first. Only those with thumbnails.
    n_frames, n_shown, n_rejected, n_retaken : int
        Of the whole run.
    judged_by : str
        `the plan`, an analysis, or empty.
    verdicts : tuple of Look
        Every judged frame, without pixels, in order.
    """

    groups: tuple[tuple[Look, ...], ...]
    n_frames: int
    n_shown: int
    n_rejected: int
    n_retaken: int
    judged_by: str
    verdicts: tuple[Look, ...]


def read_slices(reading: Reading, derived: Iterable[Any], most: int) -> SlicesShown | None:
    """Return the frames of a run and what was said of them; None where it has none."""
    if not reading.camera_stream:
        return None
    n_frames = reading.frames.shape[0]
    looks, judged_by = _audited(reading), "the plan"
    if not looks:
        looks, judged_by = _looked_at(reading, derived), "slice_audit"
    if not looks:
        looks, judged_by, most = _plain(reading, n_frames), "", min(most, _MOST_PLAIN)
    groups: dict[str, list[Look]] = {}
    for look in looks:
        groups.setdefault(look.slice_id, []).append(look)
    chosen = _chosen([tuple(group) for group in groups.values()], most)
    shown = _pictured(reading, chosen)
    return SlicesShown(
        shown,
        n_frames,
        sum(map(len, shown)),
        sum(look.accepted is False for look in looks),
        sum(look.attempt > 1 for look in looks),
        judged_by,
        tuple(looks) if judged_by else (),
    )


def _audited(reading: Reading) -> list[Look]:
    """Return what the plan's own auditor said last of each frame."""
    auditor = (reading.start.get("parfocal") or {}).get("audit", {}).get("auditor")
    if not auditor:
        return []
    told = {int(row[f"{auditor}_frame"]): row for row in reading.rows("audit")}  # the last word counts
    places = frame_places(reading)
    return [
        Look(
            str(row[f"{auditor}_slice_id"]),
            int(row[f"{auditor}_attempt"]),
            frame,
            *places.get(frame, (float(row["time"]), np.nan)),
            bool(row[f"{auditor}_accepted"]),
            str(row[f"{auditor}_reason"]),
            float(row[f"{auditor}_score"]),
        )
        for frame, row in sorted(told.items())
    ]


def _looked_at(reading: Reading, derived: Iterable[Any]) -> list[Look]:
    for run in derived:
        if run.metadata["start"]["parfocal"]["analysis"] == "slice_audit" and "looks" in run:
            c, places = columns_of(run, "looks"), frame_places(reading)
            rows = zip(
                c["slice_id"], c["attempt"], c["raw_frame"], c["accepted"], c["reason"], c["score"], c["plane"]
            )
            is_stack = np.unique(c["plane"]).size > 1
            return [
                Look(
                    f"{name} plane {int(plane)}" if is_stack else str(name),
                    int(attempt),
                    int(frame),
                    *places.get(int(frame), (np.nan, np.nan)),
                    bool(accepted),
                    str(reason),
                    float(score),
                )
                for name, attempt, frame, accepted, reason, score, plane in rows
            ]
    return []


def _plain(reading: Reading, n_frames: int) -> list[Look]:
    places, columns = frame_places(reading), reading.columns(reading.camera_stream)
    key = f"{reading.data_key}_frame"
    channels = dict(
        zip(columns.get(key, np.zeros(0)).tolist(), columns.get("point_channel", np.zeros(0)).tolist())
    )
    return [
        Look(
            f"{frame} {channels.get(frame, '')}".strip(),
            1,
            frame,
            *places.get(frame, (np.nan, np.nan)),
            None,
            "",
            np.nan,
        )
        for frame in range(n_frames)
    ]


def frame_places(reading: Reading) -> dict[int, tuple[float, float]]:
    """Return time and z of each frame that has an event."""
    columns = reading.columns(reading.camera_stream)
    frame = columns.get(f"{reading.data_key}_frame")
    if frame is None:
        return {}
    axis = (reading.start.get("parfocal") or {}).get("axes", {}).get("z", "")
    z_um = columns.get(str(axis), np.full(frame.size, np.nan))
    return {int(k): (float(t), float(z)) for k, t, z in zip(frame, columns["time"], z_um)}


def _chosen(groups: list[tuple[Look, ...]], most: int) -> list[tuple[Look, ...]]:
    """Return what is worth a thumbnail: all attempts at slices that were once rejected, then some of the rest."""
    bad = [g for g in groups if len(g) > 1 or any(look.accepted is False for look in g)]
    good = [g for g in groups if len(g) == 1 and all(look.accepted is not False for look in g)]
    chosen: list[tuple[Look, ...]] = []
    room = most
    for group in bad:
        if len(group) > room:
            break
        chosen.append(group)
        room -= len(group)
    n_good = min(len(good), max(room, 0))
    return chosen + [good[k] for k in np.unique(np.linspace(0, len(good) - 1, n_good).round().astype(int))]


def _pictured(reading: Reading, groups: list[tuple[Look, ...]]) -> tuple[tuple[Look, ...], ...]:
    n_there = reading.frames.shape[0]
    small = {
        look.frame: shrunk(reading.frames.read(look.frame), _SIDE_PX)
        for group in groups
        for look in group
        if 0 <= look.frame < n_there
    }
    if not small:
        return ()
    low, high = grey_range(list(small.values()))
    grey = {frame: as_grey(pixels, low, high) for frame, pixels in small.items()}
    return tuple(tuple(_with(look, grey.get(look.frame)) for look in group) for group in groups)


def _with(look: Look, pixels: NDArray[np.uint8] | None) -> Look:
    return replace(look, pixels=pixels)


def shrunk(plane: NDArray[Any], side_px: int) -> NDArray[np.float32]:
    """Return a plane that is at most `side_px` high and wide: means of blocks."""
    factor = max(1, -(-max(plane.shape) // side_px))
    height, width = (max(1, n // factor) for n in plane.shape)
    cut = plane[: height * factor, : width * factor].astype(np.float32)
    return cut.reshape(height, cut.shape[0] // height, width, cut.shape[1] // width).mean(axis=(1, 3))


def grey_range(pictures: list[NDArray[np.float32]]) -> tuple[float, float]:
    """Return what is black and what is white for pictures that are to be compared."""
    values = np.concatenate([p.ravel() for p in pictures])
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (1, 99.8)) if values.size else (0.0, 1.0)
    return float(low), max(float(high), float(low) + 1e-9)


def as_grey(picture: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Return a picture as 8 bits."""
    return (255 * np.clip((picture - low) / (high - low), 0, 1)).astype(np.uint8)
