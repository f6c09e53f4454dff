"""Rows of `puncta` on real recordings and on what others simulated, beside picasso, trackpy and LapTrack."""

from __future__ import annotations

import numpy as np

from parfocal.bench._puncta_colloids import colloid_rows, stuck_rows
from parfocal.bench._puncta_fields import smfish_rows, telomere_rows
from parfocal.bench._puncta_footprints import footprint_rows
from parfocal.bench._puncta_others import OtherPrograms, other_programs, recording_of_others, show_table
from parfocal.bench._puncta_pasted import pasted_rows
from parfocal.bench._table import Row
from parfocal.files import open_stack
from parfocal.optics import CameraModel
from parfocal.puncta import Localizations
from parfocal.puncta.detection import localize_movie
from parfocal.puncta.evaluation import match_localizations

_STORM_PIXEL_UM = 0.16


def real_rows() -> list[Row]:
    """Measure ours beside the others on the same input; rows whose recording is not there are left out."""
    with other_programs() as others:
        return [
            *storm_rows(others),
            *pasted_rows(others),
            *colloid_rows(others),
            *stuck_rows(others),
            *smfish_rows(others),
            *telomere_rows(others),
            *footprint_rows(),
        ]


def storm_rows(others: OtherPrograms) -> list[Row]:
    """Another group's simulated STORM movie: efficiency beside picasso's and trackpy's on the same pixels."""
    movie_file = recording_of_others("storm_sim_256.tif", "storm_sim")
    if movie_file is None:
        return []
    movie = open_stack(movie_file, "TYX").read()
    told = np.genfromtxt(movie_file.with_name("storm_sim_256.ground_truth.csv"), delimiter=",", names=True)
    size, camera = (_STORM_PIXEL_UM, _STORM_PIXEL_UM), CameraModel(100.0, 1.0, 1.0)
    unknown = np.full(len(told), np.nan)
    truth = Localizations(size, told["frame"].astype(np.int64), told["x_px"], told["y_px"], unknown)
    found = {"parfocal": localize_movie(movie, camera, pixel_size_um=size)}
    by_picasso, by_trackpy = others.finder_names
    found[by_picasso] = others.found_by_picasso(movie, camera, size, box=7, gradient=1000.0)
    found[by_trackpy] = others.found_by_trackpy(movie, size, diameter=7, minmass=1000.0)
    scores = {name: match_localizations(truth, spots) for name, spots in found.items()}
    show_table(
        "storm_sim_256 (simulated by storm-analysis)",
        ("precision", "recall", "RMSE nm", "Jaccard", "efficiency"),
        {
            name: tuple(f"{v:.3f}" for v in (m.precision, m.recall, m.rmse_nm, m.jaccard, m.efficiency))
            for name, m in scores.items()
        },
    )
    best = max((by_picasso, by_trackpy), key=lambda name: scores[name].efficiency)
    return [
        Row.compared(
            "puncta/storm-sim-efficiency",
            scores["parfocal"].efficiency,
            max(scores[best].efficiency, 1e-9),
            peer_name=f"{best} on the same movie, simulated by another group",
            unit="efficiency",
            higher_is_better=True,
        )
    ]
