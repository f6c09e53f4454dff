"""A movie, streamed: frames in, tables out, on every core, and from where it was left."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.imaging import for_each_band, usable_cores
from parfocal.optics import CameraModel
from parfocal.puncta._localizations import COLUMNS, Localizations, join_localizations, no_localizations
from parfocal.puncta.detection._localize import localize
from parfocal.puncta.detection._settings import LocalizeSettings

Progress = Callable[[int, int], object]

_BLOCK_FRAMES = 32


def localize_frames(
    frames: Iterable[NDArray[Any]],
    camera_model: CameraModel,
    settings: LocalizeSettings | None = None,
    pixel_size_um: tuple[float, float] = (0.1, 0.1),
    *,
    first_frame: int = 0,
    n_threads: int | None = None,
) -> Iterator[Localizations]:
    """Yield the spots of a movie, a table for each block of frames, as the frames arrive.

    Frames are shared out over threads, whole frames each; a block is 32 of them, or the settings'
    `baseline_frames`.

    Parameters
    ----------
    frames : iterable of ndarray of shape (height, width)
        Raw ADU; an array [frame, y, x] is one.
    camera_model, settings, pixel_size_um
        As in `localize`.
    first_frame : int
        Number of the first frame.
    n_threads : int, optional
        Threads to use; all usable cores by default.

    Yields
    ------
    Localizations

    Raises
    ------
    BadInputError
        As `localize`.
    """
    how = settings or LocalizeSettings()
    has_baseline = how.baseline_frames > 1
    size = how.baseline_frames if has_baseline else _BLOCK_FRAMES
    source = iter(frames)
    number = first_frame
    while block := [np.asarray(frame) for frame in islice(source, size)]:
        yield _block(block, number, camera_model, how, pixel_size_um, has_baseline, n_threads)
        number += len(block)


def localize_movie(
    frames: Iterable[NDArray[Any]],
    camera_model: CameraModel,
    settings: LocalizeSettings | None = None,
    pixel_size_um: tuple[float, float] = (0.1, 0.1),
    *,
    n_threads: int | None = None,
    on_progress: Progress | None = None,
    journal: Path | None = None,
) -> Localizations:
    """Find the spots of a movie.

    Parameters
    ----------
    frames, camera_model, settings, pixel_size_um, n_threads
        As in `localize_frames`.
    on_progress : function of (frames done, spots so far), optional
        Called after each block.
    journal : Path, optional
        A folder, made where it is not, that takes each block's table. Called again with the same settings, camera
        and journal, what lies there is read instead of done again; remove it when the result is safe.

    Returns
    -------
    Localizations

    Raises
    ------
    BadInputError
        As `localize`, or the journal is of other settings.
    """
    how = settings or LocalizeSettings()
    parts: list[Localizations] = [no_localizations(pixel_size_um)]
    n_spots = done = 0
    source = iter(frames)
    if journal is not None:
        for part, n_frames in _read_journal(journal, _mark(camera_model, how, pixel_size_um), pixel_size_um):
            parts.append(part)
            n_spots, done = n_spots + len(part), done + n_frames
        skipped = sum(1 for _ in islice(source, done))
        if skipped < done:
            raise BadInputError(f"{journal}: tells of {done} frames, the movie has {skipped}; remove it")
        if on_progress is not None and done:
            on_progress(done, n_spots)
    has_baseline = how.baseline_frames > 1
    size = how.baseline_frames if has_baseline else _BLOCK_FRAMES
    while block := [np.asarray(frame) for frame in islice(source, size)]:
        part = _block(block, done, camera_model, how, pixel_size_um, has_baseline, n_threads)
        if journal is not None:
            _write_journal(journal, part, done, len(block))
        parts.append(part)
        n_spots, done = n_spots + len(part), done + len(block)
        if on_progress is not None:
            on_progress(done, n_spots)
    return join_localizations(parts)


def _block(
    block: list[NDArray[Any]],
    first: int,
    camera_model: CameraModel,
    how: LocalizeSettings,
    pixel_size_um: tuple[float, float],
    has_baseline: bool,
    n_threads: int | None,
) -> Localizations:
    shapes = {frame.shape for frame in block}
    if len(shapes) != 1:
        raise BadInputError(f"localize: frames {first} to {first + len(block) - 1} have shapes {sorted(shapes)}")
    found: list[Localizations] = [no_localizations(pixel_size_um)] * len(block)
    baseline = _median_of(block, camera_model) if has_baseline else None
    threads = min(len(block), usable_cores() if n_threads is None else n_threads)

    def work(k: int) -> None:
        found[k] = localize(
            block[k],
            camera_model,
            how,
            pixel_size_um,
            first + k,
            baseline_e=baseline,
            n_threads=1 if len(block) > 1 else n_threads,
        )

    for_each_band(work, len(block), threads)
    return join_localizations(found)


def _median_of(block: list[NDArray[Any]], camera_model: CameraModel) -> NDArray[np.float32]:
    """Return the block's median in photoelectrons; a median of raw ADU first, as the camera's map is linear."""
    middle = np.median(np.stack(block), axis=0)
    return np.maximum(camera_model.to_electrons(middle), np.float32(0))


def _mark(camera_model: CameraModel, how: LocalizeSettings, pixel_size_um: tuple[float, float]) -> str:
    digest = hashlib.sha256(repr((replace(how, defocus_model=None), pixel_size_um)).encode())
    if how.defocus_model is not None:
        digest.update(how.defocus_model.coefficients().tobytes())
    for value in (
        camera_model.em_gain,
        camera_model.offset_adu,
        camera_model.gain_adu_per_e,
        camera_model.read_noise_e,
        camera_model.saturation_adu,
    ):
        digest.update(np.ascontiguousarray(value, dtype=np.float64).tobytes())
    return digest.hexdigest()


def _write_journal(journal: Path, part: Localizations, first: int, n_frames: int) -> None:
    with write_atomically(journal / f"frames-{first:09d}-{n_frames}.npz") as temporary:
        np.savez(temporary, allow_pickle=False, **part.columns())


def _read_journal(
    journal: Path, mark: str, pixel_size_um: tuple[float, float]
) -> Iterator[tuple[Localizations, int]]:
    """Yield what lies in a journal up to the first gap, and of how many frames; make it where it is not."""
    journal.mkdir(exist_ok=True)
    signature = journal / "settings.txt"
    if not signature.is_file():
        if any(journal.iterdir()):
            raise BadInputError(f"{journal}: holds other files; name an empty or a new folder")
        with write_atomically(signature) as temporary:
            temporary.write_text(mark + "\n", encoding="utf-8")
        return
    if signature.read_text(encoding="utf-8").strip() != mark:
        raise BadInputError(f"{journal}: was begun with other settings; remove it to begin anew")
    done = 0
    for path in sorted(journal.glob("frames-*.npz")):
        _, first, count = path.stem.split("-")
        if int(first) != done:
            return
        with np.load(path, allow_pickle=False) as columns:
            yield Localizations(pixel_size_um, **{name: columns[name] for name in COLUMNS}), int(count)
        done += int(count)
