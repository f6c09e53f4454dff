"""Movies of puncta: channels in turn, light that is changed until puncta are as dense as wanted."""

import numpy as np
import pytest

from parfocal.callbacks import DensityJudge
from parfocal.devices import Auditor, simulated_microscope
from parfocal.errors import BadInputError
from parfocal.plans import image_puncta
from parfocal.puncta.density import DensityRange

FREE = {"focus_locked": False}


@pytest.fixture
def microscope(tmp_path):
    made = simulated_microscope("microscope", sample="puncta", realtime=False, height_px=128, width_px=128)
    made.camera.frames_root = tmp_path
    for axis in (made.xyz.x, made.xyz.y):
        axis.set(8.0).wait(5)  # onto a cell
    yield made
    made.destroy()


@pytest.fixture
def nuclei(tmp_path):
    made = simulated_microscope("microscope", realtime=False, height_px=64, width_px=64)
    made.camera.frames_root = tmp_path
    yield made
    made.destroy()


def test_each_time_point_has_a_frame_of_each_channel(RE, documents, nuclei):
    RE(image_puncta(nuclei, ["puncta", "nuclei"], 3, exposure_s=0.01, **FREE))
    assert documents.column("point_channel", "primary") == ["puncta", "nuclei"] * 3
    assert documents.column("point_time_point", "primary") == [0, 0, 1, 1, 2, 2]
    start = documents.of("start")[0]
    assert (start["num_points"], start["shape"]) == (6, [3, 2])
    assert not nuclei.light.on.get()


def test_a_duration_ends_the_movie(RE, documents, nuclei):
    RE(image_puncta(nuclei, duration_s=0.25, interval_s=0.1, exposure_s=0.001, **FREE))
    assert documents.of("start")[0]["num_points"] == 3
    assert 1 <= len(documents.column("camera_frame", "primary")) <= 3


@pytest.mark.parametrize("by", ["exposure", "light"])
def test_light_is_changed_until_puncta_are_as_dense_as_wanted(RE, documents, microscope, by):
    before = (microscope.camera.exposure_s.get(), microscope.light.driver.intensity)
    wanted = {"density_per_um2": [0.03, 0.06], "density_by": by, "judge_timeout_s": 60.0}
    RE(image_puncta(microscope, n_frames=2, exposure_s=0.2, **wanted, **FREE))
    densities = documents.column("audit_density_per_um2", "density")
    values = documents.column("light_value", "density")
    assert densities[0] > 0.06, "it must have had something to do"
    assert 0.03 <= densities[-1] <= 0.06
    assert values[-1] < values[0]
    assert documents.column("audit_accepted", "density")[-1] == 1
    assert documents.column("light_next", "density")[-1] == values[-1]
    exposures = documents.column("point_exposure_s", "primary")
    assert exposures == [pytest.approx(values[-1] if by == "exposure" else 0.2)] * 2
    assert documents.column("camera_frame", "primary") == [0, 1], "frames of the search are not kept"
    assert documents.of("start")[0]["parfocal"]["density"]["high_per_um2"] == 0.06
    assert (microscope.camera.exposure_s.get(), microscope.light.driver.intensity) == before


def test_a_density_that_cannot_be_had_does_not_keep_the_movie_waiting(RE, documents, microscope):
    RE(image_puncta(microscope, n_frames=1, density_per_um2=[50, 60], density_by="light", max_looks=4, **FREE))
    assert documents.column("audit_accepted", "density")[-1] == 0
    assert "too few: 50 to 60 are wanted" in documents.column("audit_reason", "density")[-1]
    assert len(documents.column("camera_frame", "primary")) == 1


def test_it_looks_again_while_the_movie_goes_on_and_follows(RE, documents, microscope):
    shown = iter([20, 20, 20, 2, 20])  # something happens to the sample
    judge = DensityJudge(DensityRange(0.05, 0.2), lambda _: next(shown), (0.108, 0.108))
    auditor = Auditor("audit", microscope.camera, judge)
    RE(image_puncta(microscope, n_frames=8, exposure_s=0.01, look_every=2, auditor=auditor, **FREE))
    assert documents.column("light_before_time_point", "density") == [0, 2, 4, 6, 8]
    exposures = np.array(documents.column("point_exposure_s", "primary"))
    assert (exposures[:6] == 0.01).all()
    assert (exposures[6:] > 0.01).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "one of the two was expected"),
        ({"n_frames": 2, "duration_s": 1.0}, "one of the two was expected"),
        ({"n_frames": 0}, "1 or more was expected"),
        ({"duration_s": float("nan")}, "a time above 0 s"),
        ({"n_frames": 2, "channels": ["infrared"]}, "no channel 'infrared'"),
        ({"n_frames": 2, "channels": ["puncta", "puncta"]}, "each channel once"),
        ({"n_frames": 2, "density_per_um2": [2.0, 1.0]}, "two rising numbers"),
        ({"n_frames": 2, "density_per_um2": [1.0]}, r"\[low, high\] was expected"),
        ({"n_frames": 2, "density_per_um2": [1.0, 2.0], "density_by": "magic"}, "exposure or light was expected"),
        ({"n_frames": 2, "density_per_um2": [1, 2], "density_by": "light", "activation": "uv"}, "no channel 'uv'"),
        ({"n_frames": 2, "density_per_um2": [1, 2], "threshold": "std("}, "threshold|expression|std"),
        ({"n_frames": 2, "lock": {"magic": 1}}, "no option 'magic'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_moves(RE, documents, microscope, wrong, message):
    with pytest.raises(BadInputError, match=message):
        RE(image_puncta(microscope, **{**FREE, **wrong}))
    assert documents.all == []
