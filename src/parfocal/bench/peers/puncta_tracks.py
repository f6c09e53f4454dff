"""Peer of `puncta`: laptrack and trackpy on points that were handed over, and how long each took."""
# pyright: reportMissingImports=false

from __future__ import annotations

import time
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import trackpy
from _serve import serve
from laptrack import LapTrack

trackpy.quiet()
warnings.simplefilter("ignore")


def laptrack(path: str, max_distance: float, max_missing_frames: int, branches: bool) -> dict[str, Any]:
    """Link with LapTrack, in the setting that finds most true links; `branches`: splits and merges too."""
    table = _table(path)
    branch = max_distance**2 if branches else False
    tracker = LapTrack(
        cutoff=max_distance**2,
        gap_closing_cutoff=max_distance**2,
        gap_closing_max_frame_count=max_missing_frames + 1,
        alternative_cost_percentile=100,
        splitting_cutoff=branch,
        merging_cutoff=branch,
    )
    began = time.perf_counter()
    tracks, _, _ = tracker.predict_dataframe(table, ["y", "x"], frame_col="frame", only_coordinate_cols=False)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "track": _in_order(tracks, "track_id")}


def trackpy_link(path: str, max_distance: float, max_missing_frames: int) -> dict[str, Any]:
    """Link with trackpy, which closes gaps as it goes and knows no splits or merges."""
    table = _table(path)
    began = time.perf_counter()
    tracks = trackpy.link(table, max_distance, memory=max_missing_frames)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "track": _in_order(tracks, "particle")}


def trackpy_exponents(
    path: str, max_distance: float, max_missing_frames: int, min_frames: int, max_lag: int
) -> dict[str, Any]:
    """Link with trackpy; return each long track's exponent of its mean squared displacement over lags 1 to n."""
    tracks = trackpy.link(_table(path), max_distance, memory=max_missing_frames)
    tracks = trackpy.filter_stubs(tracks, min_frames)
    curves = trackpy.imsd(tracks, 1.0, 1.0, max_lagtime=max_lag)
    exponents: list[float] = []
    for name in curves:
        curve = curves[name].dropna()
        exponents.append(float(np.polyfit(np.log(curve.index), np.log(curve.to_numpy()), 1)[0]))
    return {"exponents": exponents}


def _table(path: str) -> Any:
    with np.load(path) as stored:
        table = pd.DataFrame({name: stored[name] for name in ("frame", "y", "x")})
    table["point"] = np.arange(len(table))
    return table


def _in_order(tracks: Any, column: str) -> list[int]:
    return tracks.sort_values("point")[column].to_numpy().tolist()


serve(
    {"laptrack": version("laptrack"), "trackpy": version("trackpy")},
    laptrack=laptrack,
    trackpy_link=trackpy_link,
    trackpy_exponents=trackpy_exponents,
)
