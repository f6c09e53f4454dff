"""Whether calcium and puncta have to do with each other: places, times, and what chance would give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._tracks import CalciumEvents, CalciumTraces, PunctaTracks
from parfocal.puncta.calcium._sites import CalciumSites
from parfocal.puncta.calcium._statistics import (
    chance_of,
    false_discovery,
    lagged,
    odds_ratio,
    pearson,
    spearman,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class AssociationSettings:
    """When an event is a punctum's, and how chance is asked.

    Parameters
    ----------
    min_distance_um, sigmas : float
        Nearer than the larger of the first and so many standard errors of the two places together.
    frames : int
        And not more than so many frames apart.
    n_shifts : int
        Of each kind.
    max_lag_frames : int
    min_shift_frames : int
        Smaller circular shifts would still correlate.
    seed : int
    """

    min_distance_um: float = 0.15
    sigmas: float = 2.0
    frames: int = 1
    n_shifts: int = 200
    max_lag_frames: int = 10
    min_shift_frames: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_shifts < 20:
            raise BadInputError(f"association: n_shifts is {self.n_shifts}, expected 20 or more (200 to publish)")
        if not (self.min_distance_um > 0 and self.sigmas > 0) or min(self.frames, self.max_lag_frames) < 0:
            raise BadInputError("association: distances must be above 0, frames and max_lag_frames 0 or more")


@dataclass(frozen=True, eq=False)
class TrackAssociation:
    """One row a track; NaN where it cannot be told.

    Parameters
    ----------
    n_events : int64[n_tracks]
        Of its own: neither waves nor from beside it.
    signal_fraction : float64[n_tracks]
        Share of its frames within an event of its own.
    pearson, spearman : float64[n_tracks]
        Of its photons and its dF/F0 in the same frame.
    lag_frames, lagged_pearson : float64[n_tracks]
        The lag of calcium behind the photons at which they correlate most, and that correlation.
    lag_curve : float64[n_tracks, 2 max_lag + 1]
    p, q : float64[n_tracks]
        Of the correlation against circular shifts of the track's calcium in time; q after Benjamini-Hochberg.
    n_sites : int64[n_tracks]
        Events of the image that are at it.
    p_sites, q_sites : float64[n_tracks]
        Of that number, against shifts of the events in the cell.
    """

    n_events: Ints
    signal_fraction: Floats
    pearson: Floats
    spearman: Floats
    lag_frames: Floats
    lagged_pearson: Floats
    lag_curve: Floats
    p: Floats
    q: Floats
    n_sites: Ints
    p_sites: Floats
    q_sites: Floats


@dataclass(frozen=True, eq=False)
class Association:
    """What calcium and puncta have to do with each other.

    Parameters
    ----------
    n_sites : int
        Calcium events found in the image, whether there is a punctum or not.
    event_fraction : float
        Share of them with a punctum: the seed's *puncta-Ca correlation*.
    signal_fraction : float
        Share of puncta-frames within an event of the punctum's own.
    median_distance_um : float
        Between an event's light and its punctum: the seed's *co-localization*.
    odds_ratio_time, p_time : float
        Odds of an event having a punctum over those when each track is shifted in time (circularly), and the
        chance of so many.
    odds_ratio_space, p_space : float
        The same when all events are shifted together inside the cell mask.
    expected_time, expected_space : float
        `event_fraction` by chance, mean of the shifts.
    site_track : int64[n_sites]
        The punctum of each event, -1 of none.
    site_distance_um : float64[n_sites]
        To the nearest punctum within the allowed frames.
    pearson, spearman : float
        Medians over tracks.
    tracks : TrackAssociation
    """

    n_sites: int
    event_fraction: float
    signal_fraction: float
    median_distance_um: float
    odds_ratio_time: float
    p_time: float
    odds_ratio_space: float
    p_space: float
    expected_time: float
    expected_space: float
    site_track: Ints
    site_distance_um: Floats
    pearson: float
    spearman: float
    tracks: TrackAssociation

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers of all puncta together, by name; what is not known is None."""
        names = [name for name, value in vars(self).items() if isinstance(value, int | float)]
        found: dict[str, Any] = {name: getattr(self, name) for name in names}
        return {n: None if isinstance(v, float) and not np.isfinite(v) else v for n, v in found.items()}


