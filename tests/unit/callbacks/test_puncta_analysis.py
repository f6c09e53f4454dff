"""Puncta of a movie: localized while it is taken, followed, with their calcium, and drawn."""

import numpy as np
import pyarrow as pa
import pytest

from parfocal.callbacks import Puncta, PunctaParameters
from parfocal.errors import BadInputError
from parfocal.files import read_ome_zarr
from parfocal.frames import FrameRing, Frames, path_of
from parfocal.optics import CameraModel
from support import Documents

SIDE, N, PIXEL_UM, STEP_S = 64, 60, 0.1, 0.05
FRAME = {"dtype": "array", "shape": [1, SIDE, SIDE], "external": "STREAM:"}
CAMERA = {"pixel_size_um": [PIXEL_UM] * 2, "offset_adu": 100.0, "gain_adu_per_e": 1.0, "read_noise_e": 1.0}
PLACES = np.array([[12.3, 14.8], [12.6, 45.1], [40.2, 20.4], [48.9, 50.7], [30.1, 33.3]])  # y, x
ACTIVE, ONSETS = 1, (15, 40)  # which punctum has events, and when


def spots(places, photons, background, rng, sigma_px=1.3):
    """A camera frame of Gaussian spots (not integrated over pixels: a fit knows them from its own model)."""
    y, x = np.mgrid[:SIDE, :SIDE]
    mean = np.full((SIDE, SIDE), float(background))
    for (cy, cx), n in zip(places, np.broadcast_to(photons, len(places)), strict=True):
        mean += n / (2 * np.pi * sigma_px**2) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma_px**2))
    return (100 + rng.poisson(mean) + rng.normal(0, 1, mean.shape)).clip(0).astype(np.uint16)


def movie(drift_px=0.0, seed=0):
    """Puncta and calcium, frame by frame; the last punctum diffuses."""
    rng = np.random.default_rng(seed)
    places = PLACES.copy()
    for k in range(N):
        places[-1] += rng.normal(0, 0.6, 2)
        here = places + drift_px * k / N
        calcium = np.full(len(places), 150.0)
        calcium[ACTIVE] += sum(1500 * np.exp(-(k - on) / 4) for on in ONSETS if k >= on)
        yield spots(here, 900, 8, rng), spots(here, calcium, 10, rng, 1.6)


class Taken:
    """A run as its documents tell it, and the pixels behind it."""

    def __init__(self, **camera):
        self.pixels, self.documents = [], []
        self("start", uid="raw00000-run", time=1.0, plan_name="image_puncta", parfocal={"camera": "camera"})
        told = {f"camera_{key}": value for key, value in {**CAMERA, "saturation_adu": 65535.0, **camera}.items()}
        configuration = {"camera": {"data": told, "timestamps": {}, "data_keys": {}}}
        about = {"uid": "d", "run_start": "raw00000-run", "name": "primary", "configuration": configuration}
        self("descriptor", data_keys={"camera": FRAME, "camera_frame": {}}, **about)
        self("stream_resource", uid="r", data_key="camera", uri="file://localhost/x", run_start="raw00000-run")

    def __call__(self, name, /, **doc):
        self.documents.append((name, doc))

    def frame(self, pixels, time_point, channel="puncta", **point):
        index = len(self.pixels)
        self.pixels.append(pixels)
        data = {"camera_frame": index, "camera_t_s": 1e9 + time_point * STEP_S, "point_time_point": time_point}
        data |= {"point_channel": channel} | {f"point_{key}": value for key, value in point.items()}
        self("event", uid=f"e{index}", descriptor="d", seq_num=index + 1, time=2.0, data=data)

    def through(self, folder, mode="replay", **parameters):
        """Send all of it through the analysis; return its documents and its tables."""
        derived, rows = Documents(), {}
        analysis = Puncta(
            PunctaParameters(**parameters),
            emit=derived,
            emit_rows=lambda _uid, key, part: rows.setdefault(key, []).append(part),
            frames=Frames(FrameRing(1), remote=lambda _, index: self.pixels[index]),
            mode=mode,
            overflow="wait",
            frames_root=folder / "frames",
        )
        stop = ("stop", {"uid": "s", "run_start": "raw00000-run", "time": 9.0, "exit_status": "success"})
        for name, doc in [*self.documents, stop]:
            analysis(name, doc)
        assert analysis.close(60)
        return derived, {key: pa.concat_tables(parts).to_pandas() for key, parts in rows.items()}


