"""Several networks asked of one movie: puncta that most of them see, where they see them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import tee
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta._localizations import COLUMNS, Localizations, join_localizations, no_localizations
from parfocal.puncta.networks._localize import Refit, as_localizations
from parfocal.puncta.networks._net import PunctaNet
from parfocal.puncta.networks._predict import answers
from parfocal.puncta.networks._refit import RefitSettings, Refitter

_MEANS = (
    "photons", "background", "sigma_x_px", "sigma_y_px", "photons_se", "background_sd", "z_um", "z_se_um",
    "probability", "misfit", "calcium_probability",
)  # fmt: skip


def localize_with_ensemble(
    frames: Iterable[NDArray[Any]],
    nets: Sequence[PunctaNet],
    *,
    camera_model: CameraModel,
    pixel_size_um: tuple[float, float],
    refit: Refit = "crowds",
    refit_settings: RefitSettings | None = None,
    tolerance_px: float = 1.0,
    first_frame: int = 0,
    on_progress: Callable[[int], object] | None = None,
) -> Localizations:
    """Return the puncta that at least half of several networks see; see `join_members`.

    Averaging the networks' maps pixel by pixel would mix what different pixels claim: members are joined as
    localizations. All of them read the movie together, frame by frame; refits follow what was joined.

    Parameters
    ----------
    frames, camera_model, pixel_size_um, refit, refit_settings, first_frame, on_progress
        As in `localize_with_net`.
    nets : sequence of PunctaNet
        Trained with different seeds (`parfocal train puncta --seeds 5`).
    tolerance_px : float
        As in `join_members`.

    Raises
    ------
    BadInputError
        There is no network, or a frame cannot be used.
    """
    if not nets:
        raise BadInputError("ensemble: no network; expected at least one")
    refitter = Refitter(camera_model, refit_settings, excess_noise=camera_model.excess_noise)
    streams = [answers(part, net, camera_model) for part, net in zip(tee(frames, len(nets)), nets, strict=True)]
    parts = [no_localizations(pixel_size_um)]
    for each in zip(*streams, strict=True):
        members = [
            as_localizations(answer, net, net.settings, pixel_size_um, first_frame)
            for answer, net in zip(each, nets, strict=True)
        ]
        found = join_members(members, tolerance_px=tolerance_px)
        if refit != "none":
            found = refitter.refitted(each[0].frame, found, crowds=refit == "crowds")
        parts.append(found)
        if on_progress is not None:
            on_progress(each[0].index + 1)
    return join_localizations(parts)


def join_members(members: Sequence[Localizations], *, tolerance_px: float = 1.0) -> Localizations:
    """Return the puncta that at least half of the members have, frame by frame.

    From the most probable down, a punctum takes the nearest of each other member within the tolerance. Positions
    are means weighed by 1 / error²; their errors are those of the members (who saw the same photons, so that more
    members do not make them smaller) and the members' spread, in squares: sqrt(1 / mean(1 / error²) + spread²).

    Raises
    ------
    BadInputError
        There is no member, or pixel sizes differ.
    """
    joined = join_localizations(members)
    member = np.concatenate([np.full(len(table), k) for k, table in enumerate(members)])
    needed = -(-len(members) // 2)
    groups: list[NDArray[np.intp]] = []
    for frame in np.unique(joined.frame):
        groups += _groups(joined, member, np.flatnonzero(joined.frame == frame), tolerance_px, needed)
    if not groups:
        return no_localizations(joined.pixel_size_um)
    columns: dict[str, NDArray[Any]] = {name: np.empty(len(groups)) for name in COLUMNS}
    columns["frame"] = np.array([joined.frame[rows[0]] for rows in groups], np.int64)
    columns["n_emitters"] = np.ones(len(groups), np.int64)
    for number, rows in enumerate(groups):
        for axis in ("x", "y"):
            at, error = getattr(joined, f"{axis}_px")[rows], getattr(joined, f"{axis}_se_px")[rows]
            weight = np.ones(len(rows)) if not np.isfinite(error).all() else 1 / np.maximum(error, 1e-6) ** 2
            mean = float(np.average(at, weights=weight))
            columns[f"{axis}_px"][number] = mean
            columns[f"{axis}_se_px"][number] = np.sqrt(
                1 / weight.mean() + np.average((at - mean) ** 2, weights=weight)
            )
        for name in _MEANS:
            columns[name][number] = getattr(joined, name)[rows].mean()
        # Members that do not see it say so too.
        columns["probability"][number] *= len(rows) / len(members)
    out = Localizations(joined.pixel_size_um, **columns)
    return out.take(np.lexsort((out.x_px, out.y_px, out.frame)))


def _groups(
    joined: Localizations, member: NDArray[Any], rows: NDArray[np.intp], tolerance_px: float, needed: int
) -> list[NDArray[np.intp]]:
    order = rows[np.argsort(-joined.probability[rows], kind="stable")]
    is_free = np.ones(len(order), bool)
    x, y, of = joined.x_px[order], joined.y_px[order], member[order]
    groups: list[NDArray[np.intp]] = []
    for k in range(len(order)):
        if not is_free[k]:
            continue
        distance = np.where(is_free, np.hypot(x - x[k], y - y[k]), np.inf)
        near = np.flatnonzero(distance <= tolerance_px)
        nearest = near[np.argsort(distance[near], kind="stable")]
        own = nearest[np.unique(of[nearest], return_index=True)[1]]  # of each member the nearest
        is_free[own] = False
        if len(own) >= needed:
            groups.append(order[own])
    return groups