def own_events(
    events: CalciumEvents, localizations: Localizations, settings: AssociationSettings | None = None
) -> Flags:
    """Say of each event whether it is of its punctum: no wave, and its light not from beside it.

    Beside is farther than `AssociationSettings` allow, by more than two standard errors of where it came from.
    """
    how = settings or AssociationSettings()
    pixel_y, pixel_x = localizations.pixel_size_um
    distance = np.hypot(events.offset_y_px * pixel_y, events.offset_x_px * pixel_x)
    error = events.offset_se_px * max(pixel_y, pixel_x)
    place = np.hypot(localizations.x_se_px * pixel_x, localizations.y_se_px * pixel_y) / np.sqrt(2.0)
    typical = float(np.nanmedian(place)) if np.isfinite(place).any() else 0.0
    is_beside = distance > np.maximum(how.min_distance_um, how.sigmas * typical) + 2.0 * error
    return ~events.is_wave & ~is_beside


def associate(
    traces: CalciumTraces,
    events: CalciumEvents,
    localizations: Localizations,
    tracks: PunctaTracks,
    sites: CalciumSites | None = None,
    *,
    cell_mask: Flags | None = None,
    settings: AssociationSettings | None = None,
) -> Association:
    """Ask whether calcium is at puncta more than by chance, and whether it goes with their brightness.

    Parameters
    ----------
    traces, events
        Of `calcium_traces` and `find_events`.
    localizations, tracks
        What those were read at.
    sites : CalciumSites, optional
        Events found without regard to puncta; without them the questions about places stay open (NaN).
    cell_mask : bool ndarray of shape (height, width), optional
        Where events may be; default: the rectangle that holds all puncta.
    settings : AssociationSettings, optional
    """
    how = settings or AssociationSettings()
    rng = np.random.default_rng(how.seed)
    n_tracks, n_frames = traces.dff.shape
    own = events.take(own_events(events, localizations, how))
    per_track, is_on = _per_track(traces, own, localizations, tracks, how, rng)
    known = np.isfinite(traces.dff)
    observed: Ints = np.full(0, -1, np.int64)
    distance: Floats = np.empty(0)
    in_time = in_space = np.full(how.n_shifts, np.nan)
    p_sites, n_at = np.full(n_tracks, np.nan), np.zeros(n_tracks, np.int64)
    n = 0 if sites is None else len(sites)
    if sites is not None and n:
        places = _Places.of(localizations, tracks, n_frames, how)
        spots = np.column_stack((sites.y_px, sites.x_px))
        observed, distance = places.nearest(spots, sites.frame, sites.se_px)
        n_at = np.bincount(observed[observed >= 0], minlength=n_tracks)
        shifts = rng.integers(
            how.min_shift_frames, max(how.min_shift_frames + 1, n_frames), (how.n_shifts, n_tracks)
        )
        in_time = np.array(
            [np.mean(places.nearest(spots, sites.frame, sites.se_px, shift)[0] >= 0) for shift in shifts]
        )
        allowed = _allowed(cell_mask, localizations, sites.shape_px)
        at_least = np.zeros(n_tracks)
        in_space = np.empty(how.n_shifts)
        for k in range(how.n_shifts):
            by_chance = places.nearest(_shifted(spots, allowed, rng), sites.frame, sites.se_px)[0]
            in_space[k] = np.mean(by_chance >= 0)
            at_least += np.bincount(by_chance[by_chance >= 0], minlength=n_tracks) >= n_at
        p_sites = np.where(known.any(axis=1), (1 + at_least) / (1 + how.n_shifts), np.nan)
    fraction = float(np.mean(observed >= 0)) if n else np.nan
    has = n > 0
    return Association(
        n_sites=n,
        event_fraction=fraction,
        signal_fraction=float(is_on[known].mean()) if known.any() else np.nan,
        median_distance_um=float(np.median(distance[observed >= 0])) if (observed >= 0).any() else np.nan,
        odds_ratio_time=odds_ratio(fraction * n, n, float(in_time.mean()) * n) if has else np.nan,
        p_time=chance_of(fraction, in_time) if has else np.nan,
        odds_ratio_space=odds_ratio(fraction * n, n, float(in_space.mean()) * n) if has else np.nan,
        p_space=chance_of(fraction, in_space) if has else np.nan,
        expected_time=float(in_time.mean()),
        expected_space=float(in_space.mean()),
        site_track=observed,
        site_distance_um=distance,
        pearson=_median(per_track["pearson"]),
        spearman=_median(per_track["spearman"]),
        tracks=TrackAssociation(**per_track, n_sites=n_at, p_sites=p_sites, q_sites=false_discovery(p_sites)),
    )


