"""A movie of puncta on the simulated microscope, and what commands make of its run."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from parfocal.callbacks import FocusCalibration, Puncta, PunctaParameters, replay
from parfocal.catalog import open_catalog
from parfocal.cli import main
from parfocal.devices import simulated_microscope
from parfocal.errors import BadInputError
from parfocal.gui import layers_of
from parfocal.plans import calibrate_focus, image_puncta
from parfocal.puncta.detection import read_thunderstorm
from parfocal.puncta.tables import read_results
from parfocal.report import puncta_report, read_puncta_run
from parfocal.session import start_session

N_FRAMES = 24


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    told = capsys.readouterr()
    return ended.value.code, told.out, told.err


@pytest.fixture(scope="module")
def taken(served_folder):
    """The uid of a raw run of puncta and calcium, and the data folder."""
    session = start_session(served_folder.root)
    session.add(Puncta(PunctaParameters(image="none", drift="fiducials"), emit=session.writer))
    microscope = session.use(
        simulated_microscope("microscope", sample="puncta", realtime=False, height_px=128, width_px=128)
    )
    for axis in (microscope.xyz.x, microscope.xyz.y):
        axis.set(8.0).wait(5)  # onto a cell
    (uid,) = session.RE(
        image_puncta(microscope, ["puncta", "calcium"], N_FRAMES, exposure_s=0.05, focus_locked=False)
    )
    assert session.drain()
    assert session.close()
    microscope.destroy()
    return uid, served_folder.root


def test_what_was_found_in_a_run_is_read_back_as_results(taken):
    uid, data = taken
    with open_catalog(data) as catalog:
        read = read_puncta_run(catalog, uid)
        again = read_puncta_run(catalog, read.uid)
        tables = {key: catalog.read_table(read.uid, key).to_pandas() for key in ("localizations", "track_points")}
        with pytest.raises(BadInputError, match="has the places 0,0"):
            read_puncta_run(catalog, uid, (3, 0))
    found = read.results
    assert (read.raw_uid, read.n_frames, read.detector) == (uid, N_FRAMES, "classical")
    assert len(found.localizations) == len(tables["localizations"]) == len(again.results.localizations)
    points = tables["track_points"]
    rows = points["localization"]
    np.testing.assert_array_equal(found.tracks.track[rows], points["track"])
    np.testing.assert_allclose(found.localizations.y_um[rows], points["y_um"], atol=1e-6)
    np.testing.assert_array_equal(found.localizations.frame[rows], points["frame"])
    assert found.tracks.n_tracks > 5
    assert found.by_track["is_judged"].dtype == bool
    assert np.isfinite(found.dff[rows]).any()


def test_spots_and_tracks_stand_where_they_were_seen(taken):
    raw_uid, data = taken
    with open_catalog(data) as catalog:
        found = layers_of(catalog, raw_uid)
        uid = read_puncta_run(catalog, raw_uid).uid
        rows = catalog.read_table(uid, "localizations").to_pandas()
        points = catalog.read_table(uid, "track_points").to_pandas()
        few = layers_of(catalog, raw_uid, max_points=30)
        puncta, calcium = (layer for layer in found.layers if layer.kind == "image")
        assert puncta.data.shape == calcium.data.shape == (N_FRAMES, 128, 128)
        assert (puncta.name, calcium.name) == ("camera puncta", "camera calcium")
        spots = next(layer for layer in found.layers if layer.name.startswith("puncta"))
        np.testing.assert_allclose(spots.data, rows[["frame", "y_px", "x_px"]])
        precision_nm = spots.options["features"]["precision_nm"]
        assert 1 < np.median(precision_nm) < 200
        assert np.corrcoef(spots.options["size"], precision_nm)[0, 1] > 0.99
        # the light is there: a spot's pixel is brighter than its frame, most of the time
        k = np.round(spots.data).astype(int).clip(0, 127)
        frames = np.asarray(puncta.data)
        here = frames[k[:, 0], k[:, 1], k[:, 2]]
        assert np.mean(here > np.median(frames, axis=(1, 2))[k[:, 0]]) > 0.95
        tracks = next(layer for layer in found.layers if layer.kind == "tracks")
        assert tracks.data.shape == (len(points), 4)
        assert set(tracks.data[:, 0]) == set(points["track"])
        assert {"dff", "photons", "is_mobile"} <= set(tracks.options["features"])
        thinned = next(layer for layer in few.layers if layer.kind == "tracks")
        assert len(thinned.data) <= max(30, points["track"].value_counts().max())
        assert len([remark for remark in few.remarks if "--max-points shows more" in remark]) == 2


def test_a_run_is_drawn_as_its_tables_would_be(taken, tmp_path, capsys):
    uid, data = taken
    out = tmp_path / "figures"
    code, said, _ = run(capsys, "analyze", "puncta", uid, "--data", data, "--save-tables", "-o", out, "--json")
    assert code == 0
    report = json.loads(said)
    assert report["run"] == uid
    assert {path.stem for path in out.glob("*.svg")} >= {"trajectories", "localization_precision"}
    tables = read_results(out / "puncta.csv", out / "trajectories.csv")
    assert (report["n_puncta"], report["n_tracks"]) == (len(tables.localizations), tables.tracks.n_tracks)
    again = puncta_report(tables)
    for name in ("n_puncta", "n_tracks", "n_mobile", "precision_median_nm", "photons_median"):
        assert again[name] == pytest.approx(report[name], rel=1e-6), name
    code, _, error = run(capsys, "analyze", "puncta", uid, "--data", data, "--place", "1")
    assert code == 2
    assert "position,tile" in error


def test_a_run_is_localized_like_a_movie_its_camera_and_pixels_known(taken, tmp_path, capsys):
    uid, data = taken
    table = tmp_path / "found.csv"
    code, said, _ = run(capsys, "localize", uid, "--data", data, "--out", table, "--json")
    assert code == 0
    facts = json.loads(said)
    assert facts["n_frames"] == N_FRAMES, "the calcium channel is another movie"
    found = read_thunderstorm(table, facts["pixel_size_um"][0])
    with open_catalog(data) as catalog:
        live = catalog.read_table(read_puncta_run(catalog, uid).uid, "localizations").to_pandas()
    assert len(found) == pytest.approx(len(live), rel=0.1)
    assert facts["median_photons"] == pytest.approx(live["photons"].median(), rel=0.1)
    assert "camera not told" not in " ".join(facts["warnings"])
    for option, wrong in {"--channel": 2, "--at": "p=1", "--axes": "TYX"}.items():
        code, _, error = run(capsys, "localize", uid, "--data", data, "--out", tmp_path / "no.csv", option, wrong)
        assert code == 2
        assert len(error.strip().splitlines()) == 1, error


def test_what_was_found_in_a_run_is_judged_beside_labels(taken, tmp_path, capsys):
    uid, data = taken
    with open_catalog(data) as catalog:
        spots = read_puncta_run(catalog, uid).results.localizations
    labels = tmp_path / "labels.csv"
    rows = [f"{k},{x:.4f},{y:.4f}" for k, x, y in zip(spots.frame, spots.x_px, spots.y_px, strict=True)]
    labels.write_text("\n".join(["frame,x_px,y_px", *rows]) + "\n", encoding="utf-8")
    size = spots.pixel_size_um[0]
    code, said, error = run(
        capsys, "evaluate", "puncta", labels, uid, "--data", data, "--pixel-size", size, "--json"
    )
    assert code == 0, error
    assert json.loads(said)["figures"]["n_matched"] == len(spots)


@pytest.mark.long
def test_a_movie_is_taken_and_analyzed_while_focus_is_held(served_folder):
    session = start_session(served_folder.root, analyses=[FocusCalibration])
    session.add(Puncta(PunctaParameters(image="none"), emit=session.writer))
    microscope = session.use(simulated_microscope("microscope", sample="puncta", height_px=128, width_px=128))
    microscope.focus_camera.exposure_s.put(0.008)
    for axis in (microscope.xyz.x, microscope.xyz.y):
        axis.set(8.0).wait(5)  # onto a cell
    session.RE(calibrate_focus(microscope, go_to_focus=True))
    (uid,) = session.RE(
        image_puncta(microscope, ["puncta", "calcium"], 20, exposure_s=0.05, lock={"calibration": "newest"})
    )
    assert session.drain(120)
    assert not microscope.lock.is_engaged
    run = session.catalog.run(uid)
    assert run.metadata["stop"]["exit_status"] == "success"
    states = run["lock"].read()["lock_state"].values.astype(str)
    assert np.mean(states == "LOCKED") > 0.5
    assert run["primary"].read()["point_channel"].values.tolist() == ["puncta", "calcium"] * 20
    read = read_puncta_run(session.catalog, uid)
    assert read.n_frames == 20
    assert read.results.tracks.n_tracks > 3
    if find_spec("torch") is not None:
        (done,) = replay(
            [uid],
            "puncta",
            {"detector": "hybrid", "image": "none"},
            catalog=session.catalog,
            writer=session.writer,
        )
        assert session.drain(60)
        by_network = read_puncta_run(session.catalog, done.derived_uid)
        assert (by_network.detector, len(by_network.model_hash)) == ("hybrid", 64)
        assert by_network.results.tracks.n_tracks > 3
    microscope.destroy()
    session.close(60)