@pytest.fixture(scope="module")
def taken():
    run = Taken()
    for k, (puncta, calcium) in enumerate(movie()):
        run.frame(puncta, k)
        run.frame(calcium, k, "calcium")
    return run


@pytest.fixture(scope="module")
def result(taken, tmp_path_factory):
    return taken.through(tmp_path_factory.mktemp("data"), batch_frames=16)


def summary(derived):
    return {
        key: derived.column(key, "summary")[0] for key in ("n_tracks", "n_events", "n_localizations", "remarks")
    }


def test_localizations_come_batch_by_batch_and_say_which_frame_they_are_of(result):
    derived, tables = result
    assert derived.column("n_frames", "batches") == [16, 16, 16, 12]
    found = tables["localizations"]
    assert sum(derived.column("n_localizations", "batches")) == len(found)
    assert len(found) == pytest.approx(N * len(PLACES), rel=0.02)  # noise looks like a spot now and then
    assert (found["raw_frame"] == 2 * found["frame"]).all()
    still = found[found["frame"] == 7].sort_values("y_um").iloc[:2]
    assert still[["y_um", "x_um"]].to_numpy() == pytest.approx(PLACES[:2] * PIXEL_UM, abs=0.03)
    assert found["photons"].median() == pytest.approx(900, rel=0.1)
    assert derived.column("density_per_um2", "batches")[0] == pytest.approx(5 / (SIDE * PIXEL_UM) ** 2, rel=0.05)


def test_tracks_tell_what_stays_and_what_moves(result):
    derived, tables = result
    tracks = tables["tracks"]
    assert len(tracks) == len(PLACES)
    assert (tracks["n_points"] == N).all()
    judged = tracks.sort_values("d_um2_s")
    assert judged["is_mobile"].tolist() == [False] * 4 + [True]
    # Steps of 0.6 px of 0.1 um in 0.05 s along each axis.
    assert judged["d_um2_s"].iloc[-1] == pytest.approx(0.06**2 / (2 * STEP_S), rel=0.4)
    points = tables["track_points"]
    assert len(points) == N * len(PLACES)
    assert points.groupby("track").size().tolist() == [N] * len(PLACES)
    assert derived.of("stop")[0]["parfocal"]["verdict"] == "5 tracks, 2 events"


def test_calcium_events_belong_to_the_punctum_that_has_them(result):
    derived, tables = result
    events = tables["events"]
    active = tables["tracks"].iloc[events["track"]]
    assert active[["y_um", "x_um"]].to_numpy() == pytest.approx(PLACES[[ACTIVE, ACTIVE]] * PIXEL_UM, abs=0.03)
    assert events["peak_frame"].tolist() == pytest.approx(ONSETS, abs=1)
    assert not events["is_wave"].any()
    assert events["is_own"].all()
    assert events["is_mobile"].tolist() == [0, 0]
    assert summary(derived)["n_events"] == 2


def test_events_are_told_while_the_recording_goes_on(result):
    derived, tables = result
    assert sum(derived.column("n_live_events", "batches")) == 2
    assert sum(derived.column("n_live_events", "batches")[:3]) >= 1
    live = tables["live_events"]
    assert live["peak_frame"].tolist() == pytest.approx(ONSETS, abs=1)
    provisional = tables["localizations"].groupby("live_track").size()
    assert len(provisional) == derived.column("n_live_tracks", "batches")[-1]


@pytest.fixture(scope="module")
def flickering():
    """Puncta that flicker, a fifth of whose light is seen in the calcium channel too; there is no calcium."""
    run, rng = Taken(), np.random.default_rng(3)
    for k in range(N):
        photons = np.where(rng.random(len(PLACES)) < 0.15, 5000.0, 1500.0)
        run.frame(spots(PLACES, photons, 8, rng), k)
        run.frame(spots(PLACES, 0.2 * photons + 150, 10, rng), k, "calcium")
    return run


def test_light_of_puncta_in_the_calcium_channel_is_measured_and_is_no_event(flickering, tmp_path):
    measured, _ = flickering.through(tmp_path / "measured")
    assert measured.column("bleed_through", "summary")[0] == pytest.approx(0.2, abs=0.05)
    left, _ = flickering.through(tmp_path / "left", bleed_through=0.0)
    assert left.column("bleed_through", "summary") == [0.0]
    n_false = [derived.column("n_events", "summary")[0] for derived in (measured, left)]
    assert n_false[0] <= 2 < 10 < n_false[1]


def test_where_both_are_seen_in_one_channel_nothing_is_taken_off(flickering, tmp_path):
    alone, _ = flickering.through(tmp_path, calcium_channel="puncta")
    assert alone.column("bleed_through", "summary") == [0.0]


def test_the_image_shows_every_localization(result):
    derived, tables = result
    (resource,) = derived.of("stream_resource")
    pixels, voxel_um = read_ome_zarr(path_of(resource["uri"]).parent)
    assert pixels.shape == (1, 5 * SIDE, 5 * SIDE)
    assert voxel_um[1:] == pytest.approx((PIXEL_UM / 5,) * 2)
    assert pixels.sum() == pytest.approx(len(tables["localizations"]), rel=0.02)


def test_another_threshold_finds_others(taken, tmp_path):
    derived, _ = taken.through(tmp_path, threshold="50*std(Wave.F1)", image="none")
    assert derived.of("stop")[0]["parfocal"]["verdict"] == "empty"
    assert not derived.of("stream_resource")


def test_what_the_analysis_depends_on_is_in_its_hash(taken):
    hashes = set()
    for parameters in ({}, {"threshold": "2*std(Wave.F1)"}, {"drift": "correlation"}):
        analysis = Puncta(PunctaParameters(**parameters))
        hashes.add(analysis.hash_for("run", "primary", "camera"))
        analysis.close()
    assert len(hashes) == 3


@pytest.mark.parametrize("method", ["correlation", "fiducials"])
def test_drift_is_taken_out_of_tracks(tmp_path, method):
    run = Taken()
    for k, (puncta, _) in enumerate(movie(drift_px=3.0)):
        run.frame(puncta, k)
    derived, tables = run.through(tmp_path, drift=method, image="none")
    assert derived.column("drift_method", "summary") == [method]
    assert derived.column("drift_um", "summary")[0] == pytest.approx(3 * PIXEL_UM * np.sqrt(2), abs=0.05)
    assert len(tables["drift"]) == N
    still = tables["tracks"].sort_values("d_um2_s").iloc[:4]
    points = tables["track_points"]
    for track in still["track"]:
        assert points[points["track"] == track]["y_um"].std() < 0.02


def test_a_movie_too_short_for_drift_is_analyzed_without(tmp_path):
    run = Taken()
    for k, (puncta, _) in zip(range(6), movie(), strict=False):
        run.frame(puncta, k)
    derived, tables = run.through(tmp_path, drift="correlation", image="none")
    assert "drift was not corrected" in summary(derived)["remarks"]
    assert len(tables["tracks"]) == len(PLACES)


def test_a_time_point_taken_again_replaces_itself_and_one_that_was_done_is_passed_over(tmp_path):
    run = Taken()
    empty = np.full((SIDE, SIDE), 100, np.uint16)
    frames = [puncta for puncta, _ in movie()][:12]
    for k, pixels in enumerate(frames):
        if k == 5:
            run.frame(empty, k)
        run.frame(pixels, k, attempt=2)
    run.frame(empty, 3)
    derived, tables = run.through(tmp_path, batch_frames=3, image="none")
    assert sum(derived.column("n_frames", "batches")) == 12
    assert (tables["localizations"].groupby("frame").size() >= len(PLACES)).all()
    assert "1 frames of time points" in summary(derived)["remarks"]


def test_places_are_kept_apart(tmp_path):
    run = Taken()
    for k, (puncta, _) in zip(range(8), movie(), strict=False):
        run.frame(puncta, k, position=0)
        run.frame(puncta[::-1], k, position=1)
    derived, tables = run.through(tmp_path)
    assert derived.column("n_tracks", "summary") == [len(PLACES)] * 2
    assert derived.column("image", "summary") == ["image_0", "image_1"]
    assert tables["tracks"].groupby("position").size().tolist() == [len(PLACES)] * 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": "std("}, "threshold|std"),
        ({"fitter": "magic"}, "method is magic"),
        ({"max_step_um": -1.0}, "max_step_um"),
        ({"batch_frames": 0}, "batch_frames=0"),
        ({"zoom": 0}, "zoom=0"),
        ({"bleed_through": 1.5}, "bleed_through=1.5"),
        ({"excess_noise": 0.5}, "excess_noise=0.5"),
        ({"detector": "magic"}, "classical, hybrid or network"),
        ({"model": "puncta"}, "detector is classical"),
        ({"detector": "network", "threshold": "1.5*std(Wave.F1)"}, "a probability was expected"),
        ({"detector": "hybrid", "calibration": "newest"}, "classical detector alone"),
    ],
)
def test_parameters_that_cannot_be_are_refused_before_a_run(wrong, message):
    with pytest.raises(BadInputError, match=message):
        Puncta(PunctaParameters(**wrong))


def test_a_calibration_that_is_not_there_fails_the_derived_run_alone(taken, tmp_path):
    derived, _ = taken.through(tmp_path, calibration="newest")
    (stop,) = derived.of("stop")
    assert stop["exit_status"] == "fail"
    assert "no calibration" in stop["reason"]


@pytest.fixture(scope="module")
def short():
    run = Taken()
    for k, (puncta, _) in zip(range(9), movie(), strict=False):
        run.frame(puncta, k)
    return run


@pytest.mark.parametrize("detector", ["network", pytest.param("hybrid", marks=pytest.mark.long)])
def test_a_network_sees_each_frame_with_its_neighbours_across_batches(short, tmp_path, detector):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from parfocal.puncta.networks import localize_with_net, open_puncta_net

    derived, tables = short.through(tmp_path, "live", detector=detector, batch_frames=4, image="none")
    assert derived.of("stop")[0]["exit_status"] == "success"
    assert derived.column("n_frames", "batches") == [3, 4, 2], "the newest frame waits for the next"
    found = tables["localizations"]
    camera = CameraModel(100.0, 1.0, 1.0, 65535.0)
    refit = "crowds" if detector == "hybrid" else "none"
    whole = localize_with_net(
        short.pixels, open_puncta_net(), camera_model=camera, pixel_size_um=(PIXEL_UM,) * 2, refit=refit
    )
    assert found["frame"].tolist() == whole.frame.tolist()
    np.testing.assert_allclose(found[["y_px", "x_px"]], np.stack([whole.y_px, whole.x_px], 1), atol=1e-3)
    assert (found["raw_frame"] == found["frame"]).all()
    assert len(tables["tracks"]) == len(PLACES)

    sha = open_puncta_net().model_hash
    assert derived.of("start")[0]["parfocal"]["parameters"]["model"] == sha
    assert derived.column("model_hash", "summary") == [sha]
    again, replayed = short.through(tmp_path, detector=detector, model=sha[:12], batch_frames=4, image="none")
    assert (
        again.of("start")[0]["parfocal"]["parameters_hash"]
        == derived.of("start")[0]["parfocal"]["parameters_hash"]
    )
    for table in ("localizations", "tracks", "track_points"):
        assert replayed[table].equals(tables[table])


def test_a_model_that_is_not_there_fails_the_derived_run_in_one_line(short, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    derived, _ = short.through(tmp_path, detector="network", model="mine")
    (stop,) = derived.of("stop")
    assert stop["exit_status"] == "fail"
    assert "there is no mine" in stop["reason"]


def test_without_pytorch_the_classical_detector_is_what_is_left(monkeypatch):
    monkeypatch.setattr("parfocal.learning._need_torch.find_spec", lambda name: None)
    with pytest.raises(BadInputError, match=r"puncta: detector hybrid needs PyTorch .*pip install"):
        Puncta(PunctaParameters(detector="hybrid"))
    Puncta(PunctaParameters()).close()


def test_errors_behind_an_em_register_are_larger_by_its_excess_noise(short, tmp_path):
    errors = []
    for em_gain in (1.0, 300.0):
        run = Taken(em_gain=em_gain)
        for k, pixels in enumerate(short.pixels[:3]):
            run.frame(pixels, k)
        _, tables = run.through(tmp_path, image="none")
        errors.append(tables["localizations"]["x_se_px"].median())
    assert errors[1] / errors[0] == pytest.approx(np.sqrt(2), rel=0.1)


def test_two_puncta_that_touch_are_told_apart_when_nothing_is_said(tmp_path):
    run = Taken()
    rng = np.random.default_rng(5)
    for k in range(10):
        run.frame(spots(np.array([[20.0, 20.0], [20.0, 22.4], [45.0, 40.0]]), 3000, 8, rng), k)
    how_many = {}
    for max_emitters in (0, 1):
        derived, _ = run.through(tmp_path, max_emitters=max_emitters)
        how_many[max_emitters] = derived.column("n_tracks", "summary")[0]
    assert how_many == {0: 3, 1: 2}
