"""Rows of `segmentation`: average precision on real nuclei that nothing was trained or tuned on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parfocal.bench._table import Row
from parfocal.errors import BadInputError
from parfocal.files import open_stack
from parfocal.segmentation import Segmentation
from parfocal.segmentation.backends import WatershedSettings, label_nuclei, measured_diameter_um, open_backend
from parfocal.segmentation.measures import compare
from parfocal.segmentation.planes import link_planes

Labels = NDArray[np.int32]

DATA_VARIABLE = "PARFOCAL_NUCLEI_DATA"
"""Environment variable that names the folder of labelled nuclei."""

GOALS = {"bbbc050": 0.85, "ovule": 0.60, "dsb2018": 0.75, "stardist3d": 0.80}
"""Average precision at an IoU of 0.5 to reach, by set; of `bbbc050` the mean over its volumes."""

AS_SEEN = "unet3d, as seen"
OURS = {"bbbc050": "unet3d", "ovule": "unet3d", "dsb2018": "unet2d+link", "stardist3d": AS_SEEN}
"""The method that a row is about; the others stand in the second table.

People drew the first three. The truth of the last is its simulator's, which drew nobody's blur.
"""

CLASSICAL = "otsu+watershed"
_SEED = 0
_TAU = 0.5


@dataclass(frozen=True)
class LabelledStack:
    """Pixels with their truth."""

    set: str
    name: str
    pixels: NDArray[Any]
    truth: Labels
    voxel_size_um: tuple[float, float, float]


@dataclass(frozen=True)
class Score:
    """How well one method did on one file.

    Attributes
    ----------
    set, file, method : str
        What, by what.
    ap : float
        TP / (TP + FP + FN) at an IoU of 0.5.
    interval : (float, float)
        95 % of the bootstrap over objects (found, missed, made up).
    n_truth, n_found, seconds
        Objects, and how long the method took.
    note : str
        Why there is no score, where there is none (`ap` is NaN).
    """

    set: str
    file: str
    method: str
    ap: float
    interval: tuple[float, float]
    n_truth: int
    n_found: int
    seconds: float
    note: str = ""


def data_folder() -> Path:
    """Return the folder of labelled nuclei: `$PARFOCAL_NUCLEI_DATA`, else `../shared/data/C_nuclei`."""
    told = os.environ.get(DATA_VARIABLE)
    return Path(told) if told else Path("..", "shared", "data", "C_nuclei")


def labelled_stacks(folder: Path | None = None) -> Iterator[LabelledStack]:
    """Yield the labelled stacks that are there; those that are not are left out."""
    root = folder or data_folder()
    for raw in sorted((root / "bbbc050").glob("*_raw.tif")):
        yield _read("bbbc050", raw, raw.with_name(raw.name.replace("_raw", "_labels")), (1.75, 0.8, 0.8))
    ovule = root / "ovule_nuclei_1135_mini.h5"
    if ovule.is_file():
        pixels, truth = (_volume(f"{ovule}:{name}") for name in ("raw", "label"))
        yield LabelledStack("ovule", ovule.stem, pixels, truth.astype(np.int32), (0.2837, 0.1268, 0.1268))
    for name, stem, voxel_um in (
        ("dsb2018", "dsb2018_2d", (1.0, 1.0, 1.0)),
        # Without a unit. Its publisher's notebooks measure an anisotropy of (2, 1, 1) on the set that it is from.
        ("stardist3d", "stardist_synthetic3d", (2.0, 1.0, 1.0)),
    ):
        raw = root / f"{stem}_raw.tif"
        if raw.is_file():
            yield _read(name, raw, root / f"{stem}_labels.tif", voxel_um)


def quality_rows() -> list[Row]:
    """Return AP@0.5 of each set beside its goal; without the data, none."""
    rows: list[Row] = []
    scores = quality_scores()
    for name, goal in GOALS.items():
        own = [s for s in scores if s.set == name and s.method == OURS[name] and np.isfinite(s.ap)]
        if not own:
            continue
        classical = [s.ap for s in scores if s.set == name and s.method == CLASSICAL]
        beside = f"goal, AP@0.5 of {OURS[name]} over {len(own)} file(s); Otsu + watershed {np.mean(classical):.2f}"
        mean = float(np.mean([s.ap for s in own]))
        rows.append(
            Row.limited(f"segmentation/ap50-{name}", mean, goal, unit="AP", higher_is_better=True, name=beside)
        )
    return rows


@lru_cache(maxsize=1)
def quality_scores() -> tuple[Score, ...]:
    """Return the score of every method on every file: the second table."""
    found: list[Score] = []
    for stack in labelled_stacks():
        kept = {method: _scored(found, stack, method, make) for method, make in _methods(stack).items()}
        masks, by = kept["default"], "default"
        if masks is None:  # no PyTorch or no weights: the same comparison on masks that need neither
            masks, by = kept["watershed 2D, unlinked"], "watershed 2D"
        if masks is not None and stack.pixels.shape[0] > 1:
            _scored(found, stack, f"{by}, our linking", lambda m=masks: link_planes(m).labels)
            _scored(found, stack, f"{by}, ezquant linking", lambda m=masks: ezquant_link(m))
            _scored(found, stack, f"{by}, cellpose stitch3D", lambda m=masks: stitch3d(m))
    return tuple(found)


def reason_for_no_scores() -> str | None:
    """Say why there are no rows of quality; None where there are."""
    if not data_folder().is_dir():
        return f"no labelled nuclei at {data_folder()}; {DATA_VARIABLE} names their folder"
    return None


def scores_document(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Return the second table as JSON."""
    return [
        {
            "set": s.set,
            "file": s.file,
            "method": s.method,
            "ap50": None if np.isnan(s.ap) else round(s.ap, 4),
            "interval": None if np.isnan(s.ap) else [round(v, 4) for v in s.interval],
            "n_truth": s.n_truth,
            "n_found": s.n_found,
            "seconds": round(s.seconds, 3),
            **({"note": s.note} if s.note else {}),
        }
        for s in scores
    ]