def _per_track(
    traces: CalciumTraces,
    own: CalciumEvents,
    localizations: Localizations,
    tracks: PunctaTracks,
    how: AssociationSettings,
    rng: np.random.Generator,
) -> tuple[dict[str, Any], Flags]:
    n_tracks, n_frames = traces.dff.shape
    is_on = np.zeros((n_tracks, n_frames), bool)
    for track, begin, end in zip(own.track, own.begin_frame, own.end_frame):
        is_on[track, begin : end + 1] = True
    known = np.isfinite(traces.dff)
    photons = np.full((n_tracks, n_frames), np.nan)
    held = tracks.track >= 0
    photons[tracks.track[held], localizations.frame[held]] = localizations.photons[held]
    found = {
        name: np.full(n_tracks, np.nan) for name in ("pearson", "spearman", "lag_frames", "lagged_pearson", "p")
    }
    curves = np.full((n_tracks, 2 * how.max_lag_frames + 1), np.nan)
    for k in range(n_tracks):
        light, calcium = photons[k], traces.dff[k].astype(np.float64)
        found["pearson"][k] = r = pearson(light, calcium)
        found["spearman"][k] = spearman(light, calcium)
        curves[k] = lagged(light, calcium, how.max_lag_frames)
        if np.isfinite(curves[k]).any():
            best = int(np.nanargmax(curves[k]))
            found["lag_frames"][k], found["lagged_pearson"][k] = best - how.max_lag_frames, curves[k, best]
        here = np.flatnonzero(np.isfinite(light) & known[k])
        if np.isfinite(r) and here.size > 2 * how.min_shift_frames:
            steps = rng.integers(how.min_shift_frames, here.size - how.min_shift_frames + 1, how.n_shifts)
            turned = calcium[here][(np.arange(here.size)[None] - steps[:, None]) % here.size]
            turned -= turned.mean(axis=1, keepdims=True)
            centred = light[here] - light[here].mean()
            scale = np.sqrt((turned**2).sum(axis=1) * np.dot(centred, centred))
            by_chance = (turned @ centred) / np.maximum(scale, 1e-300)
            found["p"][k] = chance_of(abs(r), np.abs(by_chance))
    n_known = known.sum(axis=1)
    fraction = np.divide((is_on & known).sum(axis=1), n_known, out=np.full(n_tracks, np.nan), where=n_known > 0)
    n_events = np.bincount(own.track, minlength=n_tracks)
    columns = {"n_events": n_events, "signal_fraction": fraction, "lag_curve": curves, **found}
    return {**columns, "q": false_discovery(found["p"])}, is_on


