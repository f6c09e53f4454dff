"""Volumes larger than memory: block by block, taken up again where a run was cut off."""

from __future__ import annotations

import json
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import write_atomically, writing_ome_zarr
from parfocal.segmentation.flows import DroppedObject, MaskSettings
from parfocal.segmentation.networks import (
    NucleiNet,
    TileMemory,
    TileSettings,
    as_net,
    estimate_diameter_um,
    grid_for,
    open_net,
    pixel_range,
)
from parfocal.segmentation.volumes._block import is_whole, led_back, read_block, segment_block
from parfocal.segmentation.volumes._cluster import blocks_on_workers
from parfocal.segmentation.volumes._merge import Merged, merge_blocks
from parfocal.segmentation.volumes._plan import BlockSettings, TiledPlan, plan_settings
from parfocal.segmentation.volumes._source import Source, open_source

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class TiledSegmentation:
    """Labels on disk, and what was found.

    Parameters
    ----------
    path : Path
        An OME-Zarr of int32 labels at the volume's own voxels: 0 is background, ids 1 to `n_objects`.
    n_objects : int
    voxel_size_um : (float, float, float)
    diameter_um : float, optional
        As told or estimated.
    model_hash : str, optional
    flow_error, contrast : float32[n_objects]
        Of each object, see `FoundMasks`.
    dropped : tuple of DroppedObject
        What was found and not kept; centres and volumes at the size that the network knows.
    n_blocks, n_taken_up : int
        Blocks in all, and those that an earlier run had left on disk.
    blocks_path : Path
        Where blocks were, and are where they were to be kept.
    """

    path: Path
    n_objects: int
    voxel_size_um: tuple[float, float, float]
    diameter_um: float | None
    model_hash: str | None
    flow_error: NDArray[np.float32]
    contrast: NDArray[np.float32]
    dropped: tuple[DroppedObject, ...]
    n_blocks: int
    n_taken_up: int
    blocks_path: Path


def segment_tiled(
    volume: str | os.PathLike[str] | Any,
    out: str | os.PathLike[str],
    net: str | os.PathLike[str] | NucleiNet | Any = "nuclei3d",
    voxel_size_um: tuple[float, float, float] | None = None,
    *,
    diameter_um: float | None = None,
    masks: MaskSettings | None = None,
    tiles: TileSettings | None = None,
    blocks: BlockSettings | None = None,
    scheduler: str | Any = "threads",
    n_workers: int = 2,
    on_progress: Progress | None = None,
    overwrite: bool = False,
    keep_blocks: bool = False,
) -> TiledSegmentation:
    """Segment a volume that need not fit into memory.

    The volume is cut into blocks that overlap. Each is read, resampled to the size that the network knows,
    segmented and put on disk beside `out`; a run that was cut off is taken up there, by the same call. Then
    objects that two blocks both see are merged, filters are applied to whole objects, and the labels are led back
    to the volume's voxels.

    Parameters
    ----------
    volume : path or array-like
        OME-Zarr, Zarr array or `.npy`, or anything with `shape`, `dtype` and slicing `(z, y, x)`.
    out : path
        The OME-Zarr of labels to make; its folder must exist.
    net : NucleiNet, or path or name of weights
        A network of volumes.
    voxel_size_um : (float, float, float), optional
        z, y, x; as the volume's own metadata says where not told.
    diameter_um : float, optional
        Of the nuclei; estimated from a part of the volume where not told.
    masks, tiles, blocks : settings, optional
    scheduler : {"threads", "synchronous"}, address or dask.distributed.Client
        An address (`tcp://...`) is of a Dask scheduler. Each worker opens the volume by its path, finds the
        network beside `out`, where its weights are put as they are asked (adapters merged), and writes blocks
        there: volume and `out` lie on a disk that all share. A block whose worker dies is done by another.
    n_workers : int
        Threads: each needs memory for a block (about 0.5 GB for the default).
    on_progress : callable, optional
        Told how many blocks of how many are done.
    overwrite : bool
        Replace what is at `out`.
    keep_blocks : bool
        Leave the blocks on disk, for whoever has more to do before the result is safe: the same call then merges
        them again, in a fraction of the time. To be removed by the caller.

    Raises
    ------
    BadInputError
        No such volume or weights, no voxel size, a network of planes, `out` exists; of a cluster: no scheduler
        answers, a worker does not see the files, or the volume is only in this process's memory.
    """
    source = open_source(volume)
    ready = _net(net)
    target = Path(out)
    size = voxel_size_um or source.voxel_size_um
    if size is None:
        raise BadInputError(f"{source.path or 'volume'}: says nothing of its voxel size; give voxel_size_um")
    if ready.dims != 3:
        raise BadInputError(f"network {ready.name or ''}: is of {ready.dims} axes, expected one of volumes")
    if target.exists() and not overwrite:
        raise BadInputError(f"{target}: exists already; name a new folder")
    plan = _plan(source, ready, size, diameter_um, masks, tiles, blocks)
    folder = _parts(target, plan)
    todo = [b for b in range(plan.n_blocks) if not is_whole(folder, b)]
    taken_up = plan.n_blocks - len(todo)
    done = taken_up
    if on_progress is not None:
        on_progress(done, plan.n_blocks)
    try:
        for _ in _run(plan, todo, source, ready, folder, scheduler, n_workers):
            done += 1
            if on_progress is not None:
                on_progress(done, plan.n_blocks)
    finally:
        if not any(is_whole(folder, b) for b in range(plan.n_blocks)):  # there is nothing to take up
            shutil.rmtree(folder, ignore_errors=True)
    merged = merge_blocks(plan, folder)
    _write(target, plan, merged, folder, overwrite)
    if not keep_blocks:
        shutil.rmtree(folder, ignore_errors=True)
    return TiledSegmentation(
        target,
        merged.n_objects,
        plan.voxel_size_um,
        plan.diameter_um,
        ready.model_hash,
        merged.scores.flow_error,
        merged.scores.contrast,
        merged.dropped,
        plan.n_blocks,
        taken_up,
        folder,
    )


