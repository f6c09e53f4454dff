"""Print the tables of docs/explanation/which-nuclei-to-doubt.md, and draw its picture.

python docs/doubt_tables.py [BACKEND ...] [--flips] [--picture FILE]
python docs/doubt_tables.py --speed

Volumes are simulated, so that it is known which objects are wrong: those that share less than half of their union
with every true nucleus. The wrong ones are a segmentation's own mistakes, none is planted. The area under the
curve (AUC) is the chance that a wrong object has a higher score than a right one of its volume: 0.5 is guessing.
"""

import argparse
import time
from dataclasses import fields, replace

import numpy as np

from parfocal.segmentation import NetOutput, Segmentation
from parfocal.segmentation.backends import open_backend
from parfocal.segmentation.generator import NucleiRecipe, nuclei_volume
from parfocal.segmentation.uncertainty import DoubtWeights, heatmap, most_uncertain, object_doubts

SEEDS = range(9000, 9016)
RECIPE = NucleiRecipe(shape_zyx=(40, 128, 128))
FEW = 0.25
NAMES = [one.name for one in fields(DoubtWeights)]


def wrong_objects(truth: np.ndarray, labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    width = int(truth.max()) + 1
    shared = np.zeros((int(labels.max()) + 1, width))
    np.add.at(shared, (labels.ravel(), truth.ravel()), 1)
    union = shared.sum(1)[:, None] + shared.sum(0)[None] - shared
    iou = shared[1:, 1:] / np.maximum(union[1:, 1:], 1)
    return (iou.max(axis=1, initial=0) < 0.5)[ids - 1]


def auc(values: np.ndarray, wrong: np.ndarray) -> float:
    """NaN where there is nothing to tell apart."""
    known = np.isfinite(values)
    bad, good = values[known & wrong], values[known & ~wrong]
    if not bad.size or not good.size:
        return np.nan
    return float(np.mean((bad[:, None] > good) + 0.5 * (bad[:, None] == good)))


def found(backend_name: str, flips: bool):
    backend = open_backend(backend_name)
    for seed in SEEDS:
        sample = nuclei_volume(seed, RECIPE)
        result = backend.segment_volume(sample.image, sample.voxel_size_um)
        if result.labels.max() < 2:
            continue

        def relabel(image, voxel=sample.voxel_size_um):
            return backend.segment_volume(image, voxel).labels

        doubts = object_doubts(result, sample.image, relabel=relabel if flips else None)
        yield sample, result, doubts, wrong_objects(sample.labels, result.labels, doubts.ids)


def rescored(doubts, left_out: str | None) -> np.ndarray:
    """Return the score without one signal, from the stored ranks."""
    weights = DoubtWeights() if left_out is None else replace(DoubtWeights(), **{left_out: 0.0})
    total = np.zeros(doubts.ids.size)
    for name, rank in doubts.ranks.items():
        total += weights.as_dict()[name] * np.nan_to_num(rank)
    return total


def print_backend(name: str, flips: bool) -> None:
    volumes: list[tuple[float, dict[str, float], float]] = []
    whole = 0
    for _, _, doubts, wrong in found(name, flips):
        whole += int(not wrong.any())
        columns = {"score": doubts.score, **doubts.signals}
        columns |= {f"without {k}": rescored(doubts, k) for k in doubts.signals}
        look = most_uncertain(doubts, max(1, wrong.size // 10), diversity=0.0)
        first = float(wrong[np.searchsorted(doubts.ids, look)].mean())
        volumes.append(
            (float(wrong.mean()), {k: auc(np.asarray(v, float), wrong) for k, v in columns.items()}, first)
        )
    groups = {
        f"fewer than {FEW:.0%} wrong": [v for v in volumes if 0 < v[0] < FEW],
        f"{FEW:.0%} and more wrong": [v for v in volumes if v[0] >= FEW],
    }
    print(f"\n{name}: {len(volumes)} volumes, {whole} without a wrong object.\n")
    head = [f"{title} ({len(group)} volumes)" for title, group in groups.items()]
    print("| Mean over volumes | " + " | ".join(head) + " |\n| --- | --- | --- |")
    share = [f"{np.mean([v[0] for v in group]):.0%}" if group else "" for group in groups.values()]
    print("| wrong objects | " + " | ".join(share) + " |")
    share = [f"{np.mean([v[2] for v in group]):.0%}" if group else "" for group in groups.values()]
    print("| wrong among the most doubtful tenth | " + " | ".join(share) + " |")
    for key in ("score", *NAMES, *(f"without {k}" for k in NAMES)):
        cells = [interval([v[1].get(key, np.nan) for v in group]) for group in groups.values()]
        if any(cells):
            label = "score" if key == "score" else f"score {key}" if " " in key else f"{key} alone"
            print(f"| AUC of {label} | " + " | ".join(cells) + " |")


def interval(aucs: list[float]) -> str:
    """Return mean and bootstrap interval over volumes: objects of one volume are not independent."""
    known = np.array([one for one in aucs if np.isfinite(one)])
    if not known.size:
        return ""
    means = np.random.default_rng(0).choice(known, (2000, known.size)).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return f"{known.mean():.2f}, {low:.2f} to {high:.2f}"


def draw(name: str, flips: bool, path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sample, result, doubts, wrong = max(found(name, flips), key=lambda one: one[3].sum() * (one[3].mean() < FEW))
    z = int(np.argmax((heatmap(result, doubts) > np.quantile(doubts.score, 0.8)).sum(axis=(1, 2))))
    map_ = heatmap(result, doubts)[z]
    bad = np.isin(result.labels[z], doubts.ids[wrong])
    figure, axes = pyplot.subplots(1, 3, figsize=(10, 3.6), constrained_layout=True)
    axes[0].imshow(sample.image[z], cmap="gray")
    axes[0].contour(sample.labels[z] > 0, [0.5], colors="tab:green", linewidths=0.7)
    axes[0].set_title("image, true nuclei")
    axes[1].imshow(np.where(result.labels[z] > 0, np.where(bad, 2, 1), 0), cmap="Greys", vmax=2.4)
    axes[1].set_title("found; black: wrong")
    shown = axes[2].imshow(np.where(map_ > 0, map_, np.nan), cmap="inferno", vmin=0, vmax=1)
    axes[2].set_title("doubt")
    figure.colorbar(shown, ax=axes[2], shrink=0.8)
    for ax in axes:
        ax.set_axis_off()
    figure.savefig(path, dpi=90)


def print_speed() -> None:
    """A thousand objects in 64x512x512; the network's output is made up, which costs the same."""
    rng = np.random.default_rng(0)
    labels = np.zeros((64, 512, 512), np.int32)
    z, y, x = np.mgrid[-8:8, -14:15, -14:15]
    corners = [(z0, y0, x0) for z0 in range(0, 64, 16) for y0 in range(2, 512, 32) for x0 in range(2, 512, 32)]
    for i, (z0, y0, x0) in enumerate(corners):
        a, b, c = rng.uniform(0.6, 1, 3)
        part = labels[z0 : z0 + 16, y0 : y0 + 29, x0 : x0 + 29]
        part[(z / 8 / a) ** 2 + (y / 14 / b) ** 2 + (x / 14 / c) ** 2 < 1] = i + 1
    logits = rng.normal(0, 3, labels.shape).astype(np.float32)
    output = NetOutput(np.zeros((3, *labels.shape), np.float32), logits, logits)
    for title, one in (("no network's output", None), ("with a network's output", output)):
        segmentation = Segmentation(labels, (1.0, 0.5, 0.5), "made up", output=one)
        object_doubts(segmentation)  # compiles
        started, cpu = time.perf_counter(), time.process_time()
        object_doubts(segmentation)
        took = f"{time.process_time() - cpu:.1f} s of one core, {time.perf_counter() - started:.1f} s by the clock"
        print(f"{len(corners)} objects, {title}: {took}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("backends", nargs="*", default=["watershed"])
    parser.add_argument("--flips", action="store_true", help="segment seven flipped images too")
    parser.add_argument("--picture", help="PNG to write")
    parser.add_argument("--speed", action="store_true", help="time a large volume, and nothing else")
    given = parser.parse_args()
    if given.speed:
        print_speed()
        return
    for name in given.backends:
        print_backend(name, given.flips)
    if given.picture:
        draw(given.backends[-1], given.flips, given.picture)


if __name__ == "__main__":
    main()
