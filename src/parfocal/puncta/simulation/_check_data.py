"""Whether folders of samples are fit to train on: formats, positions, light where the table says, labels."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from parfocal.errors import BadInputError
from parfocal.puncta.simulation._sample_files import read_events, read_ignored, read_metadata, read_pixels
from parfocal.puncta.simulation._sample_table import TRUTH_COLUMNS, Columns, read_columns

_BRIGHT_FRACTION = 0.6
_OFF_CENTRE_PX = 0.3
_MOST_FRAMES = 40
_FEWEST_ROWS = 20


@dataclass(frozen=True)
class SampleCheck:
    """What one sample holds, and what is wrong with it.

    Attributes
    ----------
    name : str
    shape : tuple of int
        (frames, height, width); empty where the movie cannot be read.
    has_calcium : bool
    n_puncta, n_visible, n_calcium_on, n_events : int
        Puncta, rows in which they are seen, rows with calcium, calcium events.
    brightness : float
        Share of visible rows whose place is brighter than its surround; NaN where there are too few.
    problems : tuple of str
        In plain words; empty where there are none.
    """

    name: str
    shape: tuple[int, ...]
    has_calcium: bool
    n_puncta: int
    n_visible: int
    n_calcium_on: int
    n_events: int
    brightness: float
    problems: tuple[str, ...]


def check_data(folder: str | os.PathLike[str]) -> list[SampleCheck]:
    """Check a sample, or every sample of a folder, and that they fit one another.

    Raises
    ------
    BadInputError
        There is no sample in the folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise BadInputError(f"{root}: there is no such folder")
    if (root / "metadata.json").is_file() or (root / "ground_truth.csv").is_file():
        return [check_sample(root)]
    found = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not found:
        raise BadInputError(f"{root}: holds no samples; expected folders such as sample_00000")
    checks = [check_sample(path) for path in found]
    return [_among(check, checks) for check in checks]


def check_sample(folder: str | os.PathLike[str]) -> SampleCheck:
    """Check one sample; nothing that is wrong with it raises."""
    root = Path(folder)
    problems: list[str] = []

    def tried(what: Any, *arguments: Any) -> Any:
        try:
            return what(*arguments)
        except BadInputError as error:
            problems.append(str(error).removeprefix(f"{root}{os.sep}").removeprefix(f"{root}: "))
            return None

    told: dict[str, Any] | None = tried(read_metadata, root)
    movie: NDArray[Any] | None = tried(read_pixels, root, "movie")
    if movie is None and not any("movie" in p for p in problems):
        problems.append("there is no movie.tif (nor movie.ome.zarr)")
    table: Columns | None = tried(read_columns, root / "ground_truth.csv", TRUTH_COLUMNS)
    calcium: NDArray[Any] | None = tried(read_pixels, root, "calcium")
    ignored: NDArray[np.bool_] | None = None if movie is None else tried(read_ignored, root, movie.shape)
    events: Columns | None = tried(read_events, root)
    brightness = float("nan")
    if movie is not None and told is not None:
        _check_shape(movie, calcium, told, problems)
    if table is not None and told is not None and movie is not None:
        pixel_nm = 1e3 * np.array(told["pixel_size_um"])
        y, x = table["y_nm"] / pixel_nm[0] - 0.5, table["x_nm"] / pixel_nm[1] - 0.5
        if _check_table(table, y, x, movie, problems):
            brightness = _check_light(table, y, x, movie, problems)
            if calcium is not None and calcium.shape == movie.shape:
                _check_calcium(table, y, x, calcium, ignored, problems)
            elif calcium is None and table["is_calcium_on"].any():
                problems.append("ground_truth.csv labels calcium, and there is no calcium.tif")
        if events is not None:
            _check_events(events, table, pixel_nm, float(told["frame_interval_s"]), movie, problems)
    return SampleCheck(
        name=root.name,
        shape=() if movie is None else movie.shape,
        has_calcium=calcium is not None,
        n_puncta=0 if table is None else int(np.unique(table["punctum"]).size),
        n_visible=0 if table is None else int(table["is_visible"].sum()),
        n_calcium_on=0 if table is None else int(table["is_calcium_on"].sum()),
        n_events=0 if events is None else int(events["punctum"].size),
        brightness=brightness,
        problems=tuple(problems),
    )


