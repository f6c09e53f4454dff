"""All figures of a recording at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from parfocal.optics import CameraModel
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._tracks import CalciumEvents, PunctaTracks
from parfocal.puncta._truth import PunctaTruth
from parfocal.puncta.evaluation._events import EventScore, EventTally, event_score, tally_events
from parfocal.puncta.evaluation._frames import FrameScore, FrameTally, frame_score, tally_probabilities
from parfocal.puncta.evaluation._gates import GATES, PHYSICS_GATES, Gate, Verdict, verdicts
from parfocal.puncta.evaluation._matching import Matching, match_localizations
from parfocal.puncta.evaluation._precision import (
    BoundTally,
    PhotonAccuracy,
    PrecisionTally,
    SigmaCalibration,
    accuracy_of,
    bound_ratio,
    calibration_of,
    tally_bound,
    tally_precision,
)
from parfocal.puncta.evaluation._tracks import TrackScore, TrackTally, tally_tracks, track_score

_OF_EVENTS = {"f1": "calcium_f1", "precision": "calcium_precision", "recall": "calcium_recall"}


@dataclass(frozen=True)
class EmptyTally:
    """False localizations in recordings whose truth is empty, and how many pixels those have in all frames."""

    n_false: int
    n_px: int


@dataclass(frozen=True)
class SpeedTally:
    """Frames, and the seconds that finding puncta in them took."""

    n_frames: int
    seconds: float


@dataclass(frozen=True, eq=False)
class PunctaTally:
    """All that an evaluation follows from, besides its pairs; None for what was not measured."""

    precision: PrecisionTally
    bound: BoundTally | None
    empty: EmptyTally | None
    tracks: TrackTally | None
    events: EventTally | None
    network: FrameTally | None
    speed: SpeedTally | None


@dataclass(frozen=True, eq=False)
class PunctaEvaluation:
    """One recording judged, or several together.

    Parameters
    ----------
    matching : Matching
        Of several, rows count in their tables one after the other.
    calibration : SigmaCalibration
    photons : PhotonAccuracy
    rmse_over_bound, false_per_1000_px, frames_per_s : float or None
    tracks, events : TrackScore, EventScore or None
        None where they were not given, or the truth has none.
    network_calcium : FrameScore or None
        What a network itself says of calcium, where it looked at it.
    tally : PunctaTally
        What these follow from, to be pooled.
    n_rows : (int, int)
        Of the truth's and the localizations' tables.
    """

    matching: Matching
    calibration: SigmaCalibration
    photons: PhotonAccuracy
    rmse_over_bound: float | None
    false_per_1000_px: float | None
    frames_per_s: float | None
    tracks: TrackScore | None
    events: EventScore | None
    network_calcium: FrameScore | None
    tally: PunctaTally
    n_rows: tuple[int, int]

    def figures(self) -> dict[str, Any]:
        """Return all figures by the names that gates know; None for what was not measured."""
        found = self.matching.figures()
        cal, light = self.calibration, self.photons
        more = {
            "within_one_sigma": cal.within_one,
            "within_two_sigma": cal.within_two,
            "sigma_scale": cal.scale,
            "photon_bias": light.bias,
            "photon_scatter": light.scatter,
            "photon_correlation": light.correlation,
            "rmse_over_bound": self.rmse_over_bound,
            "false_per_1000_px": self.false_per_1000_px,
        }
        found |= {k: v if v is not None and np.isfinite(v) else None for k, v in more.items()}
        if self.tracks is not None:
            found |= self.tracks.figures()
        if self.events is not None:
            of_events = self.events.figures()
            found |= {
                _OF_EVENTS.get(k, k if not k.startswith("n_") else f"{k}_events"): v for k, v in of_events.items()
            }
        if self.network_calcium is not None:
            found |= {f"network_calcium_{k}": v for k, v in self.network_calcium.figures().items()}
        return found | {"frames_per_s": self.frames_per_s}

    def verdicts(
        self, extra: Mapping[str, float | None] | None = None, gates: tuple[Gate, ...] = GATES + PHYSICS_GATES
    ) -> list[Verdict]:
        """Lay the figures, and others that were measured elsewhere, beside the gates."""
        told = {k: float(v) for k, v in self.figures().items() if v is not None}
        return verdicts(told | dict(extra or {}), gates)


def evaluate_puncta(
    truth: PunctaTruth | Localizations,
    found: Localizations,
    *,
    tracks: PunctaTracks | None = None,
    events: CalciumEvents | None = None,
    camera_model: CameraModel | None = None,
    shape_px: tuple[int, int] | None = None,
    n_frames: int | None = None,
    tolerance_um: float = 0.25,
    min_photons: float = 0.0,
    margin_px: float = 0.0,
    remove_wobble: bool = False,
    isolated_px: float = 0.0,
    excess_noise: float | None = None,
    seconds: float | None = None,
) -> PunctaEvaluation:
    """Judge what was found in a recording.

    Parameters
    ----------
    truth : PunctaTruth or Localizations
        Tracks, calcium and the bound need a `PunctaTruth`.
    found : Localizations
    tracks : PunctaTracks, optional
        Of `found`.
    events : CalciumEvents, optional
        Of the tracks.
    camera_model : CameraModel, optional
        For the bound.
    shape_px : (int, int), optional
    n_frames : int, optional
        With the shape, for false positives in a movie whose truth is empty; with `seconds`, for the speed.
    tolerance_um, min_photons, margin_px, remove_wobble
        As in `match_localizations`.
    isolated_px, excess_noise
        As in `rmse_over_bound`.
    seconds : float, optional
        How long it took to find them.
    """
    matching = match_localizations(
        truth,
        found,
        tolerance_um,
        min_photons=min_photons,
        margin_px=margin_px,
        shape_px=shape_px,
        remove_wobble=remove_wobble,
    )
    is_empty = matching.n_matched + matching.n_missed + matching.ignored_truth_row.size == 0
    tally = PunctaTally(
        precision=tally_precision(matching, truth, found),
        bound=None,
        empty=EmptyTally(matching.n_false, n_frames * shape_px[0] * shape_px[1])
        if is_empty and shape_px is not None and n_frames
        else None,
        tracks=None,
        events=None,
        network=None,
        speed=SpeedTally(n_frames, seconds) if n_frames and seconds is not None else None,
    )
    if isinstance(truth, PunctaTruth):
        bound, of_tracks, of_events = tally.bound, tally.tracks, tally.events
        if camera_model is not None:
            bound = tally_bound(matching, truth, camera_model, excess_noise=excess_noise, isolated_px=isolated_px)
        if tracks is not None:
            of_tracks = tally_tracks(truth, found.frame, tracks, matching)
            if events is not None:
                of_events = tally_events(truth, found, tracks, events, matching)
        network = tally_probabilities(truth, found, matching)
        tally = replace(tally, bound=bound, tracks=of_tracks, events=of_events, network=network)
    return evaluation_of(matching, tally, (len(truth.frame), len(found.frame)))


def evaluation_of(matching: Matching, tally: PunctaTally, n_rows: tuple[int, int]) -> PunctaEvaluation:
    """Return what follows from pairs and counts, be they of one recording or of several."""
    empty, speed = tally.empty, tally.speed
    return PunctaEvaluation(
        matching,
        calibration_of(tally.precision.error_over_stated),
        accuracy_of(tally.precision.true_photons, tally.precision.found_photons),
        None if tally.bound is None else bound_ratio(tally.bound),
        None if empty is None else 1e3 * empty.n_false / empty.n_px,
        None if speed is None else speed.n_frames / max(speed.seconds, 1e-9),
        None if tally.tracks is None else track_score(tally.tracks),
        None if tally.events is None else event_score(tally.events),
        None if tally.network is None or not tally.network.n_told else frame_score(tally.network),
        tally,
        n_rows,
    )
