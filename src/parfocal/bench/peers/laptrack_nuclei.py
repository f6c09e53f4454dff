"""Peer of `segmentation`: laptrack on points that were handed over, and how long it took."""
# pyright: reportMissingImports=false

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from _serve import serve
from laptrack import LapTrack


def run(path: str, max_distance: float, max_missing_frames: int) -> dict[str, Any]:
    """Link the points of an npz (frame, y, x), with the setting that finds most true links."""
    with np.load(path) as stored:
        table = pd.DataFrame({name: stored[name] for name in ("frame", "y", "x")})
    table["point"] = np.arange(len(table))
    tracker = LapTrack(
        cutoff=max_distance**2,
        gap_closing_cutoff=max_distance**2 * (max_missing_frames + 1),
        gap_closing_max_frame_count=max_missing_frames + 1,
        alternative_cost_percentile=100,
    )
    began = time.perf_counter()
    tracks, _, _ = tracker.predict_dataframe(table, ["y", "x"], frame_col="frame", only_coordinate_cols=False)
    seconds = time.perf_counter() - began
    tracks = tracks.sort_values(["track_id", "point"])
    track, point = tracks["track_id"].to_numpy(), tracks["point"].to_numpy()
    same = track[1:] == track[:-1]
    links = np.column_stack([point[:-1][same], point[1:][same]])
    return {"seconds": seconds, "links": links.tolist()}


serve({"laptrack": version("laptrack")}, run=run)
