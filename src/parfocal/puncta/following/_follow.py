"""All that is told of a recording whose puncta were found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._tracks import CalciumEvents, CalciumTraces, PunctaTracks
from parfocal.puncta.calcium import (
    Association,
    AssociationSettings,
    CalciumSites,
    EventSettings,
    Readings,
    associate,
    calcium_sigma_px,
    calcium_traces,
    find_events,
    find_sites,
    own_events,
    traces_of,
)
from parfocal.puncta.tables import PunctaResults
from parfocal.puncta.tracking import Mobility, TrackSettings, mobility_of, track_puncta

_USUAL_SIGMA_PX = 1.2  # of a spot whose width nobody fitted


@dataclass(frozen=True)
class FollowSettings:
    """How puncta are followed.

    Parameters
    ----------
    tracks : TrackSettings
    events : EventSettings
    association : AssociationSettings
    calcium_sigma_px : float, optional
        Width of the calcium at a punctum. Default: `calcium.calcium_sigma_px` of the median width of the spots.
    bleed_through : float, optional
        Share of a punctum's photons in the calcium channel. None: estimated.
    """

    tracks: TrackSettings = field(default_factory=lambda: TrackSettings(min_frames=3))
    events: EventSettings = field(default_factory=EventSettings)
    association: AssociationSettings = field(default_factory=AssociationSettings)
    calcium_sigma_px: float | None = None
    bleed_through: float | None = None

    def __post_init__(self) -> None:
        if self.calcium_sigma_px is not None and not self.calcium_sigma_px > 0:
            raise BadInputError(f"calcium_sigma_px is {self.calcium_sigma_px}, expected a width above 0 px")


@dataclass(frozen=True, eq=False)
class Followed:
    """What became of the puncta of a recording.

    Parameters
    ----------
    results : PunctaResults
    mobility : Mobility
    traces : CalciumTraces, optional
        Where there is a calcium channel.
    association : Association, optional
        Of `follow_puncta`, where there is one.
    """

    results: PunctaResults
    mobility: Mobility
    traces: CalciumTraces | None = None
    association: Association | None = None


def follow_puncta(
    localizations: Localizations,
    frame_interval_s: float,
    calcium: Callable[[], Iterable[NDArray[Any]]] | None = None,
    *,
    calcium_camera: CameraModel | None = None,
    exposure_s: float | None = None,
    settings: FollowSettings | None = None,
    on_progress: Callable[[str, int], None] | None = None,
) -> Followed:
    """Track puncta, tell how they move, read their calcium, and ask whether the two go together.

    Parameters
    ----------
    localizations : Localizations
        Of all frames.
    frame_interval_s : float
    calcium : callable, optional
        Returns an iterator over the frames of the calcium channel, one for each of the puncta; called twice.
    calcium_camera : CameraModel, optional
        Turns them into photoelectrons; without it they are taken to be that.
    exposure_s : float, optional
        As in `tracking.mobility_of`.
    settings : FollowSettings, optional
    on_progress : callable, optional
        Told what is being done and of how many frames.

    Raises
    ------
    BadInputError
        The interval is not above 0, or the calcium has fewer frames than puncta lie in.
    """
    how = settings or FollowSettings()
    tracks = track_puncta(localizations, how.tracks)
    mobility = mobility_of(localizations, tracks, frame_interval_s, exposure_s)
    if calcium is None:
        return _followed(localizations, tracks, mobility, None, how)
    sigma_px = how.calcium_sigma_px or _width_px(localizations)

    def said(what: str) -> Callable[[int], None]:
        return lambda frame: on_progress(what, frame) if on_progress is not None else None

    traces = calcium_traces(
        calcium(),
        localizations,
        tracks,
        sigma_px,
        frame_interval_s,
        camera_model=calcium_camera,
        bleed_through=how.bleed_through,
        on_progress=said("calcium"),
    )
    sites = find_sites(calcium(), sigma_px, camera_model=calcium_camera)
    return _followed(localizations, tracks, mobility, traces, how, sites)


def follow_read(
    localizations: Localizations,
    frame_interval_s: float,
    readings: Readings | None,
    n_frames: int,
    footprint_px: float,
    *,
    exposure_s: float | None = None,
    settings: FollowSettings | None = None,
) -> Followed:
    """Do as `follow_puncta` of a recording whose calcium was read as frames came, and whose frames are gone.

    Where events are that have no punctum is then not known: there is no association.

    Parameters
    ----------
    localizations : Localizations
        Of all frames.
    frame_interval_s : float
    readings : Readings, optional
        A value for each localization.
    n_frames : int
    footprint_px : float
        As in `calcium.ReadSettings` that they were read with.
    exposure_s : float, optional
    settings : FollowSettings, optional
        `calcium_sigma_px` is not used any more.
    """
    how = settings or FollowSettings()
    tracks = track_puncta(localizations, how.tracks)
    mobility = mobility_of(localizations, tracks, frame_interval_s, exposure_s)
    traces = None
    if readings is not None and tracks.n_tracks:
        traces = traces_of(
            readings,
            localizations,
            tracks,
            n_frames,
            frame_interval_s,
            footprint_px=footprint_px,
            bleed_through=how.bleed_through,
        )
    return _followed(localizations, tracks, mobility, traces, how)


def _followed(
    localizations: Localizations,
    tracks: PunctaTracks,
    mobility: Mobility,
    traces: CalciumTraces | None,
    how: FollowSettings,
    sites: CalciumSites | None = None,
) -> Followed:
    by_track = {name: getattr(mobility, name) for name in ("d_um2_s", "alpha", "scaled_radius", "p")}
    by_track |= {"is_mobile": mobility.is_mobile, "is_judged": mobility.is_judged}
    interval_s = mobility.frame_interval_s
    if traces is None:
        none_read = np.full(len(localizations), np.nan)
        return Followed(PunctaResults(interval_s, localizations, tracks, none_read, by_track=by_track), mobility)
    events = find_events(traces, how.events)
    association = None
    if sites is not None:
        association = associate(traces, events, localizations, tracks, sites, settings=how.association)
    dff = _at_puncta(traces, localizations, tracks)
    own = _own(events, localizations, how)
    results = PunctaResults(interval_s, localizations, tracks, dff, events, own, by_track)
    return Followed(results, mobility, traces, association)


def _width_px(localizations: Localizations) -> float:
    widths = localizations.sigma_x_px[np.isfinite(localizations.sigma_x_px)]
    of_a_spot = float(np.median(widths)) if widths.size else _USUAL_SIGMA_PX
    return calcium_sigma_px(of_a_spot, localizations.pixel_size_um[0])


def _own(events: CalciumEvents, localizations: Localizations, how: FollowSettings) -> NDArray[np.bool_]:
    return np.asarray(own_events(events, localizations, how.association), bool)


def _at_puncta(traces: CalciumTraces, localizations: Localizations, tracks: PunctaTracks) -> NDArray[np.float64]:
    found = np.full(len(localizations), np.nan)
    held = tracks.track >= 0
    found[held] = traces.dff[tracks.track[held], localizations.frame[held]]
    return found
