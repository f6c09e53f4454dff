"""Labels as one who looks at the image draws them, and not as the specimen was before any optics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation.generator._outline_kernel import draw_seen

Labels = NDArray[np.int32]


VISIBLE = 0.1
"""Share of its brightest plane that a plane must show of a nucleus to be outlined: the contrast below which detail
is commonly said to be lost (where a modulation transfer function is read for a lens's resolution)."""


def seen_labels(labels: Labels, sigma_zyx_px: tuple[float, float, float]) -> Labels:
    """Return the nuclei as far as they are seen to reach through a blur, under the same ids.

    Every nucleus, taken as evenly bright, is blurred by itself. It reaches to where that is midway between nothing
    and its own mean within that very outline [1]_: the half-maximum where it is sharp, less where so much blur
    lies on it that it has no plateau any more. A voxel that several reach belongs to the one that is further above
    its own level there.

    Labels drawn by hand on volumes follow what is seen: along z nuclei are longer in them than they are.

    Parameters
    ----------
    labels : int32[z, y, x]
        Ids 1 to n.
    sigma_zyx_px : (float, float, float)
        Of the blur; up to 0.2 is none.

    References
    ----------
    .. [1] T. W. Ridler, S. Calvard, "Picture thresholding using an iterative selection method", IEEE Trans. Syst.
       Man Cybern. 8, 630 (1978).
    """
    return _outlined(labels, sigma_zyx_px, by_plane=False)


def drawn_labels(labels: Labels, sigma_zyx_px: tuple[float, float, float]) -> Labels:
    """Return the nuclei as one draws them who goes through the volume plane by plane, under the same ids.

    Every nucleus is blurred as in `seen_labels`. In each plane that shows a tenth (`VISIBLE`) of what its
    brightest plane does, it reaches to where it is midway between nothing and its own mean within that outline: a
    plane is looked at by itself, and what is dim in it is outlined at half of that. Along z a nucleus so ends
    where it can no longer be seen, not at half of its light; nor is it in planes where another one lies over its
    brightest voxel: what of it shows beside that one stays unlabelled there. A voxel that several reach belongs to
    the one that is further above its own level in the volume, as in `seen_labels`.

    Parameters
    ----------
    labels : int32[z, y, x]
        Ids 1 to n.
    sigma_zyx_px : (float, float, float)
        Of the blur; up to 0.2 is none.
    """
    return _outlined(labels, sigma_zyx_px, by_plane=True)


def _outlined(labels: Labels, sigma_zyx_px: tuple[float, float, float], *, by_plane: bool) -> Labels:
    outlined = np.zeros_like(labels)
    best = np.zeros(labels.shape, np.float32)
    sigma = np.asarray(sigma_zyx_px, np.float64)
    draw_seen(labels, int(labels.max(initial=0)), sigma, by_plane, VISIBLE, best, outlined)
    return outlined
