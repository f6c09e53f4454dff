"""Nuclei of every stack: labelled while it is taken, measured in every channel, followed over time."""

import hashlib
import shutil
import time

import numpy as np
import pytest

from parfocal.callbacks import Nuclei, NucleiParameters, nuclei_lines
from parfocal.callbacks._nuclei_parameters import make_as_used
from parfocal.devices import simulated_microscope
from parfocal.errors import BadInputError
from parfocal.files import read_ome_zarr
from parfocal.frames import FrameRing, Frames, path_of
from parfocal.learning import ModelCard, ModelStore, UNetShape, build_unet
from parfocal.optics import CameraModel
from parfocal.plans import z_stack
from parfocal.segmentation import PlaneStream
from parfocal.segmentation.backends import open_backend
from parfocal.segmentation.restoration import restore
from support import Documents

SHAPE = (9, 64, 64)
VOXEL = (1.0, 0.5, 0.5)
OFFSET = 100
FRAME = {"dtype": "array", "shape": [1, *SHAPE[1:]], "external": "STREAM:"}
CAMERA = {"pixel_size_um": [0.5, 0.5], "offset_adu": float(OFFSET), "gain_adu_per_e": 1.0, "read_noise_e": 1.0}


def volume(*balls, seed=0, photons=400):
    """Balls (z, y, x, radius) in um, with photon noise, above the camera's offset."""
    z, y, x = (np.arange(n) * size for n, size in zip(SHAPE, VOXEL, strict=True))
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    inside = sum(((zz - a) ** 2 + (yy - b) ** 2 + (xx - c) ** 2 < r**2) for a, b, c, r in balls)
    noise = np.random.default_rng(seed).poisson(10 + photons * np.asarray(inside, float) * np.ones(SHAPE))
    return (OFFSET + noise).astype(np.uint16)


class Taken:
    """A run as its documents tell it, and the pixels behind it."""

    def __init__(self):
        self.pixels, self.documents = [], []
        about = {"camera": "camera", "axes": {"z": "z"}}
        self("start", uid="raw00000-run", time=1.0, plan_name="z_stack", parfocal=about)
        told = {f"camera_{key}": value for key, value in {**CAMERA, "saturation_adu": 65535.0}.items()}
        configuration = {"camera": {"data": told, "timestamps": {}, "data_keys": {}}}
        keys = {"camera": FRAME, "camera_frame": {}}
        self(
            "descriptor",
            uid="d",
            run_start="raw00000-run",
            name="primary",
            data_keys=keys,
            configuration=configuration,
        )
        self(
            "stream_resource", uid="r", data_key="camera", uri="file://localhost/nowhere", run_start="raw00000-run"
        )

    def __call__(self, name, /, **doc):
        self.documents.append((name, doc))

    def plane(self, pixels, plane, attempt=1, **point):
        index = len(self.pixels)
        self.pixels.append(pixels)
        data = {
            "camera_frame": index,
            "z": 20.0 + plane * VOXEL[0],
            "point_plane": plane,
            "point_attempt": attempt,
        }
        data |= {f"point_{key}": value for key, value in point.items()}
        self("event", uid=f"e{index}", descriptor="d", seq_num=index + 1, time=2.0, data=data)

    def stack(self, planes, **point):
        for plane, pixels in enumerate(planes):
            self.plane(pixels, plane, **point)

    def through(self, folder, **parameters):
        """Send all of it through the analysis; return its documents and its tables."""
        derived, tables = Documents(), {}
        analysis = Nuclei(
            NucleiParameters(**{"backend": "watershed", "diameter_um": 8.0, **parameters}),
            emit=derived,
            emit_rows=lambda _uid, key, rows: tables.setdefault(key, []).append(rows),
            frames=Frames(FrameRing(1), remote=lambda _, index: self.pixels[index]),
            mode="replay",
            overflow="wait",
            frames_root=folder,
        )
        self("stop", uid="s", run_start="raw00000-run", time=9.0, exit_status="success")
        for name, doc in self.documents:
            analysis(name, doc)
        assert analysis.close(60)
        (stop,) = derived.of("stop")
        assert stop["exit_status"] == "success", stop["reason"]
        objects = tables["objects"][0].to_pandas() if tables else None
        return derived, objects


