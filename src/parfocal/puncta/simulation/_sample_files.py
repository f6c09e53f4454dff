"""A recording as a folder: movie and calcium as TIFF and OME-Zarr, truth as CSV, the rest as metadata.json."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import tifffile
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import open_stack, read_ome_zarr, write_atomically, writing_ome_zarr
from parfocal.optics import CameraModel
from parfocal.puncta.simulation._sample_table import (
    EVENT_COLUMNS,
    TRUTH_COLUMNS,
    Columns,
    event_columns,
    read_columns,
    truth_columns,
    truth_of,
    write_columns,
)
from parfocal.puncta.simulation._scene_json import scene_json, scene_of
from parfocal.puncta.simulation._simulate import PunctaRecording, PunctaSimulation

FORMAT = "parfocal-puncta-sample"
_VERSION = 1
_IMAGEJ_BYTES = 2**32 - 2**20
_CAMERA = ("offset_adu", "gain_adu_per_e", "read_noise_e", "saturation_adu", "dark_current_e_per_s", "em_gain")


def sample_name(number: int) -> str:
    """Return what the folder of a sample is called, such as `sample_00007`."""
    return f"sample_{number:05d}"


def write_sample(
    folder: str | os.PathLike[str],
    recording: PunctaRecording | PunctaSimulation,
    *,
    ome_zarr: bool = False,
    overwrite: bool = False,
    on_frame: Callable[[], None] | None = None,
) -> Path:
    """Write a recording, or what a simulation yields frame by frame, into a folder that appears when it is whole.

    `movie.tif` and, with a second channel, `calcium.tif` are ImageJ stacks of uint16 (tifffile's own beyond 4 GB)
    with the pixel size and the frame interval; `ground_truth.csv` has a row a punctum and frame,
    `calcium_events.csv` a row an event: x and y in nm from the image's upper left corner (the middle of pixel 0
    is half a pixel), frames from 0. `ignored.tif`, of a recording that has it, is 1 where calcium is not to be
    learnt. `metadata.json` has the scene, the camera, merges and splits, waves, drift.

    Parameters
    ----------
    folder : path
        To make; its parent must exist.
    recording : PunctaRecording or PunctaSimulation
    ome_zarr : bool
        Write `movie.ome.zarr` and `calcium.ome.zarr` too (t, y, x).
    overwrite : bool
    on_frame : callable, optional
        Called after every frame that was read from the recording.

    Raises
    ------
    BadInputError
        The folder is there already, or its parent is not.
    """
    with _whole_folder(Path(folder), overwrite) as temporary:
        channels = {"movie": False, "calcium": True}
        if (recording.scene is None or recording.scene.calcium is None) and _calcium_of(recording) is None:
            del channels["calcium"]
        shape, pixel, interval_s = _facts(recording)
        for name, is_calcium in channels.items():
            _write_tiff(
                temporary / f"{name}.tif", _frames(recording, is_calcium, on_frame), shape, pixel, interval_s
            )
        if ome_zarr:
            for name in channels:
                _write_zarr(temporary / f"{name}.ome.zarr", temporary / f"{name}.tif", shape, pixel, interval_s)
        if isinstance(recording, PunctaRecording) and recording.is_ignored is not None:
            marks = iter(recording.is_ignored.astype(np.uint16))
            _write_tiff(temporary / "ignored.tif", marks, shape, pixel, interval_s)
        truth = recording.truth
        write_columns(temporary / "ground_truth.csv", truth_columns(truth))
        if truth.event_onset_s.size or "calcium" in channels:
            write_columns(temporary / "calcium_events.csv", event_columns(truth))
        with write_atomically(temporary / "metadata.json") as path:
            path.write_text(json.dumps(_metadata(recording, shape), indent=1) + "\n", encoding="utf-8")
    return Path(folder)


def read_sample(folder: str | os.PathLike[str]) -> PunctaRecording:
    """Read a recording back: `write_sample`'s, or another's in the same layout.

    Of another's, `metadata.json` must have `pixel_size_um` (y, x) and `frame_interval_s`, and may have `camera`;
    `calcium_events.csv`, `ignored.tif` and the second channel may be missing. Pixels come from TIFF, else from
    OME-Zarr.

    Raises
    ------
    BadInputError
        A file is missing or does not hold what it should.
    """
    root = Path(folder)
    told = read_metadata(root)
    pixel, interval_s = told["pixel_size_um"], told["frame_interval_s"]
    scene = scene_of(told["scene"], f"{root / 'metadata.json'}: scene") if told.get("scene") else None
    movie = read_pixels(root, "movie")
    if movie is None:
        raise BadInputError(f"{root}: there is no movie.tif")
    table = read_columns(root / "ground_truth.csv", TRUTH_COLUMNS)
    drift = np.array(told.get("drift_y_x_px") or [[0.0] * movie.shape[0]] * 2, dtype=np.float64)
    truth = truth_of(
        table,
        read_events(root),
        pixel,
        interval_s,
        np.array(told.get("parents", []), np.int64).reshape(-1, 2),
        np.array(told.get("wave_onset_s", []), np.float64),
        drift,
    )
    models = (_camera_of(told, root), _camera_of(told, root))
    if scene is not None:
        # Maps of the camera are not kept in the folder: they follow from the seed.
        simulation = PunctaSimulation(scene)
        models = (simulation.camera_model, simulation.calcium_camera_model)
    return PunctaRecording(
        movie, read_pixels(root, "calcium"), truth, *models, scene, read_ignored(root, movie.shape)
    )


def read_metadata(root: Path) -> dict[str, Any]:
    """Read `metadata.json`, its `pixel_size_um` and `frame_interval_s` checked."""
    path = root / "metadata.json"
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInputError(f"{root}: there is no metadata.json") from None
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(told, dict):
        raise BadInputError(f"{path}: expected a JSON object")
    known = cast(dict[str, Any], told)
    version = known.get("version", _VERSION)
    if not isinstance(version, int) or version > _VERSION:
        raise BadInputError(f"{path}: is of version {version}, expected {_VERSION} or older")
    size: Any = known.get("pixel_size_um")
    numbers = cast(list[Any], size) if isinstance(size, list) else []
    if len(numbers) != 2 or not all(_is_positive(p) for p in numbers):
        raise BadInputError(f"{path}: pixel_size_um is {size!r}, expected two positive numbers [y, x]")
    if not _is_positive(known.get("frame_interval_s")):
        raise BadInputError(f"{path}: frame_interval_s is {known.get('frame_interval_s')!r}, expected seconds")
    return {**known, "pixel_size_um": (float(numbers[0]), float(numbers[1]))}


def read_pixels(root: Path, name: str) -> NDArray[Any] | None:
    """Return the frames of a channel, `[frame, y, x]`; None where the sample has none."""
    tiff, zarr = root / f"{name}.tif", root / f"{name}.ome.zarr"
    if tiff.is_file():
        try:
            stack = open_stack(tiff, "TYX")  # programs call frames z, channels, or nothing
        except BadInputError:
            stack = open_stack(tiff)
            if stack.axes != "YX":
                raise
        return stack.read().reshape(-1, *stack.shape[-2:])
    if zarr.is_dir():
        return read_ome_zarr(zarr, axes="tyx")[0]
    return None


def read_ignored(root: Path, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Return where calcium is not to be learnt, `[frame, y, x]`; None where the sample says nothing of it."""
    marks = read_pixels(root, "ignored")
    if marks is None:
        return None
    if marks.shape != shape:
        raise BadInputError(
            f"{root / 'ignored.tif'}: is {marks.shape} (frame, y, x), expected the movie's {shape}"
        )
    return marks > 0


