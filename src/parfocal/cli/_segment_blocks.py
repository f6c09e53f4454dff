"""`parfocal segment --scheduler`: a volume larger than memory, block by block, here or on a cluster's workers."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from parfocal import __version__
from parfocal.cli._progress import progress
from parfocal.cli._segment_folder import in_words, tell, whole_folder, write_objects, write_summary
from parfocal.errors import BadInputError
from parfocal.files import write_ome_zarr

if TYPE_CHECKING:
    from parfocal.segmentation.volumes import BlockSettings, GivenVolume

VoxelSize = tuple[float, float, float]

_PLANES_AT_ONCE = 16


@dataclass(frozen=True)
class _Given:
    """What is segmented: channels that are read part by part, and the file that workers open."""

    name: str
    source: Any
    images: Mapping[str, Any]
    nuclei: str
    voxel_size_um: VoxelSize
    warnings: tuple[str, ...]
    asked: Mapping[str, Any]


def segment_in_blocks(
    file: str,
    target: Path,
    open_whole: Callable[[], GivenVolume],
    *,
    scheduler: str,
    voxel_size_um: VoxelSize | None,
    diameter_um: float | None,
    offset: float,
    weights: str | os.PathLike[str] | Any,
    settings: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Segment a volume of which no process has more than a part in memory, and make the folder of it.

    Parameters
    ----------
    open_whole : callable
        Reads the file where it is neither Zarr nor `.npy`; it lies beside the result then, as OME-Zarr, meanwhile.
    scheduler : str
        `threads`, `synchronous`, or the address of a Dask scheduler; what is found is the same.
    settings : mapping
        `block_px`, `halo_px`: how the volume is cut. `n_workers`: threads.

    Raises
    ------
    BadInputError
        There is no such setting; or see `segment_tiled`.
    """
    from parfocal.report import write_segmentation_page
    from parfocal.segmentation import Segmentation
    from parfocal.segmentation.backends import measure_in_parts
    from parfocal.segmentation.volumes import open_source, segment_tiled

    blocks, n_workers = _settings(settings)
    # Blocks lie beside it until all is done, where another attempt takes them up.
    labels_path = target.parent / f".{target.name}.labels.ome.zarr"
    with progress(as_json) as said, whole_folder(target) as folder:
        raw = folder / "raw.ome.zarr"
        given = _in_parts(file, voxel_size_um) or _from_whole(open_whole(), raw)
        said("segmenting")
        began = time.monotonic()
        found = segment_tiled(
            given.source,
            labels_path,
            weights,
            given.voxel_size_um,
            diameter_um=diameter_um,
            blocks=blocks,
            scheduler=scheduler,
            n_workers=n_workers,
            on_progress=lambda done, n: said("segmenting", f"{done} of {n} blocks"),
            overwrite=True,
            keep_blocks=True,
        )
        labels_path.rename(folder / "labels.ome.zarr")
        seconds = time.monotonic() - began
        said("measuring")
        labels = open_source(folder / "labels.ome.zarr")
        objects = measure_in_parts(labels, given.images, given.voxel_size_um, offset=offset)
        said("writing")
        taken_up = [f"{found.n_taken_up} of them were there from before"] if found.n_taken_up else []
        facts: dict[str, Any] = {
            "source": given.name,
            "backend": "unet3d",
            "model_hash": found.model_hash,
            "restoration": "none",
            "restoration_record": None,
            "linked": True,
            "voxel_size_um": list(given.voxel_size_um),
            "shape": list(labels.shape),
            "n_objects": len(objects),
            "blocks": found.n_blocks,
            "seconds": round(seconds, 3),
            "remarks": [f"in {found.n_blocks} blocks", *taken_up, *given.warnings],
            "parfocal": __version__,
        }
        title = f"{Path(given.name).name}: {len(objects)} nuclei by unet3d"
        digest, picture = _looked_through(folder / "picture.png", labels, given, title)
        write_objects(folder, objects.columns())
        asked = {"labels_sha256": digest, "channels": list(given.images), "asked": dict(given.asked)}
        write_summary(folder, {**facts, **asked})
        # The page asks a segmentation for its backend, remarks and links alone.
        about = Segmentation(
            np.zeros((0, 0, 0), np.int32), given.voxel_size_um, "unet3d", remarks=tuple(facts["remarks"])
        )
        write_segmentation_page(
            folder / "summary.html", about, objects, in_words(facts), picture, time_s=time.time()
        )
        shutil.rmtree(raw, ignore_errors=True)
    shutil.rmtree(found.blocks_path, ignore_errors=True)
    tell(facts, target, as_json=as_json)


def _settings(told: Mapping[str, Any]) -> tuple[BlockSettings, int]:
    from parfocal.segmentation.volumes import BlockSettings

    known = [*(one.name for one in fields(BlockSettings)), "n_workers"]
    if strange := sorted(set(told) - set(known)):
        raise BadInputError(f"--option {strange[0]}: blocks have {', '.join(known)}")
    given: dict[str, Any] = {
        name: tuple(cast("list[Any]", value)) if isinstance(value, list) else value for name, value in told.items()
    }
    n_workers = given.pop("n_workers", 2)
    try:
        return BlockSettings(**given), int(n_workers)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"--option: {error}; expected such as block_px=[64,256,256] and halo_px=30") from error


def _in_parts(file: str, voxel_size_um: VoxelSize | None) -> _Given | None:
    """Return a volume that workers can open as it is; None where it is of another kind."""
    from parfocal.segmentation.volumes import open_source, size_contradicted

    path = Path(file).expanduser()
    if path.suffix != ".npy" and not any((path / name).is_file() for name in ("zarr.json", ".zattrs", ".zarray")):
        return None
    source = open_source(path)
    size = voxel_size_um or source.voxel_size_um
    if size is None:
        raise BadInputError(f"{file}: says nothing of its voxel size; say it, such as --voxel-size 2,0.5,0.5")
    remarks = size_contradicted(voxel_size_um, source.voxel_size_um or (None, None, None))
    return _Given(file, source, {"0": source}, "0", size, remarks, {"axes": None, "at": [], "channel": 0})


def _from_whole(given: GivenVolume, raw: Path) -> _Given:
    """Return a volume that was read whole; its nuclei lie in `raw`, where workers can open them."""
    write_ome_zarr(raw, given.images[given.nuclei], given.voxel_size_um)
    rest = (given.images, given.nuclei, given.voxel_size_um, given.warnings, given.asked)
    return _Given(given.source, raw, *rest)


def _looked_through(path: Path, labels: Any, given: _Given, title: str) -> tuple[str, Path]:
    """Draw the volume, some planes in memory at a time; return the hash of all labels, and the picture."""
    from parfocal.report import Projection, draw_projections

    image = given.images[given.nuclei]
    digest = hashlib.sha256()
    above: list[Any] = []
    aside: list[Any] = []
    for z in range(0, labels.shape[0], _PLANES_AT_ONCE):
        part = (slice(z, min(z + _PLANES_AT_ONCE, labels.shape[0])), slice(None), slice(None))
        pixels, ids = np.asarray(image[part]), np.ascontiguousarray(labels[part], np.int32)
        digest.update(ids.tobytes())
        tops = [pixels.max(axis=0), ids.max(axis=0)]
        above = [np.maximum(a, b) for a, b in zip(above, tops)] if above else tops
        aside.append((pixels.max(axis=1), ids.max(axis=1)))
    along_y = Projection(*(np.concatenate(parts) for parts in zip(*aside)))
    return digest.hexdigest(), draw_projections(path, Projection(*above), along_y, given.voxel_size_um, title)