def labels_of(derived, number=0):
    (descriptor,) = [d["uid"] for d in derived.of("descriptor") if d["name"] == f"labels_{number}"]
    datum = next(d for d in derived.of("stream_datum") if d["descriptor"] == descriptor)
    (uri,) = [r["uri"] for r in derived.of("stream_resource") if r["uid"] == datum["stream_resource"]]
    return read_ome_zarr(path_of(uri).parent)


TWO = [(4.0, 8.0, 8.0, 4.0), (4.0, 22.0, 24.0, 4.0)]


def test_each_nucleus_is_measured_where_it_is(tmp_path):
    run = Taken()
    run.stack(volume(*TWO))
    derived, objects = run.through(tmp_path)
    assert derived.of("stop")[0]["parfocal"] == {"verdict": "2 nuclei", "tables": {"objects": 2}}
    places = objects.sort_values("y_um")[["z_um", "y_um", "x_um"]].to_numpy()
    assert places == pytest.approx(np.array(TWO)[:, :3] + [20.0, 0, 0], abs=0.3)
    assert objects["volume_um3"].to_numpy() == pytest.approx(4 / 3 * np.pi * 4.0**3, rel=0.2)
    assert objects["mean_image"].to_numpy() == pytest.approx(410, rel=0.1)  # photons, the offset is off
    labels, voxel_um = labels_of(derived)
    assert labels.shape == SHAPE
    assert voxel_um == VOXEL
    assert set(np.unique(labels)) == {0, *objects["id"]}
    (found,) = derived.column("n_objects", "stacks")
    assert found == 2


def test_planes_have_labels_before_the_stack_is_complete(tmp_path):
    run = Taken()
    run.stack(volume(*TWO))
    derived, _ = run.through(tmp_path)
    planes = derived.column("plane", "planes")
    assert planes == sorted(planes)
    assert all(0 <= after_s < 60 for after_s in derived.column("labels_after_s", "planes"))
    assert 0 <= derived.column("labels_after_s", "stacks")[0] < 60
    assert len(planes) >= SHAPE[0] - 1
    first_of_planes = next(k for k, (name, _) in enumerate(derived.all) if name == "event")
    stacks = next(k for k, (n, d) in enumerate(derived.all) if n == "descriptor" and d["name"] == "stacks")
    assert first_of_planes < stacks


def test_of_a_plane_taken_again_the_last_attempt_counts(tmp_path):
    run = Taken()
    good = volume(*TWO)
    for plane, pixels in enumerate(good):
        run.plane(np.full_like(pixels, 5000) if plane == 4 else pixels, plane)
    run.plane(good[4], 4, attempt=2)
    derived, objects = run.through(tmp_path)
    assert len(objects) == 2
    assert derived.column("n_planes", "stacks") == [SHAPE[0]]


def test_other_channels_are_measured_in_the_same_objects(tmp_path):
    run = Taken()
    nuclei, other = volume(*TWO), volume(TWO[0], photons=50)
    for plane in range(SHAPE[0]):
        run.plane(nuclei[plane], plane, channel="dapi")
        run.plane(other[plane], plane, channel="gfp")
    _, objects = run.through(tmp_path, channel="dapi")
    objects = objects.sort_values("y_um")
    assert objects["mean_gfp"].to_numpy() == pytest.approx([60, 10], abs=6)
    assert len(objects) == 2


def test_nuclei_are_followed_over_time(tmp_path):
    run = Taken()
    for time_point in range(3):
        moved = [(z, y + time_point, x, r) for z, y, x, r in TWO]
        run.stack(volume(*moved, seed=time_point), time_point=time_point)
    derived, objects = run.through(tmp_path)
    assert len(derived.column("labels", "stacks")) == 3
    for _, track in objects.groupby("track"):
        assert track["time_point"].tolist() == [0, 1, 2]
        assert np.ptp(track["x_um"]) < 0.5
    assert set(objects["track"]) == {1, 2}


def test_a_run_without_nuclei_says_so(tmp_path):
    run = Taken()
    run.stack(volume(photons=0))
    derived, objects = run.through(tmp_path)
    assert derived.of("stop")[0]["parfocal"]["verdict"] == "empty"
    assert objects is None or objects.empty


def test_a_backend_that_there_is_not_is_refused_at_once():
    with pytest.raises(BadInputError, match="no backend 'magic'"):
        Nuclei(NucleiParameters(backend="magic"))


