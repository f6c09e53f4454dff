"""Rows of `puncta`: real spots of which no truth is known, smFISH in two channels and telomeres over time.

Without a truth, what is found is held against itself. A false spot hardly ever has a partner in the other channel,
nor in the frames around it, and a misplaced one has it farther away; so of equally many spots, those of the better
program pair oftener and nearer, and make more whole tracks that scatter less. Every program gives as many spots as
the one that finds fewest, its brightest by its own measure: nobody's threshold counts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.bench._puncta_others import (
    OtherPrograms,
    brightest,
    long_tracks,
    recording_of_others,
    show_table,
)
from parfocal.bench._table import Row
from parfocal.files import open_stack
from parfocal.optics import CameraModel
from parfocal.puncta import Localizations
from parfocal.puncta.calcium import Colocalization, colocalize
from parfocal.puncta.detection import guess_camera, localize_movie
from parfocal.puncta.tracking import TrackSettings, mobility_of, track_puncta

_PX = (1.0, 1.0)  # lengths are in px where the recording does not say how large these are
_PAIR_PX = 2.0
_TELOMERE_UM, _INTERVAL_S = 0.11, 0.05
_MAX_STEP_PX, _MAX_MISSING, _MIN_FRAMES = 4.0, 2, 60


def smfish_rows(others: OtherPrograms) -> list[Row]:
    """Measure how often and how near spots of two channels lie together, of ours and of the peers' (real)."""
    path = recording_of_others("deepblink_smfish_c1.tif", "smFISH")
    if path is None:
        return []
    images = [open_stack(one, None).read() for one in (path, path.with_name("deepblink_smfish_c2.tif"))]
    found = [_found_by_all(image[None], guess_camera(image), _PX, others) for image in images]
    names = tuple(found[0])
    n = [min(len(spots) for spots in channel.values()) for channel in found]
    shape = (float(images[0].shape[0]), float(images[0].shape[1]))
    first, second = (
        {name: _places(brightest(spots, k)) for name, spots in channel.items()} for channel, k in zip(found, n)
    )
    pairs = {name: colocalize(first[name], second[name], _PAIR_PX, shape) for name in names}
    show_table(
        f"Two channels of smFISH (real, no truth): the {n[0]} and {n[1]} brightest, pairs within {_PAIR_PX:g} px",
        ("found", "in pairs", "by chance", "odds ratio", "p", "distance px"),
        {name: _cells(pairs[name], [len(channel[name]) for channel in found]) for name in names},
    )
    own, peers = pairs["parfocal"], names[1:]
    most = max(peers, key=lambda name: _beyond_chance(pairs[name]))
    nearest = min(peers, key=lambda name: pairs[name].median_distance_um)
    note = f"real, no truth, {n[0]} and {n[1]} brightest of each"
    return [
        Row.compared(
            "puncta/smfish-colocalized",
            100 * _beyond_chance(own),
            100 * _beyond_chance(pairs[most]),
            peer_name=f"{most}; spots in a pair beyond chance; {note}",
            unit="%",
            goal=0.95,
            higher_is_better=True,
        ),
        Row.compared(
            "puncta/smfish-distance",
            own.median_distance_um,
            pairs[nearest].median_distance_um,
            peer_name=f"{nearest}; median of the pairs; {note}",
            unit="px",
            goal=0.95,
        ),
    ]


