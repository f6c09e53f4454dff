"""Patches cut from folders of samples: simulated movies, real ones with what was found in them, pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta.networks._normalise import Floats, no_frame, seen_frame
from parfocal.puncta.networks._patches import Patch

_MOST_TRIES = 1000  # for a place where calcium can be learnt
MOVIE, TRUTH = "movie.tif", "ground_truth.csv"


@dataclass(frozen=True, eq=False)
class LabelledMovie:
    """A movie and where its puncta are, as training takes it.

    Parameters
    ----------
    movie : ndarray[frame, y, x]
        Raw ADU.
    calcium : ndarray[frame, y, x], optional
    camera_model, calcium_camera : CameraModel
    excess_noise : float
        2 for an EMCCD.
    frame : int64[n]
        Of each punctum, rising.
    puncta : float64[n, 4]
        x, y (px), photons, whether calcium is on.
    background : float64[n]
        Photons per pixel at each, NaN where it is not known.
    name : str
    is_ignored : bool[frame, y, x], optional
        Where calcium is not to be learnt.
    """

    movie: NDArray[Any]
    calcium: NDArray[Any] | None
    camera_model: CameraModel
    calcium_camera: CameraModel
    excess_noise: float
    frame: NDArray[np.int64]
    puncta: NDArray[np.float64]
    background: NDArray[np.float64]
    name: str = ""
    is_ignored: NDArray[np.bool_] | None = None


def sample_folders(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the samples of a folder (or the folder itself, where it is one), in order.

    Raises
    ------
    BadInputError
        There is none: no folder with `movie.tif` and `ground_truth.csv`.
    """
    root = Path(folder)
    if not root.is_dir():
        raise BadInputError(f"{root}: no such folder of samples")
    found = [path for path in [root, *sorted(root.iterdir())] if path.is_dir() and (path / TRUTH).is_file()]
    found = [path for path in found if (path / MOVIE).is_file() or (path / "movie.ome.zarr").is_dir()]
    if not found:
        raise BadInputError(f"{root}: holds no sample; expected folders with {MOVIE} and {TRUTH}")
    return found


def labelled_movie(folder: str | os.PathLike[str]) -> LabelledMovie:
    """Return a sample of the layout that `parfocal simulate puncta` writes.

    Raises
    ------
    BadInputError
        A file is missing or is not what it should be.
    """
    from parfocal.puncta.simulation import read_sample

    recording = read_sample(folder)
    truth = recording.truth
    kept = truth.is_visible & (truth.photons > 0)
    order = np.argsort(truth.frame[kept], kind="stable")
    columns = (truth.x_px, truth.y_px, truth.photons, truth.is_calcium_on.astype(float))
    return LabelledMovie(
        recording.movie,
        recording.calcium,
        recording.camera_model,
        recording.calcium_camera_model,
        recording.camera_model.excess_noise,
        truth.frame[kept][order],
        np.stack([column[kept] for column in columns], axis=1)[order],
        truth.background[kept][order],
        Path(folder).name,
        recording.is_ignored,
    )


def split_movies(movies: Sequence[LabelledMovie], share: float) -> tuple[list[LabelledMovie], list[LabelledMovie]]:
    """Return those to train on and those to score: whole movies, the last ones; with one movie, both are it."""
    n = max(1, round(share * len(movies)))
    return list(movies[:n]), list(movies[n:]) or list(movies[-1:])


def cut_batch(
    movies: Sequence[LabelledMovie], crop_px: int, most: int, n: int, seed: int, step: int, *, n_channels: int
) -> tuple[Floats, Floats, NDArray[np.int64], Floats]:
    """Return a batch as `patch_batch` does, cut from movies at random places and frames.

    Raises
    ------
    BadInputError
        A movie is smaller than a patch, or has no calcium where that is looked at.
    """
    rng = np.random.default_rng([seed, step, 0xF01D])
    patches = [cut_patch(rng, movies[int(rng.integers(len(movies)))], crop_px, n_channels) for _ in range(n)]
    puncta = np.zeros((n, most, 4), np.float32)
    counts = np.zeros(n, np.int64)
    for k, patch in enumerate(patches):
        counts[k] = min(len(patch.puncta), most)
        puncta[k, : counts[k]] = patch.puncta[: counts[k]]
    background = np.stack([patch.background for patch in patches])[:, None]
    return np.stack([patch.planes for patch in patches]), puncta, counts, background