@dataclass(frozen=True, eq=False)
class _Places:
    """Where every track is in every frame, um; and how far a thing may be from it."""

    y_um: Floats
    x_um: Floats
    error_um: Floats
    pixel_um: tuple[float, float]
    how: AssociationSettings

    @classmethod
    def of(
        cls, localizations: Localizations, tracks: PunctaTracks, n_frames: int, how: AssociationSettings
    ) -> _Places:
        held = tracks.track >= 0
        at = (tracks.track[held], localizations.frame[held])
        pixel_y, pixel_x = localizations.pixel_size_um
        error = np.hypot(localizations.x_se_px * pixel_x, localizations.y_se_px * pixel_y) / np.sqrt(2.0)
        y, x, spread = (np.full((tracks.n_tracks, n_frames), np.nan) for _ in range(3))
        for table, column in zip((y, x, spread), (localizations.y_um, localizations.x_um, np.nan_to_num(error))):
            table[at] = column[held]
        return cls(y, x, spread, localizations.pixel_size_um, how)

    def nearest(
        self, spots_px: Floats, frame: Ints, se_px: Floats, shift: Ints | None = None
    ) -> tuple[Ints, Floats]:
        """Return the track at each spot (-1 of none) and the distance to the nearest, um."""
        n_tracks, n_frames = self.y_um.shape
        best = np.full((len(spots_px), n_tracks), np.inf)
        is_near = np.zeros(best.shape, bool)
        y, x = (spots_px * self.pixel_um).T
        for step in range(-self.how.frames, self.how.frames + 1):
            when = frame + step
            inside = (when >= 0) & (when < n_frames)
            at = np.clip(when, 0, n_frames - 1)[:, None]
            if shift is not None:
                at = (at + shift) % n_frames
            rows = np.arange(n_tracks)[None]
            distance = np.hypot(self.y_um[rows, at] - y[:, None], self.x_um[rows, at] - x[:, None])
            distance = np.where(inside[:, None] & np.isfinite(distance), distance, np.inf)
            error = np.hypot(np.nan_to_num(self.error_um[rows, at]), (se_px * max(self.pixel_um))[:, None])
            is_near |= distance <= np.maximum(self.how.min_distance_um, self.how.sigmas * error)
            best = np.minimum(best, distance)
        if not n_tracks:
            return np.full(len(spots_px), -1), np.full(len(spots_px), np.inf)
        allowed = np.where(is_near, best, np.inf)
        which = allowed.argmin(axis=1)
        return np.where(np.isfinite(allowed.min(axis=1)), which, -1), best.min(axis=1)


def _allowed(mask: Flags | None, localizations: Localizations, shape: tuple[int, int]) -> Flags:
    if mask is not None:
        if mask.shape != shape or not mask.any():
            raise BadInputError(
                f"association: a cell mask of shape {mask.shape}, expected {shape} with a cell in it"
            )
        return mask.astype(bool)
    allowed = np.zeros(shape, bool)
    if len(localizations):
        low = np.floor([localizations.y_px.min(), localizations.x_px.min()]).astype(int)
        high = np.ceil([localizations.y_px.max(), localizations.x_px.max()]).astype(int) + 1
        allowed[max(0, low[0]) : high[0], max(0, low[1]) : high[1]] = True
    return allowed if allowed.any() else np.ones(shape, bool)


def _shifted(spots: Floats, allowed: Flags, rng: np.random.Generator) -> Floats:
    """Return all spots moved by the same step, round the image; those that leave the cell anywhere in it."""
    size = np.array(allowed.shape, np.float64)
    moved = (spots + rng.uniform(0, size)) % size
    at = np.minimum(moved.astype(np.int64), np.array(allowed.shape) - 1)
    outside = ~allowed[at[:, 0], at[:, 1]]
    if outside.any():
        cells = np.argwhere(allowed)
        drawn = cells[rng.integers(0, len(cells), int(outside.sum()))]
        moved[outside] = drawn + rng.uniform(-0.5, 0.5, drawn.shape)
    return moved


def _median(values: Floats) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan
