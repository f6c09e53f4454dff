"""Nuclei without a network: a threshold for each nucleus, distances, a watershed. No weights, no torch."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.segmentation._segmentation import Floats, Labels, Segmentation
from parfocal.segmentation.backends._input import as_volume, checked_voxel_size
from parfocal.segmentation.backends._options import refuse_links, told_settings
from parfocal.segmentation.planes import LinkSettings, PlaneLinker

_WORKING_DIAMETER_PX = 24
"""Nuclei twice as wide as this, or more, are labelled on binned planes: finer voxels only cost time."""

_BLOAT = 1.5
"""By how much nuclei look too large where they touch and glow about; see `measured_diameter_um`."""

_SEPARATE = 4.5
"""Heights of two classes, in spreads of the darker one, that noise alone does not have: Otsu halves it at 3.4."""


@dataclass(frozen=True)
class WatershedSettings:
    """What `watershed` can be told.

    The defaults were chosen on simulated volumes alone.

    Parameters
    ----------
    diameter_um : float, optional
        Of a typical nucleus; measured in the image where not told.
    dims : {"auto", 2, 3}
        2 labels plane by plane and links them; 3 labels the volume. `auto` takes 2 where a nucleus spans fewer
        than three planes, and for planes that arrive one by one.
    level : float
        Where a nucleus ends, between its surroundings (0) and its inside (1): 0.5 is where a blurred edge lies.
    split : float
        Two maxima of the distance are one nucleus where the neck between them has at least this share of the
        smaller one.
    least_contrast : float
        Nuclei that stand out by less than so many standard deviations of the background are left out, and those
        that do by less than a tenth of the usual.
    least_volume : float
        Of an object, in volumes of a sphere of `diameter_um`.
    links : LinkSettings, optional
        How planes are linked, where they are; not with `dims` 3. Its fields are options too, such as
        `max_distance_z`.
    """

    diameter_um: float | None = None
    dims: Literal["auto", 2, 3] = "auto"
    level: float = 0.5
    split: float = 0.8
    least_contrast: float = 6.0
    least_volume: float = 0.08
    links: LinkSettings | None = None


class Watershed:
    """Backend `watershed`: an edge for each nucleus at half its height, split where distances show a neck.

    Background: the local minimum over two diameters of the smoothed image, so that offset and haze go.
    Candidates: Otsu on the square root of what stands above it. Each basin of the smoothed image gets a threshold
    of its own, `level` of the way from its surroundings to its inside, so that a dim nucleus keeps its size beside
    a bright one. Distances to the edge are in um along all axes; a saddle lower than `split` times the smaller
    maximum parts two nuclei.
    """

    name = "watershed"
    model_hash: str | None = None

    def __init__(self, settings: WatershedSettings | None = None, **options: Any) -> None:
        self.settings = told = told_settings(WatershedSettings, settings, options, self.name)
        if told.diameter_um is not None and not (math.isfinite(told.diameter_um) and told.diameter_um > 0):
            raise BadInputError(f"watershed: diameter {told.diameter_um} um, expected a positive number")
        if told.dims not in ("auto", 2, 3):
            raise BadInputError(f"watershed: dims {told.dims!r}, expected auto, 2 or 3")
        if told.dims == 3:
            refuse_links(told.links, "watershed: dims 3")
        for name in ("level", "split"):
            if not 0.0 < getattr(told, name) < 1.0:
                raise BadInputError(f"watershed: {name} {getattr(told, name)}, expected between 0 and 1")

    def segment_planes(
        self, planes: Iterable[NDArray[np.generic]], voxel_size_um: tuple[float, float, float]
    ) -> Generator[Labels, None, Segmentation]:
        """Yield labels of each plane as it arrives; see `Backend`."""
        voxel_size_um = checked_voxel_size(voxel_size_um)
        link = PlaneLinker(self.settings.links)
        for plane in planes:
            yield link.add(label_nuclei(as_volume(plane)[0], voxel_size_um[1:], self.settings))
        return self._linked(link, voxel_size_um, self.settings.diameter_um)

    def segment_volume(
        self, volume: NDArray[np.generic], voxel_size_um: tuple[float, float, float]
    ) -> Segmentation:
        """Label a volume; see `Backend`."""
        voxel_size_um = checked_voxel_size(voxel_size_um)
        pixels = as_volume(volume)
        if pixels.shape[0] == 1:
            labels = label_nuclei(pixels[0], voxel_size_um[1:], self.settings)[None]
            return Segmentation(labels, voxel_size_um, self.name)
        diameter_um = self.settings.diameter_um or measured_diameter_um(pixels, voxel_size_um)
        remark = f"diameter {diameter_um:.3g} um" + (
            "" if self.settings.diameter_um else ", measured in the image"
        )
        settings = replace(self.settings, diameter_um=diameter_um)
        if settings.dims == 2 or (settings.dims == "auto" and diameter_um < 3.0 * voxel_size_um[0]):
            link = PlaneLinker(self.settings.links)
            for plane in pixels:
                link.add(label_nuclei(plane, voxel_size_um[1:], settings))
            return self._linked(link, voxel_size_um, diameter_um, remark)
        linked = () if settings.links is None else ("labelled in 3D: no planes were linked; dims=2 links them",)
        labels = label_nuclei(pixels, voxel_size_um, settings)
        return Segmentation(labels, voxel_size_um, self.name, remarks=(remark, *linked))

    def _linked(
        self, link: PlaneLinker, voxel_size_um: tuple[float, float, float], diameter_um: float | None, *told: str
    ) -> Segmentation:
        """Return the linked planes without what is too thin for a nucleus: haze above and below one, by itself."""
        linked = link.finish()
        labels, links = linked.labels, linked.links
        least = 0.25 * (diameter_um or 0.0) / voxel_size_um[0]
        planes = np.zeros(linked.n_objects + 1, np.int64)
        for plane in labels:
            planes[np.unique(plane)] += 1
        keep = planes >= max(least, 1.0)
        keep[0] = False
        ids = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
        links = tuple(replace(one, object_id=int(ids[one.object_id])) for one in links if keep[one.object_id])
        remarks = (*told, "planes linked")
        return Segmentation(ids[labels], voxel_size_um, self.name, links=links, remarks=remarks)


def label_nuclei(
    image: NDArray[np.generic], spacing_um: tuple[float, ...], settings: WatershedSettings | None = None
) -> Labels:
    """Label nuclei of a plane or a volume as `Watershed` does.

    Parameters
    ----------
    image : ndarray, shape (y, x) or (z, y, x)
        Brighter where nuclei are, in any unit, with any offset.
    spacing_um : tuple of float
        Of the voxels, one for each axis.
    settings : WatershedSettings, optional
        How; `dims` is not looked at.

    Returns
    -------
    int32 array of the image's shape
        0 is background; ids are 1 to n.
    """
    told = settings or WatershedSettings()
    raw = np.asarray(image, np.float32)
    diameter_um = told.diameter_um or measured_diameter_um(raw, spacing_um)
    bins = max(1, int(diameter_um / spacing_um[-1] / _WORKING_DIAMETER_PX)) if min(raw.shape[-2:]) > 8 else 1
    small = _binned(raw, bins)
    scale = (*spacing_um[:-2], spacing_um[-2] * bins, spacing_um[-1] * bins)
    labels = _label(small, scale, diameter_um, told)
    return labels if bins == 1 else _enlarged(labels, bins, raw.shape)


def measured_diameter_um(image: NDArray[np.generic], spacing_um: tuple[float, ...]) -> float:
    """Return the diameter of a typical nucleus, um, from the mean depth of the foreground.

    In a ball of radius R the mean distance to the edge is R/4, in a disc R/3. Haze and neighbours that touch make
    it larger: by a factor of 1.3 to 1.8 in simulated volumes, which is divided out.
    """
    pixels = np.asarray(image, np.float32)
    bins = max(1, min(pixels.shape[-2:]) // 256)
    small = _binned(pixels, bins)
    scale = (*spacing_um[:-2], spacing_um[-2] * bins, spacing_um[-1] * bins)
    sigma = [min(1.0, scale[-1] / s) for s in scale]
    smooth = _smoothed(small, sigma)
    inside = smooth > _otsu(smooth)
    inside = np.asarray(ndimage.binary_opening(inside), bool)
    if not inside.any() or inside.all():
        return 10.0  # nothing to measure: a mammalian nucleus
    depth_um = _distances(inside, scale)
    return float(2 * (small.ndim + 1) * depth_um[inside].mean() / _BLOAT)


def _label(image: Floats, scale: tuple[float, ...], diameter_um: float, told: WatershedSettings) -> Labels:
    """Label nuclei at the working resolution."""
    none = np.zeros(image.shape, np.int32)
    if float(image.max()) <= float(image.min()):
        return none
    wide = [diameter_um / s for s in scale]
    smooth = _smoothed(image, [0.07 * w for w in wide])
    above = smooth - _surroundings(smooth, wide)
    middle, spread = _dark(above)
    above -= middle
    bright = above[above > _otsu(above)]
    height = float(np.median(bright)) if bright.size else 0.0
    if height > _SEPARATE * spread:
        # Between crowded nuclei the background is never dark, and its spread no noise.
        spread = min(spread, 0.4 * height / told.least_contrast)
    noise = max(spread, _noise_left(image, [0.07 * w for w in wide]))
    root = np.sqrt(np.maximum(above, 0.0))
    gate = max(0.6 * _otsu(root) ** 2, told.least_contrast * noise)
    candidates = above > gate
    if not candidates.any():
        return none
    coarse = _smoothed(above, [0.12 * w for w in wide])
    basins = _flooded(-coarse, _maxima(coarse, candidates, 0.15), candidates)
    inside = candidates & (above > _own_threshold(above, basins, told.level))
    return _split(inside, above, basins, scale, diameter_um, told, gate)


def _split(
    inside: NDArray[np.bool_],
    above: Floats,
    basins: Labels,
    scale: tuple[float, ...],
    diameter_um: float,
    told: WatershedSettings,
    gate: float,
) -> Labels:
    inside = _filled(inside)
    depth_um = _smoothed(_distances(inside, scale), [0.05 * diameter_um / s for s in scale])
    depth_um = np.where(inside, depth_um, 0.0).astype(np.float32)
    labels = _flooded(-depth_um, _maxima(depth_um, inside, 1.0 - told.split), inside)
    sizes = np.bincount(labels.ravel())
    ball_um = math.pi / 6 * diameter_um**3 if inside.ndim == 3 else math.pi / 4 * diameter_um**2
    least = told.least_volume * ball_um / math.prod(scale)
    height = np.bincount(labels.ravel(), above.ravel(), minlength=sizes.size) / np.maximum(sizes, 1)
    keep = sizes >= max(least, 3.0)
    keep[0] = False
    if keep.any():
        keep &= height > max(gate, 0.1 * float(np.median(height[keep])))
    ids = np.zeros(sizes.size, np.int32)
    ids[keep] = np.arange(1, int(keep.sum()) + 1)
    return ids[labels]


def _surroundings(smooth: Floats, wide: list[float]) -> Floats:
    """Return the local background: a low of the smoothed image over two diameters, itself smoothed."""
    size = [max(1, round(2.0 * w)) | 1 for w in wide]
    low = np.asarray(ndimage.minimum_filter(smooth, size), np.float32)
    return _smoothed(low, [0.8 * w for w in wide])


def _dark(above: Floats) -> tuple[float, float]:
    """Return the middle and the robust standard deviation of the darker class: what no nucleus is in."""
    few = above.ravel()[:: max(1, above.size // 400_000)]
    dark = few[few < _otsu(few)]
    if dark.size < 8:
        return 0.0, 0.0
    middle = float(np.median(dark))
    return middle, 1.4826 * float(np.median(np.abs(dark - middle)))


def _noise_left(image: Floats, sigma: list[float]) -> float:
    """Return the standard deviation that white noise of this image has after smoothing.

    The noise itself comes from the diagonal Haar detail of each plane (Donoho), in which wide structures are not.
    """
    if min(image.shape[-2:]) < 4:
        return 0.0
    a, b = image[..., :-1:2, :-1:2], image[..., 1::2, :-1:2]
    c, d = image[..., :-1:2, 1::2], image[..., 1::2, 1::2]
    detail = np.abs((a - b - c + d) / 2.0)
    kept = math.prod(min(1.0, 1.0 / math.sqrt(2.0 * math.sqrt(math.pi) * s)) if s > 0 else 1.0 for s in sigma)
    return float(np.median(detail)) / 0.6745 * kept


def _own_threshold(above: Floats, basins: Labels, level: float) -> Floats:
    """Return, at each voxel, the threshold of its basin: `level` of the height that its brightest tenth has."""
    flat = basins.ravel()
    held = np.flatnonzero(flat)
    values = above.ravel()[held]
    order = np.lexsort((values, flat[held]))
    ids = flat[held][order]
    ends = np.searchsorted(ids, np.arange(1, int(basins.max()) + 1), side="right")
    starts = np.concatenate([[0], ends[:-1]])
    at = starts + np.floor(0.9 * np.maximum(ends - starts - 1, 0)).astype(np.int64)
    height = np.zeros(int(basins.max()) + 1, np.float32)
    height[1:] = values[order][np.minimum(at, values.size - 1)]
    return (level * height)[basins]


def _maxima(height: Floats, inside: NDArray[np.bool_], depth: float) -> Labels:
    """Label maxima that rise by more than the share `depth` above every saddle to a higher one."""
    from skimage.morphology import reconstruction

    floor = max(float(height[inside].max()) * 1e-3, 1e-12)
    logs = np.where(inside, np.log(np.maximum(height, floor)), math.log(floor) - 1.0).astype(np.float32)
    lowered = np.where(inside, logs + math.log1p(-depth), logs).astype(np.float32)
    rebuilt = reconstruction(lowered, logs, method="dilation")
    # A dome of the height that was taken off lies on each maximum that is high enough.
    domes = (logs - rebuilt) >= -0.999 * math.log1p(-depth)
    marked: Any = ndimage.label(domes & inside, np.ones((3,) * height.ndim))
    return np.asarray(marked[0], np.int32)


def _flooded(height: Floats, markers: Labels, inside: NDArray[np.bool_]) -> Labels:
    from skimage.segmentation import watershed

    return np.asarray(watershed(height, markers, mask=inside), np.int32)


def _distances(inside: NDArray[np.bool_], scale: tuple[float, ...]) -> Floats:
    # Beyond the border nuclei go on: no edge is counted there.
    return np.asarray(ndimage.distance_transform_edt(inside, sampling=scale), np.float32)


def _filled(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill holes plane by plane (nucleoli), since one that opens along z is a hole to the eye as well."""
    if inside.ndim == 2:
        return np.asarray(ndimage.binary_fill_holes(inside), bool)
    return np.stack([np.asarray(ndimage.binary_fill_holes(plane), bool) for plane in inside])


def _smoothed(image: Floats, sigma: float | list[float]) -> Floats:
    return np.asarray(ndimage.gaussian_filter(image, sigma), np.float32)


def _otsu(values: Floats) -> float:
    from skimage.filters import threshold_otsu

    few = values.ravel()[:: max(1, values.size // 1_000_000)]
    low, high = float(few.min()), float(few.max())
    return low if high <= low else float(threshold_otsu(few, nbins=512))


def _binned(image: Floats, bins: int) -> Floats:
    """Return block means in the plane; what does not fill a block at the far borders makes a smaller one."""
    if bins == 1:
        return image
    height, width = image.shape[-2:]
    pad = [(0, 0)] * (image.ndim - 2) + [(0, -height % bins), (0, -width % bins)]
    padded = np.pad(image, pad, mode="edge")
    shape = (*image.shape[:-2], padded.shape[-2] // bins, bins, padded.shape[-1] // bins, bins)
    return padded.reshape(shape).mean(axis=(-3, -1), dtype=np.float32)


def _enlarged(labels: Labels, bins: int, shape: tuple[int, ...]) -> Labels:
    """Return labels at full resolution, their steps rounded by a majority of the pixels about."""
    large = labels.repeat(bins, axis=-2).repeat(bins, axis=-1)[..., : shape[-2], : shape[-1]]
    planes = large if large.ndim == 3 else large[None]
    out = np.stack([_rounded(plane, bins) for plane in planes])
    return out if large.ndim == 3 else out[0]


def _rounded(plane: Labels, bins: int) -> Labels:
    out = np.zeros_like(plane)
    for i, where in enumerate(ndimage.find_objects(plane), start=1):
        if where is None:
            continue
        grown = tuple(slice(max(0, s.start - bins), s.stop + bins) for s in where)
        own = _smoothed((plane[grown] == i).astype(np.float32), 0.5 * bins) > 0.5
        out[grown][own] = i
    return out
