"""All figures of a recording at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from parfocal.optics import CameraModel
from parfocal.puncta._localizations import Localizations
from parfocal.puncta._tracks import CalciumEvents, PunctaTracks
from parfocal.puncta._truth import PunctaTruth
from parfocal.puncta.evaluation._events import EventScore, score_events
from parfocal.puncta.evaluation._gates import GATES, PHYSICS_GATES, Gate, Verdict, verdicts
from parfocal.puncta.evaluation._matching import Matching, match_localizations
from parfocal.puncta.evaluation._precision import (
    PhotonAccuracy,
    SigmaCalibration,
    false_per_1000_px,
    photon_accuracy,
    rmse_over_bound,
    sigma_calibration,
)
from parfocal.puncta.evaluation._tracks import TrackScore, score_tracks


@dataclass(frozen=True, eq=False)
class PunctaEvaluation:
    """A recording judged. `tracks` and `events` are None where they were not given, or the truth has none."""

    matching: Matching
    calibration: SigmaCalibration
    photons: PhotonAccuracy
    rmse_over_bound: float | None
    false_per_1000_px: float | None
    tracks: TrackScore | None
    events: EventScore | None

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
            renamed = {"f1": "calcium_f1", "precision": "calcium_precision", "recall": "calcium_recall"}
            found |= {
                renamed.get(k, k if not k.startswith("n_") else f"{k}_events"): v for k, v in of_events.items()
            }
        return found

    def verdicts(
        self, extra: Mapping[str, float | None] | None = None, gates: tuple[Gate, ...] = GATES + PHYSICS_GATES
    ) -> list[Verdict]:
        """Lay the figures, and others such as `frames_per_s`, beside the gates."""
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
        With the shape, for false positives in a movie whose truth is empty.
    tolerance_um, min_photons, margin_px, remove_wobble
        As in `match_localizations`.
    isolated_px, excess_noise
        As in `rmse_over_bound`.
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
    is_truth = isinstance(truth, PunctaTruth)
    bound = None
    if is_truth and camera_model is not None:
        bound = rmse_over_bound(matching, truth, camera_model, excess_noise=excess_noise, isolated_px=isolated_px)
    is_empty = matching.n_matched + matching.n_missed + matching.ignored_truth_row.size == 0
    false_rate = None
    if is_empty and shape_px is not None and n_frames:
        false_rate = false_per_1000_px(matching.n_false, n_frames, shape_px)
    return PunctaEvaluation(
        matching,
        sigma_calibration(matching, found),
        photon_accuracy(matching, truth, found),
        bound,
        false_rate,
        score_tracks(truth, found.frame, tracks, matching) if is_truth and tracks is not None else None,
        score_events(truth, found, tracks, events, matching)
        if is_truth and tracks is not None and events is not None
        else None,
    )
