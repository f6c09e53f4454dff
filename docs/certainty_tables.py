"""How well signals that need no truth tell wrong objects from right ones: `python docs/certainty_tables.py [N]`.

Simulated volumes, half of them dim, that no network was trained on; `unet3d` with the shipped weights.
"""

import sys

import numpy as np
from scipy.stats import rankdata

from parfocal.segmentation.backends import open_backend
from parfocal.segmentation.generator import Imaging, NucleiRecipe, nuclei_patch
from parfocal.segmentation.uncertainty import object_doubts

SIGNALS = ("flow", "boundary", "logits", "shape")
DIM, BRIGHT = Imaging(peak_photons=(4.0, 20.0)), Imaging(peak_photons=(40.0, 200.0))


def is_right(labels, object_id, truth):
    """Say whether an object has an IoU of at least 0.5 with a true one."""
    mask = labels == object_id
    shared = np.bincount(truth[mask], minlength=1)
    shared[0] = 0
    best = int(shared.argmax())
    return bool(shared[best]) and shared[best] / (mask.sum() + (truth == best).sum() - shared[best]) >= 0.5


def main(n_volumes):
    """Print a row a signal."""
    backend = open_backend("unet3d")
    right, values = [], []
    for k in range(n_volumes):
        recipe = NucleiRecipe(shape_zyx=(32, 80, 80), imaging=DIM if k % 2 else BRIGHT)
        patch = nuclei_patch(8_000_000 + k, recipe)
        found = backend.segment_volume(patch.image, (1.0, 1.0, 1.0))
        doubts = object_doubts(found)
        right += [is_right(found.labels, int(i), patch.labels) for i in doubts.ids]
        values += list(np.stack([doubts.signals[name] for name in SIGNALS], axis=1))
    ok, table = np.array(right), np.array(values)
    print(f"{ok.size} objects in {n_volumes} simulated volumes, {np.count_nonzero(~ok)} of them wrong")
    print(f"{'signal':10} {'AUC':>5} {'right: 50 %':>12} {'95 %':>6} {'wrong: 10 %':>12} {'50 %':>6}")
    for name, column in zip(SIGNALS, table.T, strict=True):
        known = np.isfinite(column)
        ranks, wrong = rankdata(column[known]), ~ok[known]
        n_wrong, n_right = wrong.sum(), (~wrong).sum()
        auc = (ranks[wrong].sum() - n_wrong * (n_wrong + 1) / 2) / (n_wrong * n_right)
        of_right, of_wrong = column[known][~wrong], column[known][wrong]
        low, high = np.quantile(of_right, (0.5, 0.95)), np.quantile(of_wrong, (0.1, 0.5))
        print(f"{name:10} {auc:5.2f} {low[0]:12.2f} {low[1]:6.2f} {high[0]:12.2f} {high[1]:6.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24)
