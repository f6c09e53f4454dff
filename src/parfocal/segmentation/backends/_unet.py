"""Our networks behind the protocol: planes by themselves, planes linked, true volumes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import read_ome_zarr
from parfocal.segmentation._segmentation import Labels, NetOutput, PlaneLink, Segmentation
from parfocal.segmentation.backends._input import Progress, as_volume, checked_voxel_size, finished
from parfocal.segmentation.backends._options import nested_settings, refuse_links, told_settings
from parfocal.segmentation.flows import FoundMasks, MaskSettings, find_masks, judge_objects, score_objects
from parfocal.segmentation.grids import isotropic_um
from parfocal.segmentation.networks import (
    NucleiNet,
    PixelRange,
    RunningRange,
    TileSettings,
    as_net,
    estimate_diameter_um,
    grid_for,
    open_net,
    pixel_range,
    predict_on,
)
from parfocal.segmentation.planes import LinkSettings, PlaneLinker

Pixels = NDArray[np.generic]
VoxelSize = tuple[float, float, float]


_LEAST_UM, _MOST_UM = 1.0, 200.0
"""Diameters of nuclei, from yeast's to a frog egg's: beyond them a voxel size is told in another unit."""


@dataclass(frozen=True)
class UNetSettings:
    """What `default`, `unet2d+link` and `unet3d` can be told.

    Parameters
    ----------
    weights : path, name, NucleiNet or torch.nn.Module, optional
        Those that came with parfocal by default: `nuclei2d`, or `nuclei3d`.
    diameter_um : float, optional
        Of a typical nucleus; estimated by a first pass of the network where not told.
    device : str, optional
        cuda where there is one, else cpu.
    masks : MaskSettings, optional
        How objects are made of flows, and which are kept.
    links : LinkSettings, optional
        How planes are linked, by `unet2d+link`. Its fields are options too, such as `max_distance_z`.
    tiles : TileSettings, optional
        How large images are cut.
    keep_output : bool
        Keep what the network said, for uncertainty: 16 to 20 bytes a voxel.
    most_voxels : int
        A volume with more, at the size that the network knows, is segmented block by block on disk (`unet3d`);
        its output is not kept.
    on_progress : callable, optional
        Told how many planes, tiles or blocks of how many a volume's are done.
    """

    weights: str | os.PathLike[str] | NucleiNet | Any = None
    diameter_um: float | None = None
    device: str | None = None
    masks: MaskSettings | None = None
    links: LinkSettings | None = None
    tiles: TileSettings | None = None
    keep_output: bool = True
    most_voxels: int = 40_000_000
    on_progress: Progress | None = None


class UNetPlanes:
    """Backends `unet2d+link` and, with `linked=False`, `default`: the network of planes, plane by plane.

    Planes that come one by one are scaled by the percentiles of all that have come so far, a volume by those of
    all its planes. In a plane no mask is dropped for being small or dim beside others: it may be a nucleus's cap.
    Whole objects are, once they are linked.
    """

    def __init__(self, settings: UNetSettings | None = None, *, linked: bool = True, **options: Any) -> None:
        self.linked = linked
        self.name = "unet2d+link" if linked else "default"
        self.settings = _settings(settings, options, self.name)
        if not linked:
            refuse_links(self.settings.links, self.name)
        self.net = _of_dims(_net(self.settings, "nuclei2d"), 2, self.name)

    @property
    def model_hash(self) -> str | None:
        """SHA-256 of the weights."""
        return self.net.model_hash

    def segment_planes(
        self, planes: Iterable[Pixels], voxel_size_um: VoxelSize
    ) -> Generator[Labels, None, Segmentation]:
        """Yield labels of each plane as it arrives; see `Backend`."""
        scales = RunningRange()
        return (yield from self._labelled(((p, scales.add(p)) for p in _checked(planes)), voxel_size_um))

    def segment_volume(self, volume: Pixels, voxel_size_um: VoxelSize) -> Segmentation:
        """Label a volume; see `Backend`. The output's flow has two axes (y, x)."""
        pixels = as_volume(volume)
        scale = pixel_range(pixels)
        diameter_um = self.settings.diameter_um
        if diameter_um is None:
            diameter_um = self._estimated(_fullest(pixels, scale), checked_voxel_size(voxel_size_um), scale)
        labelling = self._labelled(((plane, scale) for plane in pixels), voxel_size_um, diameter_um, pixels)
        return finished(labelling, len(pixels), self.settings.on_progress)

    def _labelled(
        self,
        planes: Iterable[tuple[Pixels, PixelRange]],
        voxel_size_um: VoxelSize,
        diameter_um: float | None = None,
        volume: Pixels | None = None,
    ) -> Generator[Labels, None, Segmentation]:
        size = checked_voxel_size(voxel_size_um)
        told = self.settings.diameter_um or diameter_um
        given = told
        linker = PlaneLinker(self.settings.links) if self.linked else None
        single: list[Labels] = []
        outputs: list[NetOutput] = []
        dropped: list[str] = []
        images: list[Pixels] = []
        for plane, scale in planes:
            if told is None:  # the first plane that has something in it decides
                told = self._estimated(plane, size, scale)
            labels, output, found = self._plane(plane, size, scale, told)
            dropped += [d.reason for d in found.dropped]
            if self.settings.keep_output:
                outputs.append(output)
            if volume is None:
                images.append(plane)
            if linker is None:
                single.append(labels)
                yield labels
            else:
                yield linker.add(labels)
        remarks = _remarks(given is not None and self.settings.diameter_um is not None, told, dropped)
        output = _stacked(outputs)
        if linker is None:
            volume_labels = _numbered(single)
            remarks = (*remarks, "each plane for itself: an object is an outline in one plane, not a nucleus")
            return Segmentation(
                volume_labels, size, self.name, self.model_hash, output=output, linked=False, remarks=remarks
            )
        linked = linker.finish()
        seen = volume if volume is not None else np.stack(images)
        labels, links, more = self._kept(linked.labels, linked.links, seen)
        if more:
            remarks = (*remarks, more)
        return Segmentation(
            labels,
            size,
            self.name,
            self.model_hash,
            output=output,
            links=links,
            remarks=(*remarks, "planes linked"),
        )

    def _plane(
        self, plane: Pixels, size: VoxelSize, scale: PixelRange, diameter_um: float | None
    ) -> tuple[Labels, NetOutput, FoundMasks]:
        settings = self.settings.masks or MaskSettings()
        if self.linked:
            settings = replace(settings, min_relative_contrast=None)
        # Without a diameter nothing was found so far: nothing is asked again in another size.
        grid_um = diameter_um or self.net.diameter_px * max(size[1:])
        said = predict_on(self.net, plane, size[1:], diameter_um=grid_um, told=scale, settings=self.settings.tiles)
        if diameter_um is not None and settings.diameter_px is None:
            settings = replace(settings, diameter_px=said.diameter_px)
        found = find_masks(said.output, settings, said.image)
        return said.labels_at_image(found.labels), said.at_image(), found

    def _kept(
        self, labels: Labels, links: tuple[PlaneLink, ...], image: Pixels
    ) -> tuple[Labels, tuple[PlaneLink, ...], str]:
        """Drop linked objects that are too small or too dim beside the others; number the rest anew."""
        n = int(labels.max(initial=0))
        if labels.shape[0] == 1 or n == 0:
            return labels, links, ""
        scores = score_objects(labels, None, image)
        settings = replace(
            self.settings.masks or MaskSettings(),
            min_volume_px=0.0,
            max_flow_error=None,
            min_foreground_logit=None,
        )
        keep, dropped = judge_objects(scores, settings, 3)
        keep &= scores.volume_px > 0
        ids = np.zeros(n + 1, np.int32)
        ids[1:][keep] = np.arange(1, keep.sum() + 1)
        kept_links = tuple(replace(k, object_id=int(ids[k.object_id])) for k in links if ids[k.object_id])
        return ids[labels], kept_links, _told([d.reason for d in dropped], "objects")

    def _estimated(self, plane: Pixels, size: VoxelSize, scale: PixelRange) -> float | None:
        return estimate_diameter_um(self.net, plane, size[1:], scale, self.settings.tiles)


class UNetVolume:
    """Backend `unet3d`: the network of volumes."""

    name = "unet3d"

    def __init__(self, settings: UNetSettings | None = None, **options: Any) -> None:
        self.settings = _settings(settings, options, self.name)
        refuse_links(self.settings.links, self.name)
        self.net = _of_dims(_net(self.settings, "nuclei3d"), 3, self.name)

    @property
    def model_hash(self) -> str | None:
        """SHA-256 of the weights."""
        return self.net.model_hash

    def segment_planes(
        self, planes: Iterable[Pixels], voxel_size_um: VoxelSize
    ) -> Generator[Labels, None, Segmentation]:
        """Yield labels of each plane once the last one has come; see `Backend`."""
        found = self.segment_volume(np.stack(list(_checked(planes))), voxel_size_um)
        yield from found.labels
        return found

    def segment_volume(self, volume: Pixels, voxel_size_um: VoxelSize) -> Segmentation:
        """Label a volume; see `Backend`."""
        size = checked_voxel_size(voxel_size_um)
        pixels = as_volume(volume)
        if pixels.shape[0] == 1:
            raise BadInputError("unet3d: is of volumes, and this is a single plane; unet2d+link is for those")
        scale = pixel_range(pixels)
        told = self.settings.diameter_um
        diameter_um = told or estimate_diameter_um(self.net, pixels, size, scale, self.settings.tiles)
        grid = grid_for(self.net, pixels.shape, size, diameter_um)
        if np.prod(grid.shape, dtype=np.int64) > self.settings.most_voxels:
            return self._tiled(pixels, size, diameter_um or self.net.diameter_px * isotropic_um(size))
        said = predict_on(
            self.net,
            pixels,
            size,
            diameter_um=diameter_um,
            grid=grid,
            told=scale,
            settings=self.settings.tiles,
            on_tile=self.settings.on_progress,
        )
        settings = self.settings.masks or MaskSettings()
        if settings.diameter_px is None:
            settings = replace(settings, diameter_px=said.diameter_px)
        found = find_masks(said.output, settings, said.image)
        labels = said.labels_at_image(found.labels)
        output = said.at_image() if self.settings.keep_output else None
        remarks = _remarks(told is not None, diameter_um, [d.reason for d in found.dropped])
        return Segmentation(labels, size, self.name, self.model_hash, output=output, remarks=remarks)

    def _tiled(self, pixels: Pixels, size: VoxelSize, diameter_um: float) -> Segmentation:
        from parfocal.segmentation.volumes import segment_tiled

        with tempfile.TemporaryDirectory(prefix="parfocal-") as folder:
            found = segment_tiled(
                pixels,
                Path(folder) / "labels.ome.zarr",
                self.net,
                size,
                diameter_um=diameter_um,
                masks=self.settings.masks,
                tiles=self.settings.tiles,
                on_progress=self.settings.on_progress,
            )
            labels = read_ome_zarr(found.path)[0]
        remarks = _remarks(self.settings.diameter_um is not None, diameter_um, [d.reason for d in found.dropped])
        remarks = (*remarks, f"in {found.n_blocks} blocks; what the network said was not kept")
        return Segmentation(labels, size, self.name, self.model_hash, remarks=remarks)


