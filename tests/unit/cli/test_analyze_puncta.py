"""`parfocal analyze puncta`."""

import json
from dataclasses import replace

import numpy as np
import pytest

from calcium_scene import SIGMA_PX, STEP_S, calcium_scene
from parfocal.cli import main
from parfocal.optics import CameraModel
from parfocal.puncta.calcium import calcium_traces, find_events, own_events
from parfocal.puncta.tables import PunctaResults, write_results


def run(arguments):
    """Return the exit code of the command line."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    scene = calcium_scene(2, n_frames=120, shape=(48, 48), n_puncta=4, events_each=1, n_waves=0, n_stray=0)
    traces = calcium_traces(
        scene.movie, scene.localizations, scene.tracks, SIGMA_PX, STEP_S, camera_model=CameraModel(100, 1, 1.5)
    )
    events = find_events(traces)
    photons = scene.localizations.photons * np.random.default_rng(0).lognormal(0, 0.1, len(scene.localizations))
    spots = replace(scene.localizations, photons=photons)
    dff = traces.dff[scene.tracks.track, spots.frame].astype(float)
    mobile = {"is_mobile": np.array([True, False, True, False]), "is_judged": np.array([True, True, True, False])}
    folder = tmp_path_factory.mktemp("results")
    write_results(
        folder, PunctaResults(STEP_S, spots, scene.tracks, dff, events, own_events(events, spots), mobile)
    )
    return folder


def test_figures_are_drawn_with_text_that_can_be_edited_and_numbers(folder, tmp_path, capsys):
    assert run(["analyze", "puncta", str(folder), "--output", str(tmp_path / "figures"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["n_tracks"], said["n_mobile"], said["n_immobile"]) == (4, 2, 1)
    assert said["n_own"] >= 4
    assert said["precision_median_nm"] == pytest.approx(13.0)
    assert said["colocalization_median_nm"] < 60
    names = {"trajectories", "localization_precision", "calcium_correlation", "co_occurrence"}
    assert {p.stem for p in (tmp_path / "figures").glob("*.svg")} == names
    svg = (tmp_path / "figures/trajectories.svg").read_text()
    assert "<text" in svg
    assert "immobile (1)" in svg
    pdf = (tmp_path / "figures/co_occurrence.pdf").read_bytes()
    assert b"/FontFile2" in pdf  # TrueType, embedded
    assert b"/Type3" not in pdf


def test_tables_can_be_named_one_by_one_and_what_is_missing_is_said(folder, tmp_path, capsys):
    assert run(["analyze", "puncta", "--detections", str(folder / "puncta.csv"), "-o", str(tmp_path / "one")]) == 0
    assert "n_puncta" in capsys.readouterr().out
    assert [p.name for p in (tmp_path / "one").glob("*.pdf")] == ["localization_precision.pdf"]
    assert run(["analyze", "puncta"]) == 2
    assert "--detections" in capsys.readouterr().err
    assert run(["analyze", "puncta", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert run(["analyze", "puncta", str(folder.parent)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "name one of its recordings" in said
    assert folder.name in said