def otsu_watershed(pixels: NDArray[Any], voxel_size_um: tuple[float, float, float]) -> Labels:
    """Label by the textbook: Gaussian, Otsu, distances, a seed at each maximum of them smoothed, watershed."""
    from skimage.feature import peak_local_max
    from skimage.filters import threshold_otsu
    from skimage.segmentation import watershed

    flat = pixels.shape[0] == 1
    image = pixels[0] if flat else pixels
    scale = voxel_size_um[1:] if flat else voxel_size_um
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 1.0)
    inside = smooth > threshold_otsu(smooth)
    depth = ndimage.gaussian_filter(np.asarray(ndimage.distance_transform_edt(inside, sampling=scale)), 1.0)
    seeds = np.zeros(image.shape, np.int32)
    peaks = peak_local_max(depth, min_distance=3, labels=inside.astype(np.int32), exclude_border=False)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = np.asarray(watershed(-depth, seeds, mask=inside), np.int32)
    return labels[None] if flat else labels


def ezquant_link(planes: Labels, min_overlap_ratio: float = 0.3) -> Labels:
    """Link planes as the original `Hybrid2D3DBackend` does: the plane before alone, and ids that are used again.

    A mask without a partner gets the largest id of *its own* plane so far, plus one, so two objects may share an
    id, and a plane that lacks an object ends it. The behaviour is written anew; it is faster.
    """
    from scipy.optimize import linear_sum_assignment

    out = np.zeros_like(planes)
    out[0] = planes[0]
    for z in range(1, len(planes)):
        before, now = out[z - 1], planes[z]
        ids_before, ids_now = np.unique(before[before > 0]), np.unique(now[now > 0])
        partner: dict[int, int] = {}
        if ids_before.size and ids_now.size:
            a, b = np.searchsorted(ids_before, before), np.searchsorted(ids_now, now)
            both = (before > 0) & (now > 0)
            shared = np.bincount(a[both] * ids_now.size + b[both], minlength=ids_before.size * ids_now.size)
            shared = shared.reshape(ids_before.size, ids_now.size)
            area_a = np.bincount(a[before > 0], minlength=ids_before.size)
            area_b = np.bincount(b[now > 0], minlength=ids_now.size)
            iou = shared / (area_a[:, None] + area_b[None] - shared)
            for row, column in zip(*linear_sum_assignment(-iou)):
                if iou[row, column] >= min_overlap_ratio:
                    partner[int(ids_now[column])] = int(ids_before[row])
        following = max(partner.values(), default=0) + 1
        for i in ids_now.tolist():
            if i not in partner:
                partner[i], following = following, following + 1
            out[z][now == i] = partner[i]
    return out