def _place(rng: np.random.Generator, labelled: LabelledMovie, crop_px: int) -> tuple[int, int, int]:
    """Return frame, y and x of a patch's corner, px: anywhere, or every second time around a punctum."""
    n_frames, height, width = labelled.movie.shape
    frame = int(rng.integers(n_frames))
    corner = [int(rng.integers(side - crop_px + 1)) for side in (height, width)]
    if len(labelled.frame) and rng.random() < 0.5:
        k = int(rng.integers(len(labelled.frame)))
        frame = int(labelled.frame[k])
        for axis, (side, at) in enumerate(((height, labelled.puncta[k, 1]), (width, labelled.puncta[k, 0]))):
            corner[axis] = int(np.clip(round(at) - rng.integers(crop_px), 0, side - crop_px))
    return frame, corner[0], corner[1]


def cut_patch(rng: np.random.Generator, labelled: LabelledMovie, crop_px: int, n_channels: int = 1) -> Patch:
    """Return a patch of a movie, every second one around a punctum.

    The true background is known at puncta only: it is taken to be even, at their median, or where the picture is
    darkest (the level that it is compared with anyway) where there is none. Of a sample that says where calcium is
    not to be learnt, patches with two channels show nothing of that in their middle frame.
    """
    n_frames, height, width = labelled.movie.shape
    if min(height, width) < crop_px:
        raise BadInputError(
            f"sample {labelled.name}: frames of {height} x {width} px, expected {crop_px} at least"
        )
    if n_channels == 2 and labelled.calcium is None:
        raise BadInputError(f"sample {labelled.name}: has no calcium channel; expected calcium.tif")
    ignored = labelled.is_ignored if n_channels == 2 else None
    for _ in range(_MOST_TRIES):
        frame, y0, x0 = _place(rng, labelled, crop_px)
        cut = (slice(y0, y0 + crop_px), slice(x0, x0 + crop_px))
        if ignored is None or not ignored[frame][cut].any():
            break
    else:
        raise BadInputError(
            f"sample {labelled.name}: ignored.tif leaves no room; expected places of {crop_px} x {crop_px} px "
            "with calcium to learn"
        )
    roi = (y0, x0, crop_px, crop_px)
    channels = [(labelled.movie, labelled.camera_model.cropped(roi))]
    if n_channels == 2 and labelled.calcium is not None:
        channels.append((labelled.calcium, labelled.calcium_camera.cropped(roi)))
    planes: list[Floats] = []
    level = np.empty(0, np.float32)
    variance: Floats | float = 0.0
    for index in (frame - 1, frame, frame + 1):
        for number, (movie, camera) in enumerate(channels):
            if not 0 <= index < n_frames:
                planes.append(no_frame((crop_px, crop_px)))
                continue
            seen = seen_frame(movie[index][cut], camera, labelled.excess_noise)
            planes.append(seen.planes)
            if index == frame and number == 0:
                level, variance = seen.level, seen.variance
    first, last = np.searchsorted(labelled.frame, [frame, frame + 1])
    rows = labelled.puncta[first:last]
    x, y = rows[:, 0] - x0, rows[:, 1] - y0
    inside = (x > -0.5) & (x < crop_px - 0.5) & (y > -0.5) & (y < crop_px - 0.5)
    logs = np.log(np.maximum(rows[:, 2], 1e-6) / labelled.excess_noise)
    puncta = np.stack([x, y, logs, rows[:, 3]], axis=1)[inside].astype(np.float32)
    around = labelled.background[first:last][inside]
    background = np.zeros((crop_px, crop_px), np.float32)
    if np.isfinite(around).any():
        lit = float(np.nanmedian(around)) / labelled.excess_noise + variance + 0.375
        background = np.log(lit / level).astype(np.float32)
    return Patch(np.concatenate(planes), puncta, background)
