"""A plane of an object with its outline: on a terminal in half-blocks, and as PNG."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.style import Style
from rich.text import Text
from scipy import ndimage

from parfocal.files import write_atomically
from parfocal.segmentation.corrections import ReviewItem, ReviewSession

Picture = NDArray[np.uint8]
_ITS_OUTLINE, _OTHERS = (255, 210, 0), (0, 150, 200)
_MARGIN = 0.6
_PNG_PX = 480


def picture_of(session: ReviewSession, item: ReviewItem, side_px: int = 48, z: int | None = None) -> Picture:
    """Return an object's plane, from above: grey values, its outline yellow, those of others blue.

    Parameters
    ----------
    session, item : ReviewSession, ReviewItem
    side_px : int
        Of the picture.
    z : int, optional
        Plane; that of its centre where not told.

    Returns
    -------
    uint8[side, side, 3]
    """
    plane = round(item.centroid_px[0]) if z is None else z
    plane = min(max(plane, item.box[0][0]), item.box[0][1] - 1)
    (y0, y1), (x0, x1) = item.box[1:]
    _, height_um, width_um = session.voxel_size_um
    half_um = (0.5 + _MARGIN) * max((y1 - y0) * height_um, (x1 - x0) * width_um)
    steps_um = (np.arange(side_px) + 0.5) / side_px * 2 * half_um - half_um
    rows = np.round((y0 + y1 - 1) / 2 + steps_um / height_um).astype(int)
    columns = np.round((x0 + x1 - 1) / 2 + steps_um / width_um).astype(int)
    n_rows, n_columns = session.labels.shape[1:]
    inside = ((rows >= 0) & (rows < n_rows))[:, None] & ((columns >= 0) & (columns < n_columns))[None]
    where = np.ix_(np.clip(rows, 0, n_rows - 1), np.clip(columns, 0, n_columns - 1))
    pixels = session.image[plane][where].astype(np.float64)
    labels = np.where(inside, session.labels[plane][where], 0)
    low, high = np.percentile(pixels[inside], (1, 99.8)) if inside.any() else (0.0, 1.0)
    grey = np.clip((pixels - low) / max(float(high - low), 1e-9), 0, 1)
    rgb = np.repeat((grey * 255 * inside).astype(np.uint8)[..., None], 3, axis=2)
    eroded = ndimage.minimum_filter(labels, 3) != ndimage.maximum_filter(labels, 3)
    rgb[eroded & (labels > 0)] = _OTHERS
    rgb[eroded & (labels == item.object_id)] = _ITS_OUTLINE
    return rgb


def half_blocks(picture: Picture) -> Text:
    """Return a picture for a terminal: two pixels a character, one above the other."""
    text = Text(no_wrap=True)
    for row in range(0, picture.shape[0] - 1, 2):
        for upper, lower in zip(picture[row], picture[row + 1], strict=True):
            text.append("▀", Style(color=_colour(upper), bgcolor=_colour(lower)))
        text.append("\n")
    return text


def save_picture(session: ReviewSession, item: ReviewItem, folder: Path) -> Path:
    """Write an object's picture as `object_00012.png`, in its plane and the ones a quarter from its ends."""
    from matplotlib.image import imsave

    low, high = item.box[0][0], item.box[0][1] - 1
    planes = sorted({round(low + part * (high - low)) for part in (0.25, 0.5, 0.75)})
    wide = np.concatenate([picture_of(session, item, _PNG_PX, z) for z in planes], axis=1)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"object_{item.object_id:05d}.png"
    with write_atomically(target) as temporary:
        imsave(temporary, wide, format="png")
    return target


def terminal_side_px(columns: int, rows: int) -> int:
    """Return the side of a picture that leaves room for words below it."""
    return max(16, 2 * math.floor(min(columns - 2, 2 * (rows - 8), 60) / 2))


def _colour(rgb: NDArray[np.uint8]) -> Color:
    return Color.from_rgb(int(rgb[0]), int(rgb[1]), int(rgb[2]))
