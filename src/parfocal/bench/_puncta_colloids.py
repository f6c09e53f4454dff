"""Rows of `puncta`: real colloids in water beside trackpy and LapTrack, and puncta that are stuck, simulated.

The colloids are those of trackpy's own walkthrough, whose settings trackpy gets: locate with a diameter of 11 and
a mass of 20 or more, link within 5 px with a memory of 3. No truth is known of them, but physics says how they
spread: in proportion to time. The video was compressed before it was published, so that no noise of a camera is
left to set a threshold by: ours is the multiple of the finest plane's scatter that we use where a gain is not
known, and what `auto` finds stands beside it. Stuck and slow puncta are simulated, from light to pixels, and told
from each other by tracks of what is found in these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.bench._puncta_others import OtherPrograms, long_tracks, recording_of_others, show_table
from parfocal.bench._puncta_tracks import f1_of_links, links_of
from parfocal.bench._table import Row
from parfocal.files import open_stack
from parfocal.puncta import Localizations, PunctaTracks
from parfocal.puncta.detection import LocalizeSettings, guess_camera, localize_movie
from parfocal.puncta.evaluation import match_localizations
from parfocal.puncta.simulation import Background, CameraChain, Motion, PunctaScene, simulate_puncta
from parfocal.puncta.tracking import TrackSettings, fit_power_law, mobility_of, population_msd, track_puncta

_PIXEL_UM, _INTERVAL_S = 100 / 285, 1 / 24  # as trackpy's walkthrough says
_MAX_STEP_PX, _MAX_MISSING, _MIN_FRAMES, _N_LAGS = 5.0, 3, 20, 10
_DIAMETER_PX, _MIN_MASS = 11, 20.0
_SLOW_UM2_S = (1e-3, 1e-2, 1e-4)
"""The first is a row: in a frame it goes as far as it is misplaced."""
_SEEDS = (1, 2, 3)


Linked = tuple[Localizations, PunctaTracks]


@dataclass(frozen=True)
class Spreading:
    """How tracks spread once what all do together is taken off.

    Parameters
    ----------
    n_points, n_tracks : int
        Points in tracks of 20 frames or more, and these.
    slope, r2 : float
        Of the mean squared displacement over lags of 1 to 10 frames: in logarithms, and how straight it is.
    exponent : float
        The same slope once localization error and the blur of a shutter that is always open are off.
    d_um2_s, floor_um2 : float
        A quarter of the straight line's slope, and where the line begins.
    mobile_share : float
        Of the tracks.
    """

    n_points: int
    n_tracks: int
    slope: float
    r2: float
    exponent: float
    d_um2_s: float
    floor_um2: float
    mobile_share: float


def colloid_rows(others: OtherPrograms) -> list[Row]:
    """Measure how real colloids spread in our tracks, trackpy's and LapTrack's; whether ours are mobile."""
    path = recording_of_others("trackpy_bulk_water_60frames.tif", "colloids")
    if path is None:
        return []
    movie = 255 - open_stack(path, "TYX").read()
    size = (_PIXEL_UM, _PIXEL_UM)
    camera = guess_camera(*movie[:2])
    # colloids are larger than a spread function, so that more spots in a fit would only take them apart
    how = LocalizeSettings(threshold="2*std(Wave.F1)", max_emitters=1)
    ours = localize_movie(movie, camera, how, size)
    by_auto = localize_movie(movie, camera, replace(how, threshold="auto"), size)
    theirs = others.found_by_trackpy(movie, size, diameter=_DIAMETER_PX, minmass=_MIN_MASS)
    names, limits = others.linker_names, (_MAX_STEP_PX, _MAX_MISSING, _MIN_FRAMES)
    settings = TrackSettings(_MAX_STEP_PX * _PIXEL_UM, _MAX_MISSING, min_frames=_MIN_FRAMES)
    on_own = f"{names['trackpy']}, its own points"
    tracks = {
        "ours": (ours, track_puncta(ours, settings)),
        "ours, threshold auto": (by_auto, track_puncta(by_auto, settings)),
        names["trackpy"]: (ours, others.linked_by_trackpy(ours, *limits)),
        names["laptrack"]: (ours, others.linked_by_laptrack(ours, *limits)),
        on_own: (theirs, others.linked_by_trackpy(theirs, *limits)),
    }
    both = _of_both(tracks["ours"], tracks[on_own])
    tracks["ours, of both"], tracks[f"{names['trackpy']}, of both"] = both
    found = {name: spreading(spots, linked) for name, (spots, linked) in tracks.items()}
    show_table(
        "Colloids in water (real, no truth), tracks of 20 frames or more of 60",
        ("a frame", "in tracks", "tracks", "slope", "R²", "exponent", "D um²/s", "floor um²", "mobile"),
        {name: (f"{len(tracks[name][0]) / len(movie):.0f}", *_cells(one)) for name, one in found.items()},
    )
    links = {
        name: links_of(ours.frame, tracks[name][1].track) for name in ("ours", names["trackpy"], names["laptrack"])
    }
    between = f1_of_links(links[names["trackpy"]], links[names["laptrack"]])
    own, one, other = found["ours"], found["ours, of both"], found[f"{names['trackpy']}, of both"]
    beside = "; ".join(f"{name} {one.exponent:.3f}" for name, one in found.items())
    return [
        Row.limited(
            "puncta/colloids-line",
            own.r2,
            0.99,
            unit="R²",
            higher_is_better=True,
            name=f"real; {on_own} {found[on_own].r2:.4f}; at least",
        ),
        Row.limited(
            "puncta/colloids-exponent",
            abs(own.exponent - 1),
            0.1,
            unit="off 1",
            name=f"real; exponents: {beside}; goal",
        ),
        Row.limited(
            "puncta/colloids-diffusion",
            100 * abs(one.d_um2_s / other.d_um2_s - 1),
            5.0,
            unit="%",
            name=f"real, no truth: D off that of {on_own} and tracks, of colloids that both follow; at most",
        ),
        *(
            Row.compared(
                f"puncta/colloids-links-vs-{name}",
                f1_of_links(links["ours"], links[names[name]]),
                between,
                peer_name=f"real, no truth: F1 with {names[name]} on the same points; theirs is of the two peers",
                unit="F1",
                higher_is_better=True,
            )
            for name in ("trackpy", "laptrack")
        ),
        Row.limited(
            "puncta/colloids-mobile",
            100 * own.mobile_share,
            99.0,
            unit="%",
            higher_is_better=True,
            name="real: tracks called mobile, at least",
        ),
    ]


def stuck_rows(others: OtherPrograms) -> list[Row]:
    """Measure how seldom what is stuck is called mobile, and what moves slowly stuck (simulated)."""
    kinds = {"stuck": Motion(1, 0, 0, 0, 0)} | {
        f"D {d:g} um²/s": Motion(0, 1, 0, 0, 0, d_um2_per_s=(d, d)) for d in _SLOW_UM2_S
    }
    cells: dict[str, tuple[str, ...]] = {}
    mobile: dict[str, float] = {}
    name = others.linker_names["trackpy"]
    for kind, motion in kinds.items():
        flags, exponents = _called_mobile(motion, others)
        mobile[kind] = float(flags.mean())
        theirs = 100 * np.mean(exponents > 0.5)
        cells[kind] = (f"{flags.size}", f"{100 * mobile[kind]:.1f}", f"{exponents.size}", f"{theirs:.1f}")
    show_table(
        f"Stuck and slow puncta (simulated): called mobile, %, beside {name} with exponents above 0.5",
        ("our tracks", "ours", "its tracks", name),
        cells,
    )
    slow = f"D {_SLOW_UM2_S[0]:g} um²/s"
    percent: dict[str, Any] = {"unit": "%", "higher_is_better": True}
    return [
        Row.limited(
            "puncta/stuck-called-immobile",
            100 * (1 - mobile["stuck"]),
            98.0,
            name="simulated; 99 % is asked of the analysis; at least",
            **percent,
        ),
        Row.limited(
            "puncta/slow-called-mobile", 100 * mobile[slow], 98.0, name=f"simulated, {slow}; at least", **percent
        ),
    ]


def spreading(spots: Localizations, tracks: PunctaTracks) -> Spreading:
    """Return how tracks spread, the same way whoever found and linked them."""
    still = without_flow(spots, tracks)
    curve = population_msd(still, tracks, _INTERVAL_S, _N_LAGS)
    moves = mobility_of(still, tracks, _INTERVAL_S)
    line = fit_power_law(curve)
    error_um = float(np.nanmedian(moves.localization_um))
    return Spreading(
        int((tracks.track >= 0).sum()),
        tracks.n_tracks,
        float(np.polyfit(np.log(curve.lag_s), np.log(curve.msd_um2), 1)[0]),
        float(np.corrcoef(curve.lag_s, curve.msd_um2)[0, 1] ** 2),
        fit_power_law(curve, error_um, _INTERVAL_S).alpha,
        line.d_um2_s,
        line.floor_um2,
        float(moves.is_mobile[moves.is_judged].mean()),
    )


def without_flow(spots: Localizations, tracks: PunctaTracks) -> Localizations:
    """Return the spots less the mean step of all tracks from each frame to the next, summed up."""
    order = np.lexsort((spots.frame, tracks.track))
    track, frame = tracks.track[order], spots.frame[order]
    steps = (track[1:] >= 0) & (track[1:] == track[:-1]) & (frame[1:] == frame[:-1] + 1)
    at = frame[1:][steps]
    n = np.maximum(np.bincount(at, minlength=spots.n_frames), 1)

    def moved(column: NDArray[np.float64]) -> NDArray[np.float64]:
        step = np.diff(column[order])[steps]
        return column - np.cumsum(np.bincount(at, step, minlength=spots.n_frames) / n)[spots.frame]

    return replace(spots, x_px=moved(spots.x_px), y_px=moved(spots.y_px))


def _of_both(ours: Linked, theirs: Linked) -> tuple[Linked, Linked]:
    """Return each one's tracks of which four points in five lie within 2 px of a point in one of the other's."""
    both: list[Linked] = []
    for (spots, tracks), (others, other_tracks) in ((ours, theirs), (theirs, ours)):
        rows, there = np.flatnonzero(tracks.track >= 0), other_tracks.track >= 0
        hit = np.zeros(len(spots), np.float64)
        hit[rows[match_localizations(spots.take(rows), others.take(there), 2 * _PIXEL_UM).truth_row]] = 1
        n = np.bincount(tracks.track[rows], minlength=tracks.n_tracks)
        share = np.bincount(tracks.track[rows], hit[rows], minlength=tracks.n_tracks) / n
        kept = np.append(share >= 0.8, False)[tracks.track]
        both.append((spots, long_tracks(np.where(kept, tracks.track, -1), _MIN_FRAMES)))
    return both[0], both[1]


def _called_mobile(motion: Motion, others: OtherPrograms) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return whether each track of ours is called mobile, and trackpy's exponents, from the same pixels."""
    flags: list[NDArray[np.bool_]] = []
    exponents: list[NDArray[np.float64]] = []
    for seed in _SEEDS:
        scene = PunctaScene(
            n_frames=60,
            n_puncta=100,
            is_count_exact=True,
            margin_px=-8,
            min_distance_px=14,
            motion=motion,
            background=Background(field_contrast=0.0),
            camera=CameraChain(kind="uniform"),
            seed=seed,
        )
        recording = simulate_puncta(scene)
        size, camera = scene.pixel_size_um, recording.camera_model
        spots = localize_movie(recording.movie, camera, pixel_size_um=size)
        tracks = track_puncta(spots, TrackSettings(_MAX_STEP_PX * size[0], _MAX_MISSING, min_frames=_MIN_FRAMES))
        moves = mobility_of(spots, tracks, scene.frame_interval_s)
        flags.append(moves.is_mobile[moves.is_judged])
        least = 300.0 * float(np.mean(camera.gain_adu_per_e))
        theirs = others.found_by_trackpy(recording.movie, size, diameter=7, minmass=least)
        exponents.append(others.exponents_by_trackpy(theirs, _MAX_STEP_PX, _MAX_MISSING, _MIN_FRAMES))
    return np.concatenate(flags), np.concatenate(exponents)


def _cells(one: Spreading) -> tuple[str, ...]:
    return (
        f"{one.n_points}",
        f"{one.n_tracks}",
        f"{one.slope:.3f}",
        f"{one.r2:.4f}",
        f"{one.exponent:.3f}",
        f"{one.d_um2_s:.3f}",
        f"{one.floor_um2:.4f}",
        f"{one.mobile_share:.3f}",
    )
