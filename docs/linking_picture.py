"""Draw docs/images/linking.png: a stack from the side, its planes linked by IoU alone, and as `link_planes` does.

python docs/linking_picture.py
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap

from parfocal.bench._segmentation_stacks import ellipsoid_stack, touching_columns
from parfocal.segmentation.measures import compare
from parfocal.segmentation.planes import LinkSettings, link_planes

mpl.use("Agg")
from matplotlib import pyplot as plt

IOU_ALONE = LinkSettings(max_distance_z=1, min_containment=1.0, min_containment_iou=1.0, neck_ratio=0)


def side(labels, row):
    """Colours of one xz section; an id keeps its colour."""
    colours = np.zeros_like(labels[:, row])
    there = labels[:, row] > 0
    colours[there] = 1 + (labels[:, row][there].astype(np.int64) * 7919) % 97
    return colours


def main(path):
    palette = plt.get_cmap("hsv")(np.linspace(0, 1, 97))
    palette[:, :3] = 0.25 + 0.7 * palette[np.random.default_rng(1).permutation(97), :3]
    colours = ListedColormap(np.vstack([[0.08, 0.08, 0.1, 1], palette]))
    stacks = (
        ("Nuclei apart, 3 % of masks missing", *ellipsoid_stack(seed=0)),
        ("Nuclei that touch, one upon the other", *touching_columns(seed=0)),
    )
    figure, axes = plt.subplots(4, 2, figsize=(10, 8.2), layout="constrained", width_ratios=(2, 1))
    for column, (title, truth, planes) in enumerate(stacks):
        row = int(np.argmax((truth > 0).sum(axis=(0, 2))))  # the fullest
        by_iou, linked = link_planes(planes, IOU_ALONE), link_planes(planes)
        rows = (
            (f"{title}\ntruth: {truth.max()} nuclei", truth),
            ("masks of each plane", planes),
            (f"IoU alone: {by_iou.n_objects}, AP@0.5 {compare(truth, by_iou.labels).ap():.3f}", by_iou.labels),
            (f"link_planes: {linked.n_objects}, AP@0.5 {compare(truth, linked.labels).ap():.3f}", linked.labels),
        )
        for axis, (name, labels) in zip(axes[:, column], rows, strict=True):
            axis.imshow(side(labels, row), cmap=colours, vmin=0, vmax=97, aspect="auto", interpolation="nearest")
            axis.set_title(name, fontsize=10, loc="left")
            axis.set_xticks([])
            axis.set_ylabel("z")
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "linking.png")