def _check_shape(
    movie: NDArray[Any], calcium: NDArray[Any] | None, told: dict[str, Any], problems: list[str]
) -> None:
    if movie.dtype.kind not in "uf":
        problems.append(f"movie: pixels are {movie.dtype}, expected unsigned integers")
    if not movie.size or movie.min() == movie.max():
        problems.append("movie: all pixels are the same")
    if "shape" in told and list(movie.shape) != told["shape"]:
        problems.append(f"movie is {movie.shape} (frame, y, x), and metadata.json says {tuple(told['shape'])}")
    if calcium is not None and calcium.shape != movie.shape:
        problems.append(
            f"calcium is {calcium.shape}, and the movie {movie.shape}: channels must match frame by frame"
        )


def _check_table(
    table: Columns, y: NDArray[np.float64], x: NDArray[np.float64], movie: NDArray[Any], problems: list[str]
) -> bool:
    """Check the table by itself; say whether its rows can be looked up in the movie."""
    n_frames, height, width = movie.shape
    before = len(problems)
    for name in ("x_nm", "y_nm", "photons", "background", "sigma_nm"):
        if n := int((~np.isfinite(table[name])).sum()):
            problems.append(f"ground_truth.csv: {n} values of {name} are no numbers")
    if n := int(((table["frame"] < 0) | (table["frame"] >= n_frames)).sum()):
        problems.append(
            f"ground_truth.csv: {n} rows are of frames that are not there (frames are 0 to {n_frames - 1})"
        )
    pairs = np.stack([table["frame"], table["punctum"]], axis=1)
    if (n := pairs.shape[0] - np.unique(pairs, axis=0).shape[0]) > 0:
        problems.append(f"ground_truth.csv: {n} rows tell a punctum twice in one frame")
    seen = table["is_visible"]
    outside = seen & ~((y >= -0.5) & (y < height - 0.5) & (x >= -0.5) & (x < width - 0.5))
    if outside.any():
        problems.append(
            f"ground_truth.csv: {outside.sum()} visible localizations are outside the {height} x {width} px; "
            "are positions in nm, from its corner?"
        )
    if n := int((seen & (table["photons"] <= 0)).sum()) > 0:
        problems.append(f"ground_truth.csv: {n} visible localizations have no photons")
    return len(problems) == before


def _check_light(
    table: Columns, y: NDArray[np.float64], x: NDArray[np.float64], movie: NDArray[Any], problems: list[str]
) -> float:
    """Check that places are brighter than what is around them, and that the light is centred on them."""
    n_frames, height, width = movie.shape
    # Those that stand out of the noise of their own 3 x 3 px.
    clear = table["is_visible"] & (table["photons"] > 6 * np.sqrt(9 * table["background"] + table["photons"]))
    clear &= (y >= 4) & (y < height - 5) & (x >= 4) & (x < width - 5)
    rows = np.flatnonzero(clear & np.isin(table["frame"], _some_frames(n_frames)))
    if rows.size < _FEWEST_ROWS:
        return float("nan")
    above = _rise(movie, table["frame"][rows], y[rows], x[rows])
    share = float((above > 0).mean())
    if share < _BRIGHT_FRACTION:
        other = x[rows].max() < height - 5 and y[rows].max() < width - 5
        turned = _rise(movie, table["frame"][rows], x[rows], y[rows]) if other else np.zeros(1)
        hint = (
            "are x and y exchanged?"
            if (turned > 0).mean() > share + 0.2
            else "are origin, unit and pixel size right?"
        )
        problems.append(f"only {share:.0%} of localizations are brighter than what is around them; {hint}")
        return share
    d_y, d_x = _off_centre(movie, table["frame"][rows], y[rows], x[rows])
    if np.hypot(d_y, d_x) > _OFF_CENTRE_PX:
        problems.append(
            f"the light lies ({d_y:+.2f}, {d_x:+.2f}) px (y, x) off the localizations in the mean; positions "
            "count from the corner of the image: the middle of pixel 0 is at half a pixel"
        )
    return share


def _check_calcium(
    table: Columns,
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    calcium: NDArray[Any],
    ignored: NDArray[np.bool_] | None,
    problems: list[str],
) -> None:
    """Check that calcium is higher where it is labelled on than at the same puncta while off."""
    on = table["is_calcium_on"]
    if not on.any() or on.all():
        return
    n_frames, height, width = calcium.shape
    inside = (y >= 1) & (y < height - 2) & (x >= 1) & (x < width - 2)
    inside &= np.isin(table["punctum"], np.unique(table["punctum"][on]))
    if ignored is not None:
        row, column = (np.clip(np.rint(at), 0, n - 1).astype(np.int64) for at, n in ((y, height), (x, width)))
        inside &= ~ignored[table["frame"], row, column]
    rows = np.flatnonzero(inside & np.isin(table["frame"], _some_frames(n_frames)))
    value = _rise(calcium, table["frame"][rows], y[rows], x[rows], ring=9)
    is_on = on[rows]
    if min(is_on.sum(), (~is_on).sum()) < _FEWEST_ROWS:
        return
    spread = np.sqrt(value[is_on].var() / is_on.sum() + value[~is_on].var() / (~is_on).sum())
    if value[is_on].mean() - value[~is_on].mean() < 2 * spread:
        problems.append(
            "calcium is not higher at the puncta while they are labelled on than while off: labels and puncta do "
            "not belong together (are frames, or the channels, shifted?)"
        )