def test_live_it_is_ready_before_the_first_run_and_says_how_long_labels_took(RE, tmp_path):
    microscope = simulated_microscope("microscope", realtime=False, height_px=64, width_px=64)
    microscope.camera.frames_root = tmp_path
    derived, said = Documents(), []
    analysis = Nuclei(NucleiParameters(backend="watershed", diameter_um=9.0), emit=derived, frames_root=tmp_path)
    analysis.subscribe(nuclei_lines(said.append))
    assert analysis.drain(120)  # everything is compiled
    RE.subscribe(analysis)
    began_s = time.time()
    RE(z_stack(microscope, 2.0, 1.0))
    assert analysis.close(60)
    microscope.destroy()
    (after_s,) = derived.column("labels_after_s", "stacks")
    assert 0 < after_s < time.time() - began_s
    assert [line.split()[1] for line in said if line.startswith("plane ")] == ["0", "1", "2", "3", "4"]
    assert f"labels {after_s:.2f} s after the last plane" in said[-2]
    assert said[-1] == derived.of("stop")[0]["parfocal"]["verdict"]


def test_a_run_names_the_model_that_was_promoted_when_it_began(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parfocal[torch]")
    torch.set_num_threads(1)
    shape = UNetShape(dims=2, n_out=4, widths=(4, 8))
    store = ModelStore(tmp_path / "models")
    for version in ("1", "2"):
        card = ModelCard("nuclei2d", version, shape.as_architecture(), "", recipe={"diameter_px": 12.0})
        state = {key: value + int(version) for key, value in build_unet(shape).state_dict().items()}
        store.add(state, card)
    named = []
    for version in ("1", "2"):
        store.promote("nuclei2d", version)
        run = Taken()
        run.stack(volume(*TWO)[:3])
        derived, _ = run.through(tmp_path / "frames", backend="unet2d+link")
        named.append(store.find("nuclei2d").weights_sha256)
        assert derived.of("start")[0]["parfocal"]["parameters"]["model"] == named[-1]
        assert derived.column("model_hash", "stacks") == [named[-1]]
    assert named[0] != named[1]


ONE = [(4.0, 16.0, 16.0, 4.0)]
USED = ("min_overlap_ratio", "max_distance_z", "min_containment", "fill_gaps", "neck_ratio")
USED = (*USED, "min_depth_planes", "thin_objects", "follow_drift")


@pytest.mark.parametrize("taken_again", [False, True])
@pytest.mark.parametrize(("told", "n_found"), [({}, 1), ({"max_distance_z": 2}, 1), ({"max_distance_z": 1}, 2)])
def test_planes_are_linked_as_the_run_was_told_and_says(tmp_path, told, n_found, taken_again):
    run = Taken()
    pixels = volume(*ONE)
    pixels[4] = volume()[4]  # the light was off
    run.stack(pixels)
    if taken_again:
        run.plane(pixels[6], 6, attempt=2)
    derived, objects = run.through(tmp_path, **told)
    assert len(objects) == n_found
    said = derived.of("start")[0]["parfocal"]["parameters"]
    assert {name: said[name] for name in USED} == {
        "min_overlap_ratio": 0.3,
        "max_distance_z": told.get("max_distance_z", 2),
        "min_containment": 0.8,
        "fill_gaps": True,
        "neck_ratio": 0.6,
        "min_depth_planes": 1,
        "thin_objects": "keep",
        "follow_drift": False,
    }


def test_other_links_are_another_result_and_defaults_that_are_told_are_the_same():
    def known_by(**told):
        analysis = Nuclei(NucleiParameters(backend="watershed", **told))
        assert analysis.close()
        return analysis.hash_for("run", "primary", "camera")

    assert known_by() == known_by(min_overlap_ratio=0.3, max_distance_z=2)
    assert len({known_by(), known_by(min_overlap_ratio=0.2), known_by(max_distance_z=3)}) == 3


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({"backend": "watershed", "min_overlap_ratio": 3.0}, "min_overlap_ratio is 3.0, expected 0 to 1"),
        ({"backend": "watershed", "max_distance_z": 1.5}, "max_distance_z is 1.5, expected a whole number"),
        ({"backend": "external"}, "the backend external is for files, not for runs"),
        ({"backend": "external", "model": "weights"}, "the backend external is for files, not for runs"),
        ({"backend": "cellpose"}, "cellpose: no weights were named"),
    ],
)
def test_what_a_run_cannot_be_told_is_refused_at_once_in_one_line(told, complaint):
    with pytest.raises(BadInputError, match=complaint) as caught:
        Nuclei(NucleiParameters(**told))
    assert "\n" not in str(caught.value)


