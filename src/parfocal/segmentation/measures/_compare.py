"""Two segmentations of one image compared: everything from one contingency table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.linking import Overlaps, assign, overlaps

THRESHOLDS = tuple(np.round(np.arange(0.5, 1.0, 0.05), 2).tolist())
"""IoU 0.5, 0.55 ... 0.95."""


@dataclass(frozen=True)
class Matching:
    """Objects of truth and prediction paired off at one IoU.

    Parameters
    ----------
    tau : float
        The least IoU of a pair.
    tp, fp, fn : int
        Pairs; predicted objects and true ones without a partner.
    pairs : int64[tp, 2]
        Ids: true, predicted.
    iou : float64[tp]
        Of each pair.
    """

    tau: float
    tp: int
    fp: int
    fn: int
    pairs: NDArray[np.int64]
    iou: NDArray[np.float64]

    @property
    def ap(self) -> float:
        """TP / (TP + FP + FN); 1 where there is nothing to find and nothing was found."""
        return _share(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """TP / (TP + FP)."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """TP / (TP + FN)."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN), also called recognition quality."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)


@dataclass(frozen=True)
class Comparison:
    """How a segmentation compares with the truth. Label 0 is background; ids of the two have nothing in common.

    Whatever is asked of two empty segmentations says that they agree: 1 for scores, 0 for errors.

    Parameters
    ----------
    table : Overlaps
        True objects are `a`, predicted ones `b`.
    """

    table: Overlaps

    def at(self, tau: float = 0.5) -> Matching:
        """Pair objects off at an IoU of `tau` or more: as many pairs as possible, then the largest sum of IoU.

        Raises
        ------
        BadInputError
            `tau` is not above 0 and at most 1.
        """
        if not 0 < tau <= 1:
            raise BadInputError(f"compare: tau is {tau}, expected an IoU above 0, at most 1")
        t = self.table
        iou = t.iou
        ok = np.flatnonzero(iou >= tau)
        n_true, n_found = t.ids_a.size, t.ids_b.size
        cost = -1.0 - iou[ok] / (2 * max(min(n_true, n_found), 1))  # no sum of IoU outweighs a pair
        pairs = assign(t.index_a[ok], t.index_b[ok], cost, n_true, n_found, 0.0)
        keys = t.index_a * max(n_found, 1) + t.index_b
        of_pair = iou[np.searchsorted(keys, pairs[:, 0].astype(np.int64) * max(n_found, 1) + pairs[:, 1])]
        ids = np.column_stack([t.ids_a[pairs[:, 0]], t.ids_b[pairs[:, 1]]])
        return Matching(tau, len(pairs), n_found - len(pairs), n_true - len(pairs), ids, of_pair)

    def ap(self, tau: float = 0.5) -> float:
        """TP / (TP + FP + FN) at an IoU, called average precision by Cellpose and accuracy by StarDist."""
        return self.at(tau).ap

    @cached_property
    def mean_ap(self) -> float:
        """Mean of `ap` over `THRESHOLDS`."""
        return float(np.mean([self.ap(tau) for tau in THRESHOLDS]))

    @cached_property
    def _half(self) -> Matching:
        return self.at(0.5)

    @property
    def f1(self) -> float:
        """F1 at an IoU of 0.5."""
        return self._half.f1

    @property
    def precision(self) -> float:
        """Precision at an IoU of 0.5."""
        return self._half.precision

    @property
    def recall(self) -> float:
        """Recall at an IoU of 0.5."""
        return self._half.recall

    @property
    def rq(self) -> float:
        """Recognition quality: F1 at 0.5."""
        return self._half.f1

    @property
    def sq(self) -> float:
        """Segmentation quality: mean IoU of the pairs at 0.5."""
        if not self._half.tp:
            return 1.0 if self.rq == 1.0 else 0.0
        return float(self._half.iou.mean())

    @property
    def pq(self) -> float:
        """Panoptic quality, `sq * rq` (A. Kirillov et al., CVPR 2019)."""
        return self.sq * self.rq

    @cached_property
    def seg(self) -> float:
        """SEG of the Cell Tracking Challenge: mean IoU of true objects with what covers more than half of each."""
        t = self.table
        if not t.ids_a.size:
            return 1.0 if not t.ids_b.size else 0.0
        covers = 2 * t.shared > t.area_a[t.index_a]
        return float(t.iou[covers].sum() / t.ids_a.size)

    @cached_property
    def splits(self) -> int:
        """True objects found as two or more: each covers 10 % of it at least, and lies in it by half at least."""
        t = self.table
        return _broken(t.index_a, t.shared / t.area_a[t.index_a], t.shared / t.area_b[t.index_b])

    @cached_property
    def merges(self) -> int:
        """Found objects that are two or more true ones: `splits` the other way round."""
        t = self.table
        return _broken(t.index_b, t.shared / t.area_b[t.index_b], t.shared / t.area_a[t.index_a])

    @cached_property
    def _information(self) -> tuple[float, float]:
        t = self.table
        n = float(t.n_elements)
        if not n:
            return 0.0, 0.0
        # background is a label like others: what objects leave over
        back_a = t.area_a - np.bincount(t.index_a, t.shared, t.ids_a.size)
        back_b = t.area_b - np.bincount(t.index_b, t.shared, t.ids_b.size)
        nowhere = n - t.area_a.sum() - back_b.sum()
        joint = _entropy(np.concatenate([t.shared, back_a, back_b, [nowhere]]) / n)
        of_a = _entropy(np.append(t.area_a, n - t.area_a.sum()) / n)
        of_b = _entropy(np.append(t.area_b, n - t.area_b.sum()) / n)
        return max(joint - of_a, 0.0), max(joint - of_b, 0.0)

    @property
    def voi_split(self) -> float:
        """H(predicted | true) over all voxels, bits: what over-segmentation adds (M. Meila, 2007)."""
        return self._information[0]

    @property
    def voi_merge(self) -> float:
        """H(true | predicted) over all voxels, bits: what under-segmentation adds."""
        return self._information[1]

    @property
    def voi(self) -> float:
        """Variation of information, bits."""
        return sum(self._information)

    @cached_property
    def aji(self) -> float:
        """Aggregated Jaccard index (N. Kumar et al., IEEE TMI 36, 1550, 2017).

        Sum of intersections over sum of unions, each true object with the one that it has the largest IoU with;
        what no true object chose counts in the union.
        """
        t = self.table
        if not t.ids_a.size:
            return 1.0 if not t.ids_b.size else 0.0
        order = np.lexsort((-t.iou, t.index_a))
        first = np.flatnonzero(np.diff(t.index_a[order], prepend=-1))
        best = order[first]
        union = float((t.area_a[t.index_a[best]] + t.area_b[t.index_b[best]] - t.shared[best]).sum())
        alone = np.setdiff1d(np.arange(t.ids_a.size), t.index_a[best])
        unused = np.setdiff1d(np.arange(t.ids_b.size), t.index_b[best])
        return float(t.shared[best].sum()) / (union + float(t.area_a[alone].sum() + t.area_b[unused].sum()))

    def as_dict(self) -> dict[str, float]:
        """Return every measure by name, AP at 0.5, 0.75 and 0.9."""
        return {
            "n_true": float(self.table.ids_a.size),
            "n_predicted": float(self.table.ids_b.size),
            "ap50": self.ap(0.5),
            "ap75": self.ap(0.75),
            "ap90": self.ap(0.9),
            "mean_ap": self.mean_ap,
            **{
                name: float(getattr(self, name))
                for name in ("f1", "precision", "recall", "pq", "sq", "rq", "seg", "splits", "merges")
            },
            **{name: float(getattr(self, name)) for name in ("voi_split", "voi_merge", "aji")},
        }


