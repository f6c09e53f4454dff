"""Of `puncta`, recordings of others: where they lie, and what other programs make of the same pixels.

A peer's spots come as `Localizations` whose `photons` are its own measure of a spot (picasso's net gradient,
trackpy's mass): good for ranking its spots, not for comparing one program's with another's.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from parfocal.bench._peers import Peer
from parfocal.optics import CameraModel
from parfocal.puncta import Localizations, PunctaTracks

DATA_VARIABLE = "PARFOCAL_PUNCTA_DATA"
"""Environment variable that names the folder of recorded puncta; beads and calcium lie beside it."""


def data_folder() -> Path:
    """Return the folder of recorded puncta: `$PARFOCAL_PUNCTA_DATA`, else `../shared/data/D_puncta`."""
    told = os.environ.get(DATA_VARIABLE)
    return Path(told) if told else Path("..", "shared", "data", "D_puncta")


def recording_of_others(name: str, what: str, folder: str | None = None) -> Path | None:
    """Return the file, or None once it was said that it is not there.

    Parameters
    ----------
    name : str
    what : str
        The rows that are left out without it.
    folder : str, optional
        Beside that of puncta; it itself by default.
    """
    path = (data_folder() if folder is None else data_folder().parent / folder) / name
    if path.is_file():
        return path
    Console(stderr=True).print(f"{what} left out: {path} is not there", markup=False)
    return None


def show_table(title: str, names: tuple[str, ...], rows: Mapping[str, tuple[str, ...]]) -> None:
    """Print figures of several programs on stderr, a row each."""
    table = Table(title=title, box=None, header_style="bold")
    table.add_column("")
    for name in names:  # on a narrow terminal it is the programs' names that are folded
        table.add_column(
            name, justify="right", min_width=max(len(cells[names.index(name)]) for cells in rows.values())
        )
    for name, cells in rows.items():
        table.add_row(name, *cells)
    Console(stderr=True).print(table)


def brightest(spots: Localizations, n: int) -> Localizations:
    """Return the `n` spots of the most photons (of a peer: of its own measure), in their order."""
    order = np.argsort(-spots.photons, kind="stable")[:n]
    return spots.take(np.sort(order))


class OtherPrograms:
    """Picasso, trackpy and LapTrack, each started when it is first asked and running until all are ended.

    What they compile when they start takes longer than what they are asked, so that all rows share them.
    """

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self._folder = folder
        self._running = running

    @cached_property
    def _picasso(self) -> Peer:
        return self._running.enter_context(Peer("picasso_localize"))

    @cached_property
    def _trackpy(self) -> Peer:
        return self._running.enter_context(Peer("trackpy_locate"))

    @cached_property
    def _linkers(self) -> Peer:
        return self._running.enter_context(Peer("puncta_tracks"))

    @property
    def finder_names(self) -> tuple[str, str]:
        """Who finds spots, with versions: picasso, trackpy."""
        return self._picasso.name, self._trackpy.name

    @property
    def linker_names(self) -> dict[str, str]:
        """Who links, with versions, by `laptrack` and `trackpy`."""
        return {name: f"{name} {number}" for name, number in self._linkers.versions.items()}

    def found_by_picasso(
        self,
        movie: NDArray[Any],
        camera: CameraModel,
        pixel_size_um: tuple[float, float],
        *,
        box: int,
        gradient: float,
    ) -> Localizations:
        """Return what picasso identifies above a net gradient and fits (round spots, maximum likelihood)."""
        scale = 1 / float(np.mean(camera.gain_adu_per_e))
        told = {"box": box, "gradient": gradient, "offset": float(np.mean(camera.offset_adu)), "e_per_adu": scale}
        return self._found(self._picasso, movie, pixel_size_um, told)

    def found_by_trackpy(
        self, movie: NDArray[Any], pixel_size_um: tuple[float, float], *, diameter: int, minmass: float
    ) -> Localizations:
        """Return what trackpy locates."""
        return self._found(self._trackpy, movie, pixel_size_um, {"diameter": diameter, "minmass": minmass})

    def linked_by_laptrack(
        self, spots: Localizations, max_step_px: float, max_missing: int, min_frames: int
    ) -> PunctaTracks:
        """Return LapTrack's tracks without splits and merges, those of fewer points taken off."""
        told = {"max_distance": max_step_px, "max_missing_frames": max_missing, "branches": False}
        return self._linked("laptrack", spots, told, min_frames)

    def linked_by_trackpy(
        self, spots: Localizations, max_step_px: float, max_missing: int, min_frames: int
    ) -> PunctaTracks:
        """Return trackpy's tracks, those of fewer points taken off."""
        told = {"max_distance": max_step_px, "max_missing_frames": max_missing}
        return self._linked("trackpy_link", spots, told, min_frames)

    def exponents_by_trackpy(
        self, spots: Localizations, max_step_px: float, max_missing: int, min_frames: int
    ) -> NDArray[np.float64]:
        """Return the exponent over lags 1 to 10 that trackpy finds for each of its tracks."""
        told = {"max_distance": max_step_px, "max_missing_frames": max_missing, "min_frames": min_frames}
        answer = self._linkers.call("trackpy_exponents", path=self._stored(spots), max_lag=10, **told)
        return np.array(answer["exponents"], np.float64)

    def _found(
        self, peer: Peer, movie: NDArray[Any], pixel_size_um: tuple[float, float], told: dict[str, Any]
    ) -> Localizations:
        path, out = self._folder / "movie.npy", self._folder / "found.npy"
        np.save(path, movie)
        peer.call("find", path=str(path), out=str(out), **told)
        rows = np.load(out)
        return Localizations(pixel_size_um, rows[:, 0].astype(np.int64), rows[:, 1], rows[:, 2], rows[:, 3])

    def _linked(self, function: str, spots: Localizations, told: dict[str, Any], min_frames: int) -> PunctaTracks:
        answer = self._linkers.call(function, path=self._stored(spots), **told)
        return long_tracks(np.array(answer["track"], np.int64), min_frames)

    def _stored(self, spots: Localizations) -> str:
        path = self._folder / "points.npz"
        np.savez(path, frame=spots.frame, y=spots.y_px, x=spots.x_px)
        return str(path)


@contextmanager
def other_programs() -> Generator[OtherPrograms]:
    """Yield the other programs; whichever was asked is ended."""
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-") as folder, ExitStack() as running:
        yield OtherPrograms(Path(folder), running)


def long_tracks(track: NDArray[np.int64], min_points: int) -> PunctaTracks:
    """Return tracks of at least so many points, numbered anew; the points of others are of none."""
    names, of_point, n_points = np.unique(track, return_inverse=True, return_counts=True)
    kept = (n_points >= min_points) & (names >= 0)
    number = np.where(kept, np.cumsum(kept) - 1, -1)
    return PunctaTracks(number[of_point].astype(np.int64), np.empty((0, 2), np.int64), int(kept.sum()))