def _net(net: Any) -> NucleiNet:
    if isinstance(net, NucleiNet):
        return net
    return open_net(net) if isinstance(net, (str, os.PathLike)) else as_net(net)


def _plan(
    source: Source,
    net: NucleiNet,
    voxel_size_um: tuple[float, float, float],
    diameter_um: float | None,
    masks: MaskSettings | None,
    tiles: TileSettings | None,
    blocks: BlockSettings | None,
) -> TiledPlan:
    tiles, blocks = tiles or TileSettings(), blocks or BlockSettings()
    sampled = source.sampled()
    scale = pixel_range(sampled)
    if diameter_um is None:
        diameter_um = estimate_diameter_um(net, source, voxel_size_um, scale, tiles)  # type: ignore[arg-type]
    grid = grid_for(net, source.shape, voxel_size_um, diameter_um)
    settings = masks or MaskSettings()
    if settings.diameter_px is None:
        diameter_px = None if diameter_um is None else diameter_um * grid.zoom[-1] / voxel_size_um[-1]
        settings = replace(settings, diameter_px=diameter_px)
    halo = round(2 * (settings.diameter_px or net.diameter_px)) if blocks.halo_px is None else blocks.halo_px
    size = (float(voxel_size_um[0]), float(voxel_size_um[1]), float(voxel_size_um[2]))
    content = zlib.crc32(np.ascontiguousarray(sampled).tobytes())
    model = net.model_hash or _hash_of(net)
    return TiledPlan(grid, scale, content, blocks.block_px, halo, settings, tiles, model, diameter_um, size)


def _hash_of(net: NucleiNet) -> str:
    """Return what tells a network that came without a card from others."""
    crc = 0
    for name, tensor in net.module.state_dict().items():
        crc = zlib.crc32(tensor.detach().cpu().numpy().tobytes(), zlib.crc32(name.encode(), crc))
    return f"{type(net.module).__name__}-{crc:08x}"


def _parts(target: Path, plan: TiledPlan) -> Path:
    """Return the folder of blocks beside `target`: as a like run left it, else empty."""
    if not target.parent.is_dir():
        raise BadInputError(f"{target}: cannot be written, there is no folder {target.parent}")
    folder = target.parent / f".{target.name}.blocks"
    told = folder / "plan.json"
    wanted = {"fingerprint": plan.fingerprint(), "n_blocks": plan.n_blocks}
    if told.is_file():
        try:
            if json.loads(told.read_text(encoding="utf-8")) == wanted:
                return folder
        except ValueError:
            pass  # another program's file, or a disk that was full
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with write_atomically(told) as temporary:
        temporary.write_text(json.dumps(wanted), encoding="utf-8")
    return folder


def _run(
    plan: TiledPlan,
    todo: list[int],
    source: Source,
    net: NucleiNet,
    folder: Path,
    scheduler: Any,
    n_workers: int,
) -> Iterator[int]:
    """Yield each block when it is on disk."""
    if not todo:
        return
    if scheduler in ("threads", "synchronous"):
        yield from _run_here(plan, todo, source, net, folder, 1 if scheduler == "synchronous" else n_workers)
    else:
        yield from blocks_on_workers(plan, todo, source, net, folder, scheduler)


def _run_here(
    plan: TiledPlan, todo: list[int], source: Source, net: NucleiNet, folder: Path, n_workers: int
) -> Iterator[int]:
    memory = TileMemory()
    enough = threading.Event()

    def one(index: int) -> int:
        if not enough.is_set():
            segment_block(plan, index, source, net, memory, folder, 1 if n_workers > 1 else None)
        return index

    with ThreadPoolExecutor(max(1, n_workers), thread_name_prefix="parfocal-blocks") as pool:
        try:
            for future in as_completed([pool.submit(one, index) for index in todo]):
                yield future.result()
        finally:
            enough.set()  # one failed, or nobody listens any more: what waits is not begun


def _write(target: Path, plan: TiledPlan, merged: Merged, folder: Path, overwrite: bool) -> None:
    """Write labels at the volume's own voxels, block by block."""
    depth, height, width = plan.grid.source_shape
    attributes = {"image-label": {"version": "0.5"}, "parfocal": plan_settings(plan)}
    with writing_ome_zarr(
        target, (depth, height, width), np.int32, plan.voxel_size_um, overwrite=overwrite, attributes=attributes
    ) as writer:
        for index in range(plan.n_blocks):
            block = plan.block(index)
            ids = merged.ids_of_block(index)
            if not ids.any():
                continue
            labels, (z, y, x) = led_back(plan, block, read_block(folder, index).labels)
            if labels.size:
                writer.write(z, ids[labels], y, x)