def _check_events(
    events: Columns,
    table: Columns,
    pixel_nm: NDArray[np.float64],
    interval_s: float,
    movie: NDArray[Any],
    problems: list[str],
) -> None:
    n_frames = movie.shape[0]
    if n := int(((events["onset_s"] < 0) | (events["onset_s"] > n_frames * interval_s)).sum()):
        problems.append(
            f"calcium_events.csv: {n} events begin outside the {n_frames * interval_s:.4g} s of the movie"
        )
    own = events["punctum"] >= 0
    if n := int((own & ~np.isin(events["punctum"], table["punctum"])).sum()):
        problems.append(f"calcium_events.csv: {n} events are of puncta that ground_truth.csv does not have")
    place = {
        (frame, punctum): (y, x)
        for frame, punctum, y, x in zip(
            table["frame"].tolist(), table["punctum"].tolist(), table["y_nm"].tolist(), table["x_nm"].tolist()
        )
    }
    far = 0
    reach_nm = 8 * float(pixel_nm.max())
    for punctum, onset_s, y, x in zip(*(events[n][own].tolist() for n in ("punctum", "onset_s", "y_nm", "x_nm"))):
        at = place.get((min(int(onset_s / interval_s), n_frames - 1), punctum))
        far += at is None or bool(np.hypot(at[0] - y, at[1] - x) > reach_nm)
    if far:
        problems.append(f"calcium_events.csv: {far} events are not where their punctum is at that time")


def _some_frames(n_frames: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n_frames - 1, _MOST_FRAMES).round().astype(np.int64))


def _rise(
    movie: NDArray[Any], frame: NDArray[Any], y: NDArray[np.float64], x: NDArray[np.float64], ring: int = 7
) -> NDArray[np.float64]:
    """Return the mean of 3 x 3 px less that of the square ring around, at places of frames."""
    rise = np.empty(frame.size)
    row, column = np.rint(y).astype(np.int64), np.rint(x).astype(np.int64)
    for one in np.unique(frame):
        here = frame == one
        image = movie[one].astype(np.float64)
        core, wide = uniform_filter(image, 3), uniform_filter(image, ring)
        around = (wide * ring**2 - core * 9) / (ring**2 - 9)
        rise[here] = (core - around)[row[here], column[here]]
    return rise


def _off_centre(
    movie: NDArray[Any], frame: NDArray[Any], y: NDArray[np.float64], x: NDArray[np.float64]
) -> tuple[float, float]:
    """Return how far the light of the mean spot lies off its places, px (y, x).

    A plane fitted to the rim is taken off, then the centroid of 7 x 7 px; medians, as neighbours disturb.
    """
    row, column = np.rint(y).astype(np.int64), np.rint(x).astype(np.int64)
    offset = np.arange(-3, 4)
    windows = movie[frame[:, None, None], row[:, None, None] + offset[:, None], column[:, None, None] + offset]
    windows = windows.astype(np.float64)
    rim = np.ones((7, 7), bool)
    rim[1:-1, 1:-1] = False
    windows -= np.median(windows[:, rim], axis=1)[:, None, None]
    light = np.maximum(windows.sum(axis=(1, 2)), 1e-9)
    d_y = (windows * offset[:, None]).sum(axis=(1, 2)) / light - (y - row)
    d_x = (windows * offset).sum(axis=(1, 2)) / light - (x - column)
    return float(np.median(d_y)), float(np.median(d_x))


def _among(check: SampleCheck, checks: list[SampleCheck]) -> SampleCheck:
    """Return a check with what does not fit the other samples added."""
    sizes = [c.shape[1:] for c in checks if c.shape]
    channels = [c.has_calcium for c in checks if c.shape]
    more: list[str] = []
    if check.shape and check.shape[1:] != (usual := max(sizes, key=sizes.count)):
        more.append(f"frames are {check.shape[1:]} px, of most samples {usual}")
    if check.shape and check.has_calcium != max(channels, key=channels.count):
        more.append(
            "has a calcium channel, most samples have none"
            if check.has_calcium
            else "has no calcium channel, most samples have one"
        )
    if not more:
        return check
    return replace(check, problems=(*check.problems, *more))
