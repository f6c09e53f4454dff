"""Class labels of calcium events, made into what a network at puncta learns: signal or none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.puncta._localizations import Localizations

DEFAULT_CLASSES: Mapping[str, int] = {"background": 0, "sparks": 1, "waves": 2, "puffs": 3, "ignore": 4}
"""Values of the classes in label files of sparks, puffs and waves."""


@dataclass(frozen=True)
class LabelSettings:
    """How classes become signal or none.

    Parameters
    ----------
    classes : mapping of str to int
        Value of each class in the label files; `background`, `waves` and `ignore` have their meaning, all others
        are local events.
    filter_puncta_only : bool
        Local events are signal only within `radius_px` of a punctum of the same frame; elsewhere they are none.
    ignore_waves : bool
        Waves are neither signal nor none; otherwise they are as local events.
    radius_px : float
        About what a punctum's calcium covers: two widths.
    """

    classes: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_CLASSES))
    filter_puncta_only: bool = True
    ignore_waves: bool = True
    radius_px: float = 3.0

    def __post_init__(self) -> None:
        if "background" not in self.classes or len(set(self.classes.values())) != len(self.classes):
            raise BadInputError(
                f"calcium labels: classes {dict(self.classes)}; expected background and others, each once"
            )
        if not self.radius_px > 0:
            raise BadInputError(f"calcium labels: radius_px is {self.radius_px}, expected above 0")


@dataclass(frozen=True, eq=False)
class BinaryLabels:
    """Signal or none, for every pixel and every punctum.

    Parameters
    ----------
    signal : uint8[n_frames, height, width]
        0 none, 1 signal.
    is_ignored : bool[n_frames, height, width]
        Where neither is to be learnt.
    is_on : bool[n_localizations]
        Of each punctum: whether half of the pixels within the radius are of an event.
    class_pixels : dict of str to int
        Of the classes as they were.
    """

    signal: NDArray[np.uint8]
    is_ignored: NDArray[np.bool_]
    is_on: NDArray[np.bool_]
    class_pixels: dict[str, int]

    def balance(self) -> dict[str, int]:
        """Return how many pixels and puncta are signal, none, or ignored."""
        n_signal, n_ignored = int(self.signal.sum()), int(self.is_ignored.sum())
        return {
            "signal_pixels": n_signal,
            "no_signal_pixels": self.signal.size - n_signal - n_ignored,
            "ignored_pixels": n_ignored,
            "puncta_with_signal": int(self.is_on.sum()),
            "puncta_without_signal": int((~self.is_on).sum()),
        }


def binary_labels(
    classes: NDArray[np.generic], puncta: Localizations | None, settings: LabelSettings | None = None
) -> BinaryLabels:
    """Turn class labels `[frame, y, x]` into signal or none.

    Parameters
    ----------
    classes : integer ndarray of shape (n_frames, height, width)
    puncta : Localizations, optional
        Of the other channel, with frames and pixels as the labels'. Needed to filter.
    settings : LabelSettings, optional

    Raises
    ------
    BadInputError
        A value is of no class, the labels are not 3D, or puncta are missing.
    """
    how = settings or LabelSettings()
    given = np.asarray(classes)
    if given.ndim != 3:
        raise BadInputError(f"calcium labels: shape {given.shape}, expected [frame, y, x]")
    strange = sorted(set(np.unique(given).tolist()) - set(how.classes.values()))
    if strange:
        raise BadInputError(f"calcium labels: values {strange} are of no class; classes are {dict(how.classes)}")
    if how.filter_puncta_only and puncta is None:
        raise BadInputError("calcium labels: to keep those at puncta only, the puncta must be given")
    named = {name: given == value for name, value in how.classes.items()}
    nothing = np.zeros(given.shape, bool)
    waves, ignored = named.get("waves", nothing), named.get("ignore", nothing).copy()
    is_event = ~(named["background"] | waves | ignored)
    if how.ignore_waves:
        ignored |= waves
    else:
        is_event |= waves
    is_near, is_on = nothing.copy(), np.zeros(0, bool)
    if puncta is not None:
        is_near, is_on = _at_puncta(is_event, puncta, how.radius_px)
    signal = is_event & is_near if how.filter_puncta_only else is_event
    counts = {name: int(where.sum()) for name, where in named.items()}
    return BinaryLabels(signal.astype(np.uint8), ignored, is_on, counts)


def _at_puncta(
    is_event: NDArray[np.bool_], puncta: Localizations, radius: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which pixels are near a punctum, and which puncta have an event."""
    n_frames, height, width = is_event.shape
    reach = math.ceil(radius)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    frame = puncta.frame[:, None]
    y, x = np.rint(puncta.y_px)[:, None] + dy, np.rint(puncta.x_px)[:, None] + dx
    is_in_disc = np.hypot(y - puncta.y_px[:, None], x - puncta.x_px[:, None]) <= radius
    inside = is_in_disc & (frame < n_frames) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    at = (
        np.broadcast_to(np.minimum(frame, max(n_frames - 1, 0)), y.shape),
        np.clip(y, 0, height - 1).astype(np.int64),
        np.clip(x, 0, width - 1).astype(np.int64),
    )
    is_near = np.zeros(is_event.shape, bool)
    is_near[tuple(a[inside] for a in at)] = True
    share = (is_event[at] & inside).sum(axis=1) / np.maximum(inside.sum(axis=1), 1)
    return is_near, share >= 0.5