def test_a_backend_that_links_nothing_is_told_nothing_of_links_and_says_so(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed: parfocal[torch]").set_num_threads(1)
    with pytest.raises(BadInputError, match="unet3d links no planes: leave out max_distance_z"):
        Nuclei(NucleiParameters(backend="unet3d", max_distance_z=3))
    run = Taken()
    run.stack(volume(*ONE)[:2])
    derived, _ = run.through(tmp_path, backend="unet3d")
    said = derived.of("start")[0]["parfocal"]["parameters"]
    assert {said[name] for name in USED} == {None}


@pytest.mark.parametrize("taken_again", [False, True])
@pytest.mark.parametrize(
    ("photons", "asked", "done", "why"),
    [
        (400, "auto", "none", "nothing to do"),
        (400, "denoise", "none", "raw kept"),
        (6, "auto", "denoise", "kept: objects stand out"),
        (3, "deblur", "none", "nothing was found in the restored image"),
    ],
)
def test_restoration_is_what_the_labelled_pixels_went_through(tmp_path, photons, asked, done, why, taken_again):
    run = Taken()
    pixels = volume(*TWO, photons=photons)
    run.stack(pixels)
    if taken_again:
        run.plane(pixels[4], 4, attempt=2)
    derived, _ = run.through(tmp_path, restoration=asked)
    assert derived.column("restoration", "stacks") == [done]
    assert derived.column("restoration_asked", "stacks") == [asked]
    assert why in derived.column("restoration_why", "stacks")[0]
    camera = CameraModel(offset_adu=float(OFFSET), gain_adu_per_e=1.0, read_noise_e=1.0)
    restored = restore(pixels, asked, camera_model=camera)
    assert derived.column("snr", "stacks") == [pytest.approx(restored.record.before.snr, rel=0.05)]
    backend = open_backend("watershed", diameter_um=8.0, dims=2)
    given = restored.image if done != "none" else pixels
    if taken_again:
        expected = backend.segment_volume(given, VOXEL).labels
    else:
        stream = PlaneStream(backend, VOXEL)
        for plane in given:
            stream.add(plane)
        expected = stream.finish().labels
    np.testing.assert_array_equal(labels_of(derived)[0], expected)


def test_of_pixels_that_nothing_was_asked_for_nothing_is_claimed(tmp_path):
    run = Taken()
    run.stack(volume(*TWO, photons=6))
    derived, _ = run.through(tmp_path)
    assert derived.column("restoration", "stacks") == derived.column("restoration_asked", "stacks") == ["none"]
    assert np.isnan(derived.column("snr", "stacks")[0])


@pytest.mark.long  # importing Cellpose compiles for ten seconds, each time
def test_cellpose_labels_runs_by_the_file_it_was_told_and_names_its_hash(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parfocal[torch]")
    pytest.importorskip("cellpose", reason="Cellpose is not installed: parfocal[cellpose]")
    from cellpose.resnet_torch import CPnet

    torch.set_num_threads(1)
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        nets.append(tmp_path / f"net_{seed}")
        CPnet([2, 8, 16], 3, sz=3, diam_mean=16.0).save_model(nets[-1])
    weights = tmp_path / "weights"
    shutil.copy(nets[0], weights)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    run = Taken()
    for time_point in range(2):
        run.stack(volume(*TWO)[:2], time_point=time_point)
    derived, _ = run.through(tmp_path / "frames", backend="cellpose", model=str(weights), max_distance_z=1)
    said = derived.of("start")[0]["parfocal"]["parameters"]
    assert (said["backend"], said["model"], said["max_distance_z"]) == ("cellpose", sha256, 1)
    assert derived.column("backend", "stacks") == ["cellpose", "cellpose"]
    assert derived.column("model_hash", "stacks") == [sha256, sha256]
    analysis = Nuclei(NucleiParameters(backend="cellpose", model=str(weights)))
    before = analysis.hash_for("run", "primary", "camera")
    shutil.copy(nets[1], weights)
    assert analysis.hash_for("run", "primary", "camera") != before  # other weights, another result
    assert analysis.close()
    with pytest.raises(BadInputError, match=f"not the weights any more with which the run began, {sha256[:12]}"):
        make_as_used(NucleiParameters(**said), str(weights), None)
    with pytest.raises(BadInputError, match="no such file, expected Cellpose 3 weights"):
        Nuclei(NucleiParameters(backend="cellpose", model=str(tmp_path / "gone")))
