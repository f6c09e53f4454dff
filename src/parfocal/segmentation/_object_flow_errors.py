"""How far the masks of a segmentation are from the flow that its network gave."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation._segmentation import Segmentation


def object_flow_errors(segmentation: Segmentation) -> NDArray[np.float64] | None:
    """Return the flow error of each id 0 to the largest (see `flows.flow_errors`), NaN where an id has no voxel.

    None where there is no network's output at the labels' voxels. A flow of two components beside a volume is that
    of a network that looks at planes: its errors are those of the planes, weighed by area.
    """
    output, labels = segmentation.output, segmentation.labels
    if output is None or labels.ndim != 3 or output.flow.shape[-2:] != labels.shape[-2:]:
        return None
    from parfocal.segmentation.flows import flow_errors  # numba is slow to import

    flow = output.flow
    n = int(labels.max(initial=0)) + 1
    if flow.ndim == 3 and labels.shape[0] == 1:  # a plane's output beside a volume of one
        flow = flow[:, None]
    if flow.ndim != 4 or flow.shape[1] != labels.shape[0]:
        return None
    if n == 1:
        return np.full(1, np.nan)
    if flow.shape[0] == 3 and labels.shape[0] > 1:
        errors = flow_errors(labels, flow, segmentation.voxel_size_um)
        return np.concatenate([[np.nan], errors]).astype(np.float64)
    sums, areas = np.zeros(n), np.zeros(n)
    for plane, plane_flow in zip(labels, np.moveaxis(flow[-2:], 1, 0)):
        present = np.unique(plane)
        present = present[present > 0]
        if not present.size:
            continue
        area = np.bincount(plane.ravel(), minlength=n)[present]
        compact = np.searchsorted(present, plane).astype(np.int32) + 1
        compact[plane == 0] = 0
        sums[present] += np.asarray(flow_errors(compact, plane_flow), np.float64) * area
        areas[present] += area
    with np.errstate(invalid="ignore"):
        return sums / areas
