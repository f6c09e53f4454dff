"""Draw `docs/images/synthetic-nuclei.png`: a section of a volume of each scene, and its labels.

Run as `python docs/synthetic_nuclei_picture.py` from the repository root; needs matplotlib.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

from parfocal.segmentation.generator import (
    FIELDS,
    SCENES,
    field_recipe,
    hard_recipe,
    nuclei_patch,
    nuclei_plane,
    of_scene,
)

_SEEDS = {"embryo": 12, "sparse": 3}


def main() -> None:
    """Write the picture."""
    shown = []
    for scene in SCENES:
        patch = nuclei_patch(_SEEDS.get(scene, 1), of_scene(scene, shape_zyx=(32, 96, 96)))
        shown.append((scene, patch.image[16], patch.image[:, 48], patch.labels[16]))
    for seed in (1, 2):
        patch = nuclei_patch(seed, hard_recipe((32, 96, 96)))
        shown.append((f"hard: {patch.scene}", patch.image[16], patch.image[:, 48], patch.labels[16]))
    for field in list(FIELDS)[:4]:
        plane = nuclei_plane(2, replace(field_recipe((96, 96)), shares={field: 1.0}))
        shown.append((f"plane: {field}", plane.image, None, plane.labels))
    figure, axes = plt.subplots(4, 14, figsize=(21, 7.2), height_ratios=[3, 3, 3, 3])
    colours = np.vstack([[[0, 0, 0]], np.random.default_rng(0).uniform(0.25, 1, (400, 3))])
    for k, (name, plane, side, labels) in enumerate(shown):
        row, column = 2 * (k // 7), 2 * (k % 7)
        low, high = np.percentile(plane, (1, 99.8))
        axes[row, column].imshow(plane, cmap="gray", vmin=low, vmax=high)
        axes[row, column].set_title(name, fontsize=10, loc="left")
        axes[row, column + 1].imshow(colours[np.where(labels > 0, 1 + labels % 399, 0)])
        if side is not None:
            axes[row + 1, column].imshow(side, cmap="gray", vmin=low, vmax=high)
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout(pad=0.3)
    figure.savefig(Path(__file__).parent / "images" / "synthetic-nuclei.png", dpi=60)


if __name__ == "__main__":
    main()