def read_events(root: Path) -> Columns:
    """Return the calcium events of a sample; none where there is no such file."""
    path = root / "calcium_events.csv"
    if path.is_file():
        return read_columns(path, EVENT_COLUMNS)
    return {n: np.empty(0, np.int64 if n == "punctum" else np.float64) for n in EVENT_COLUMNS}


def _frames(
    recording: PunctaRecording | PunctaSimulation, is_calcium: bool, on_frame: Callable[[], None] | None
) -> Iterator[NDArray[np.uint16]]:
    if isinstance(recording, PunctaSimulation):
        make = recording.calcium_frame if is_calcium else recording.frame
        frames = (make(index) for index in range(recording.scene.n_frames))
    else:
        held = recording.calcium if is_calcium else recording.movie
        frames = iter(cast(NDArray[np.uint16], held))
    for frame in frames:
        yield frame
        if on_frame is not None:
            on_frame()


def _calcium_of(recording: PunctaRecording | PunctaSimulation) -> NDArray[np.uint16] | None:
    return recording.calcium if isinstance(recording, PunctaRecording) else None


def _facts(
    recording: PunctaRecording | PunctaSimulation,
) -> tuple[tuple[int, int, int], tuple[float, float], float]:
    if isinstance(recording, PunctaSimulation):
        scene = recording.scene
        return (scene.n_frames, *scene.shape_px), scene.pixel_size_um, scene.frame_interval_s
    n, height, width = recording.movie.shape
    return (n, height, width), recording.truth.pixel_size_um, recording.truth.frame_interval_s