def compare(truth: ArrayLike, predicted: ArrayLike) -> Comparison:
    """Compare a segmentation with the truth.

    Parameters
    ----------
    truth, predicted : array_like of int
        Labels of one shape, 2D or 3D; 0 is background.

    Raises
    ------
    BadInputError
        Shapes differ, or labels are not whole numbers from 0.
    """
    return Comparison(overlaps(truth, predicted))


def iou_3d(a: ArrayLike, b: ArrayLike) -> float:
    """Return intersection over union of two masks (whatever is not 0); 1 where both are empty.

    Raises
    ------
    BadInputError
        Shapes differ.
    """
    both, either, _ = _masks(a, b, "iou")
    return _share(both, either)


def dice_3d(a: ArrayLike, b: ArrayLike) -> float:
    """Return `2 |A and B| / (|A| + |B|)` of two masks (whatever is not 0); 1 where both are empty.

    Raises
    ------
    BadInputError
        Shapes differ.
    """
    both, _, areas = _masks(a, b, "dice")
    return _share(2 * both, areas)


def split_merge_errors(truth: ArrayLike, predicted: ArrayLike) -> tuple[int, int]:
    """Return `Comparison.splits` and `Comparison.merges`: a pixel that leaks is neither.

    Raises
    ------
    BadInputError
        As `compare`.
    """
    found = compare(truth, predicted)
    return found.splits, found.merges


def _masks(a: ArrayLike, b: ArrayLike, what: str) -> tuple[int, int, int]:
    first, second = np.asarray(a) != 0, np.asarray(b) != 0
    if first.shape != second.shape:
        raise BadInputError(f"{what}: masks of shape {first.shape} and {second.shape}, expected one shape")
    both, areas = int(np.count_nonzero(first & second)), int(np.count_nonzero(first) + np.count_nonzero(second))
    return both, areas - both, areas


def _broken(whole: NDArray[np.int64], of_whole: NDArray[np.float64], of_part: NDArray[np.float64]) -> int:
    parts = (of_whole >= 0.1) & (of_part >= 0.5)
    return int(np.count_nonzero(np.bincount(whole[parts]) >= 2))


def _entropy(p: NDArray[np.float64]) -> float:
    there = p[p > 0]
    return float(-(there * np.log2(there)).sum())


def _share(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else 1.0