def _settings(settings: UNetSettings | None, options: Mapping[str, Any], backend: str) -> UNetSettings:
    told = dict(options)
    for name, kind in (("masks", MaskSettings), ("tiles", TileSettings)):
        if told.get(name) is not None:
            told[name] = nested_settings(kind, told[name], f"{backend}: {name}")
    return told_settings(UNetSettings, settings, told, backend)


def _net(settings: UNetSettings, shipped: str) -> NucleiNet:
    weights = settings.weights
    if isinstance(weights, NucleiNet):
        return weights
    if weights is None or isinstance(weights, (str, os.PathLike)):
        return open_net(weights or shipped, device=settings.device)
    return as_net(weights, device=settings.device)


def _of_dims(net: NucleiNet, dims: int, backend: str) -> NucleiNet:
    if net.dims != dims:
        kinds = {2: ("planes", "unet2d+link"), 3: ("volumes", "unet3d")}
        said, other = kinds.get(net.dims, (f"{net.dims} axes", "none of ours"))
        raise BadInputError(f"{backend}: weights {net.name or ''} are of {said}; the backend for them is {other}")
    return net


def _checked(planes: Iterable[Pixels]) -> Iterable[Pixels]:
    for plane in planes:
        yield as_volume(plane)[0]


def _fullest(volume: Pixels, scale: PixelRange) -> Pixels:
    """Return the plane with most in it."""
    return max(volume, key=lambda plane: float(np.clip(scale.applied(plane[::4, ::4]), 0, 1).mean()))


def _stacked(outputs: list[NetOutput]) -> NetOutput | None:
    if not outputs:
        return None
    return NetOutput(
        np.stack([o.flow for o in outputs], axis=1),
        np.stack([o.foreground for o in outputs]),
        np.stack([o.boundary for o in outputs]),
    )


def _numbered(planes: list[Labels]) -> Labels:
    """Return planes as one volume, in which no id stands for objects of two planes."""
    if not planes:
        return np.zeros((0, 0, 0), np.int32)
    before = np.cumsum([0, *(int(plane.max(initial=0)) for plane in planes)])
    return np.stack([np.where(plane, plane + n, 0) for plane, n in zip(planes, before)]).astype(np.int32)


def _remarks(told: bool, diameter_um: float | None, dropped: list[str]) -> tuple[str, ...]:
    if diameter_um is None:
        return ("no nuclei were found whose size could be estimated",)
    size = f"diameter {diameter_um:.3g} um" + ("" if told else ", estimated by a first pass")
    if not _LEAST_UM <= diameter_um <= _MOST_UM:
        size += ": no nucleus is so large or small; is the voxel size in um, as z, y, x?"
    return (size, more) if (more := _told(dropped, "masks")) else (size,)


def _told(reasons: list[str], what: str) -> str:
    counts = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
    return f"{what} left out: " + ", ".join(f"{n} by {reason}" for reason, n in counts.items()) if counts else ""