def stitch3d(planes: Labels) -> Labels:
    """Link planes by Cellpose's own `stitch3D`, at its default of 0.25."""
    try:
        from cellpose.utils import stitch3D
    except ImportError as error:
        raise BadInputError("Cellpose is not installed") from error
    return np.asarray(stitch3D(planes.copy(), 0.25)).astype(np.int32)


def bootstrap_interval(found: int, missed: int, made_up: int, repeats: int = 2000) -> tuple[float, float]:
    """Return the 95 % interval of found / (found + missed + made up), objects drawn anew; of none, (1, 1)."""
    total = found + missed + made_up
    if total == 0:
        return 1.0, 1.0
    drawn = np.random.default_rng(_SEED).binomial(total, found / total, repeats) / total
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def _methods(stack: LabelledStack) -> dict[str, Callable[[], Labels | Segmentation]]:
    def by(name: str, **options: Any) -> Callable[[], Segmentation]:
        return lambda: open_backend(name, **options).segment_volume(stack.pixels, stack.voxel_size_um)

    names = ("default", "unet2d+link", "unet3d", "watershed")

    def planes() -> Labels:
        settings = WatershedSettings(diameter_um=measured_diameter_um(stack.pixels, stack.voxel_size_um))
        return np.stack([label_nuclei(plane, stack.voxel_size_um[1:], settings) for plane in stack.pixels])

    classical: dict[str, Callable[[], Labels | Segmentation]] = {
        CLASSICAL: lambda: otsu_watershed(stack.pixels, stack.voxel_size_um),
        "watershed 2D, unlinked": planes,
    }
    as_seen = {AS_SEEN: by("unet3d", weights="nuclei3d-seen")}
    return {**{name: by(name) for name in names}, **as_seen, **classical}


def _scored(
    into: list[Score],
    stack: LabelledStack,
    method: str,
    make: Callable[[], Labels | Segmentation],
) -> Labels | None:
    n_truth = int(np.unique(stack.truth[stack.truth > 0]).size)
    began = time.perf_counter()
    try:
        made = make()
    except BadInputError as error:
        nothing = (float("nan"), float("nan"))
        into.append(Score(stack.set, stack.name, method, float("nan"), nothing, n_truth, 0, 0.0, str(error)))
        return None
    seconds = time.perf_counter() - began
    labels = made.labels if isinstance(made, Segmentation) else made
    n_found = int(np.unique(labels[labels > 0]).size)
    ap = float(compare(stack.truth, labels).ap(_TAU))
    # AP and the two counts give the matched ones back: ap = m / (t + f - m).
    matched = round(ap * (n_truth + n_found) / (1.0 + ap))
    interval = bootstrap_interval(matched, n_truth - matched, n_found - matched)
    into.append(Score(stack.set, stack.name, method, ap, interval, n_truth, n_found, seconds))
    return labels


def _read(set_name: str, raw: Path, labels: Path, voxel_um: tuple[float, float, float]) -> LabelledStack:
    name = raw.stem.removesuffix("_raw")
    return LabelledStack(set_name, name, _volume(raw), _volume(labels).astype(np.int32), voxel_um)


def _volume(path: str | Path) -> NDArray[Any]:
    import tifffile

    # The files hold plain arrays without axes; their order is known: z, y, x.
    pixels = tifffile.imread(path) if str(path).endswith(".tif") else open_stack(path, "ZYX").read()
    return pixels[None] if pixels.ndim == 2 else pixels