def _write_tiff(
    path: Path,
    frames: Iterator[NDArray[np.uint16]],
    shape: tuple[int, int, int],
    pixel_size_um: tuple[float, float],
    interval_s: float,
) -> None:
    for_imagej = math.prod(shape) * 2 < _IMAGEJ_BYTES
    metadata: dict[str, Any] = {"axes": "TYX"}
    if for_imagej:
        metadata |= {"unit": "um", "finterval": interval_s, "fps": 1 / interval_s}
    else:
        metadata |= {"frame_s": interval_s, "pixel_nm": pixel_size_um[1] * 1e3}
    tifffile.imwrite(
        path,
        frames,
        shape=shape,
        dtype=np.uint16,
        imagej=for_imagej,
        bigtiff=not for_imagej,
        photometric="minisblack",
        resolution=(1 / pixel_size_um[1], 1 / pixel_size_um[0]),
        metadata=metadata,
    )


def _write_zarr(
    path: Path, tiff: Path, shape: tuple[int, int, int], pixel: tuple[float, float], interval_s: float
) -> None:
    with writing_ome_zarr(path, shape, np.uint16, (interval_s, *pixel), axes="tyx") as writer:
        step = writer.chunk_planes
        stack = open_stack(tiff)
        planes = iter(stack.read_planes([(t,) for t in range(shape[0])] if len(stack.shape) == 3 else [()]))
        for start in range(0, shape[0], step):
            block = [next(planes) for _ in range(min(step, shape[0] - start))]
            writer.write(start, np.stack(block).astype(np.uint16, copy=False))


def _metadata(recording: PunctaRecording | PunctaSimulation, shape: tuple[int, int, int]) -> dict[str, Any]:
    truth, scene = recording.truth, recording.scene
    model = recording.camera_model
    drifts = bool(np.any(truth.drift_y_px) or np.any(truth.drift_x_px))
    return {
        "format": FORMAT,
        "version": _VERSION,
        "is_simulated": scene is not None,
        "shape": list(shape),
        "pixel_size_um": list(truth.pixel_size_um),
        "frame_interval_s": truth.frame_interval_s,
        "positions": "nm from the corner of the image: the middle of pixel 0 is at half a pixel; frames from 0",
        # Of maps, the means: who needs the maps makes them again from the scene.
        "camera": {name: float(np.mean(getattr(model, name))) for name in _CAMERA},
        "parents": truth.parents.tolist(),
        "wave_onset_s": truth.wave_onset_s.tolist(),
        "drift_y_x_px": [truth.drift_y_px.tolist(), truth.drift_x_px.tolist()] if drifts else None,
        "scene": None if scene is None else scene_json(scene),
    }


def _camera_of(told: Mapping[str, Any], root: Path) -> CameraModel:
    camera: Any = told.get("camera") or {}
    if not isinstance(camera, dict) or not all(_is_number(v) for v in cast(dict[str, Any], camera).values()):
        raise BadInputError(f"{root / 'metadata.json'}: camera is {camera!r}, expected numbers by name")
    known = cast(dict[str, float], camera)
    if unknown := [name for name in known if name not in _CAMERA]:
        raise BadInputError(f"{root / 'metadata.json'}: camera has {unknown[0]}, expected {', '.join(_CAMERA)}")
    return CameraModel(**known)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


@contextmanager
def _whole_folder(target: Path, overwrite: bool) -> Generator[Path, None, None]:
    if not target.parent.is_dir():
        raise BadInputError(f"{target}: cannot be written, there is no folder {target.parent}")
    if target.exists() and not overwrite:
        raise BadInputError(f"{target}: exists already; name a new folder")
    mark = secrets.token_hex(6)
    temporary, old = (target.parent / f".{target.name}.{mark}{end}" for end in (".new", ".old"))
    temporary.mkdir()
    try:
        yield temporary
        # The old folder is moved aside first: one that is not empty cannot be replaced in one step.
        if target.exists():
            target.rename(old)
        temporary.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