def telomere_rows(others: OtherPrograms) -> list[Row]:
    """Measure how whole tracks of real telomeres are, and how much they scatter, of ours and of the peers'."""
    path = recording_of_others("telomeres_frames000-079.tif", "telomeres")
    if path is None:
        return []
    movie = open_stack(path, "TYX").read()
    size = (_TELOMERE_UM, _TELOMERE_UM)
    found = _found_by_all(movie, guess_camera(*movie[:2]), size, others)
    n = min(len(spots) for spots in found.values())
    kept = {name: brightest(spots, n) for name, spots in found.items()}
    settings = TrackSettings(_MAX_STEP_PX * _TELOMERE_UM, _MAX_MISSING, min_frames=_MIN_FRAMES)
    tracks = {
        name: track_puncta(spots, settings)
        if name == "parfocal"
        else others.linked_by_trackpy(spots, _MAX_STEP_PX, _MAX_MISSING, _MIN_FRAMES)
        for name, spots in kept.items()
    }
    n_frames = len(movie)
    whole = {name: one.n_tracks for name, one in tracks.items()}
    errors = {name: _errors_nm(kept[name], tracks[name].track) for name in kept}
    show_table(
        f"Telomeres (real, no truth): the {n} brightest of {n_frames} frames, tracks of {_MIN_FRAMES} or more",
        ("found", "a frame", "tracks", "error nm"),
        {
            name: (
                f"{len(found[name])}",
                "{:.0f} to {:.0f}".format(*_range(np.bincount(kept[name].frame, minlength=n_frames))),
                f"{whole[name]}",
                f"{errors[name]:.1f}",
            )
            for name in kept
        },
    )
    peers = tuple(found)[1:]
    most, least = max(peers, key=lambda name: whole[name]), min(peers, key=lambda name: errors[name])
    note = f"real, no truth, the {n} brightest of each"
    return [
        Row.compared(
            "puncta/telomere-tracks",
            whole["parfocal"],
            max(whole[most], 1e-9),
            peer_name=f"{most}, linked by trackpy; tracks of {_MIN_FRAMES} of {n_frames} frames; {note}",
            unit="tracks",
            goal=0.95,
            higher_is_better=True,
        ),
        Row.compared(
            "puncta/telomere-error",
            errors["parfocal"],
            errors[least],
            peer_name=f"{least}; error along an axis by the covariance of steps, root mean square; {note}",
            unit="nm",
            goal=0.95,
        ),
    ]


def _found_by_all(
    movie: NDArray[Any], camera: CameraModel, size: tuple[float, float], others: OtherPrograms
) -> dict[str, Localizations]:
    """Return spots by program, ours first, the peers' from the faintest they can tell; all in 7 px."""
    picasso, trackpy = others.finder_names
    return {
        "parfocal": localize_movie(movie, camera, pixel_size_um=size),
        picasso: others.found_by_picasso(movie, camera, size, box=7, gradient=0.0),
        trackpy: others.found_by_trackpy(movie, size, diameter=7, minmass=0.0),
    }


def _places(spots: Localizations) -> NDArray[np.float64]:
    return np.column_stack((spots.y_px, spots.x_px))


def _beyond_chance(pairs: Colocalization) -> float:
    """Return the share of the first channel in a pair, less what shifted channels give."""
    return max((pairs.n_pairs - pairs.expected_pairs) / max(pairs.n_a, 1), 1e-9)


def _errors_nm(spots: Localizations, track: NDArray[np.int64]) -> float:
    """Return the localization error along an axis that steps show, of all tracks together.

    Errors as they were told are left out: they are asked of the steps alone, of everybody.
    """
    bare = Localizations(spots.pixel_size_um, spots.frame, spots.x_px, spots.y_px, spots.photons)
    moves = mobility_of(bare, long_tracks(track, _MIN_FRAMES), _INTERVAL_S)
    squares = np.square(moves.localization_um[np.isfinite(moves.localization_um)])
    return 1e3 * math.sqrt(float(squares.mean())) if squares.size else math.nan


def _range(counts: NDArray[np.int64]) -> tuple[int, int]:
    return int(counts.min()), int(counts.max())


def _cells(pairs: Colocalization, found: list[int]) -> tuple[str, ...]:
    return (
        f"{found[0]}, {found[1]}",
        f"{100 * pairs.fraction_a:.1f} %",
        f"{100 * pairs.expected_pairs / max(pairs.n_a, 1):.1f} %",
        f"{pairs.odds_ratio:.1f}",
        f"{pairs.p:.3f}",
        f"{pairs.median_distance_um:.3f}",
    )
