"""`parfocal segment`: a file in; labels, a table, a picture and a page out."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

from parfocal.cli import main
from parfocal.errors import BadInputError
from parfocal.files import open_stack, read_ome_zarr, write_ome_zarr
from parfocal.segmentation import Segmentation
from parfocal.segmentation.backends import measure_objects
from parfocal.segmentation.corrections import CorrectionJournal, open_segmented


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Return a TIFF of two channels with three nuclei in the first, and their truth."""
    rng = np.random.default_rng(0)
    z, y, x = np.indices((12, 48, 60))
    truth = np.zeros(z.shape, np.int32)
    for i, (cz, cy, cx) in enumerate([(6, 14, 14), (5, 32, 40), (7, 14, 44)], start=1):
        truth[((z - cz) * 2.0) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < 64] = i
    nuclei = rng.poisson(100 + 400 * (truth > 0))
    marker = rng.poisson(100 + 50 * truth)
    path = tmp_path_factory.mktemp("stacks") / "embryo.ome.tif"
    sizes = {f"PhysicalSize{a}": s for a, s in (("Z", 1.0), ("Y", 0.5), ("X", 0.5))}
    tifffile.imwrite(
        path,
        np.stack([nuclei, marker], axis=1).astype(np.uint16),
        metadata={"axes": "ZCYX", "Channel": {"Name": ["DAPI", "marker"]}, **sizes},
    )
    return path, truth


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return ended.value.code


def test_a_file_becomes_labels_a_table_a_picture_and_a_page(stack, tmp_path, capsys):
    path, truth = stack
    out = tmp_path / "found"
    command = ("segment", path, "--backend", "watershed", "--out", out, "--offset", "100", "--json")
    assert run(*command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n_objects"], told["backend"], told["model_hash"]) == (3, "watershed", None)
    labels, voxel_um = read_ome_zarr(out / "labels.ome.zarr")
    assert voxel_um == (1.0, 0.5, 0.5)
    assert np.mean((labels > 0) == (truth > 0)) > 0.98
    group = zarr.open_group(out / "labels.ome.zarr", mode="r")
    assert group.attrs["ome"]["image-label"] == {"version": "0.5"}
    assert group.attrs["ome"]["multiscales"][0]["axes"][0]["name"] == "z"
    assert group.attrs["parfocal"]["backend"] == "watershed"
    objects = pd.read_csv(out / "objects.csv")
    assert len(objects) == 3
    assert objects["mean_DAPI"].between(330, 410).all()
    assert sorted(objects["mean_marker"].round(-1)) == pytest.approx([50, 100, 150], abs=15)
    by_x = objects.sort_values("x_um")
    assert by_x["x_um"].tolist() == pytest.approx([7.0, 20.0, 22.0], abs=0.3)
    assert (out / "picture.png").read_bytes()[:4] == b"\x89PNG"
    assert "3 nuclei by watershed" in (out / "summary.html").read_text()
    assert json.loads((out / "summary.json").read_text())["channels"] == ["DAPI", "marker"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["found"]


def test_labels_come_out_as_ome_tiff_beside_the_folder(stack, tmp_path, capsys):
    path, _ = stack
    out = tmp_path / "found.ome.tif"
    assert run("segment", path, "--backend", "watershed", "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["tiff"] == str(out)
    labels, voxel_um = read_ome_zarr(tmp_path / "found" / "labels.ome.zarr")
    opened = open_stack(out)
    assert opened.voxel_size_um == voxel_um
    np.testing.assert_array_equal(np.stack([opened.plane(Z=z) for z in range(len(labels))]), labels)
    assert labels.max() == 3
    assert run("segment", path, "--backend", "watershed", "--out", out) == 2
    assert "exists already" in capsys.readouterr().err


def test_block_by_block_a_file_becomes_the_same_folder(stack, tmp_path, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed: parfocal[torch]")
    path, truth = stack
    labels = {}
    for name, options in {
        "whole": ("--backend", "unet3d"),
        "cut": ("--scheduler", "threads", "--option", "block_px=[64,24,64]"),
    }.items():
        out = tmp_path / name
        asked = ("--diameter", "8", "--offset", "100", "--out", out, "--data", tmp_path / "none", "--json")
        assert run("segment", path, *asked, *options) == 0
        told = json.loads(capsys.readouterr().out)
        labels[name], voxel_um = read_ome_zarr(out / "labels.ome.zarr")
        assert (told["n_objects"], told["backend"], voxel_um) == (3, "unet3d", (1.0, 0.5, 0.5))
    assert told["blocks"] == 2
    cut = labels["cut"]
    assert np.mean((cut > 0) == (labels["whole"] > 0)) > 0.995
    assert np.mean((cut > 0) == (truth > 0)) > 0.95
    table = pd.read_csv(tmp_path / "cut" / "objects.csv")
    whole = measure_objects(Segmentation(cut, voxel_um, ""))
    assert table["n_voxels"].tolist() == whole.n_voxels.tolist()
    assert table["mean_DAPI"].between(300, 410).all()
    assert sorted(table["mean_marker"].round(-1)) == pytest.approx([50, 100, 150], abs=20)
    summary = json.loads((tmp_path / "cut" / "summary.json").read_text())
    assert summary["labels_sha256"] == hashlib.sha256(np.ascontiguousarray(cut, np.int32).tobytes()).hexdigest()
    assert (tmp_path / "cut" / "picture.png").read_bytes()[:4] == b"\x89PNG"
    assert "3 nuclei by unet3d" in (tmp_path / "cut" / "summary.html").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut", "whole"], "no block is left, and no copy"
    reviewed = open_segmented(tmp_path / "cut", CorrectionJournal(tmp_path / "journal"))
    assert reviewed.session.labels.max() == 3


def test_blocks_outlive_a_failure_after_them_and_are_taken_up(stack, tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch", reason="PyTorch is not installed: parfocal[torch]")
    path, _ = stack
    asked = ("--scheduler", "threads", "--option", "block_px=[64,24,64]", "--diameter", "8", "--offset", "100")
    asked = (*asked, "--out", tmp_path / "found", "--data", tmp_path / "none", "--json")

    def full(*args, **kwargs):
        raise BadInputError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr("parfocal.segmentation.backends.measure_in_parts", full)
        assert run("segment", path, *asked) == 2
    assert "the disk is full" in capsys.readouterr().err
    assert not (tmp_path / "found").exists()
    assert run("segment", path, *asked) == 0
    assert "2 of them were there from before" in json.loads(capsys.readouterr().out)["remarks"]
    assert [p.name for p in tmp_path.iterdir()] == ["found"]


def test_what_is_there_is_replaced_only_when_asked(stack, tmp_path, capsys):
    path, _ = stack
    out = tmp_path / "found"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert run("segment", path, "--backend", "watershed", "--out", out) == 2
    assert "exists already" in capsys.readouterr().err
    assert run("segment", path, "--backend", "watershed", "--out", out, "--overwrite") == 2
    assert "holds no segmentation; it is not replaced" in " ".join(capsys.readouterr().err.split())
    assert (out / "mine.txt").read_text() == "mine"


def test_a_failure_leaves_nothing_behind(stack, tmp_path, capsys):
    path, _ = stack
    out = tmp_path / "found"
    command = "false {input} {output}"
    assert run("segment", path, "--backend", "external", "--command", command, "--out", out) == 2
    assert "false ended with exit code 1" in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--voxel-size", "1,2"), "expected z,y,x in um"),
        (("--channel", "5"), "no channel 5, there are 2"),
        (("--backend", "magic"), "no backend 'magic'"),
        (("--at", "q=1"), "expected t or p and its index"),
        (("--option", "split"), "expected NAME=VALUE"),
        (("--backend", "watershed", "--option", "colour=1"), "the backend watershed has no option colour"),
        (("--backend", "cellpose"), "no weights were named"),
        (("--backend", "watershed", "--option", "min_overlap_ratio=3"), "min_overlap_ratio is 3, expected 0 to 1"),
        (("--backend", "watershed", "--option", "max_distance_z=near"), "is 'near', expected a whole number"),
        (("--backend", "watershed", "--option", 'links={"reach": 2}'), "links has no option reach"),
        (("--backend", "unet2d+link", "--option", "links=[2]"), "links is [2], expected any of min_overlap"),
        (("--backend", "watershed", "--option", "diameter_um=8"), "say it by --diameter"),
        (
            ("--scheduler", "threads", "--backend", "watershed", "--restoration", "auto"),
            "--backend, --restoration",
        ),
        (("--scheduler", "threads", "--option", "tiles=3"), "blocks have block_px, halo_px, n_workers"),
        (("--scheduler", "threads", "--option", "block_px=3"), "expected such as block_px="),
    ],
)
def test_what_cannot_be_is_said_in_one_line(stack, tmp_path, capsys, options, complaint):
    assert run("segment", stack[0], "--out", tmp_path / "found", *options) == 2
    said = capsys.readouterr().err
    assert complaint in " ".join(said.split())
    assert list(tmp_path.iterdir()) == []


def test_the_backends_are_listed_without_a_stack(capsys):
    assert run("segment", "none", "--list") == 0
    assert capsys.readouterr().out.split() == [
        "default",
        "unet2d+link",
        "unet3d",
        "cellpose",
        "watershed",
        "external",
    ]


@pytest.mark.parametrize("level", ["nothing", "noise"])
def test_a_stack_without_nuclei_is_no_failure(tmp_path, capsys, level):
    image = np.full((6, 40, 40), 100, np.uint16)
    if level == "noise":
        image = np.random.default_rng(0).poisson(100, image.shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "blank.tif", image, metadata={"axes": "ZYX"})
    command = ("segment", tmp_path / "blank.tif", "--backend", "watershed", "--voxel-size", "1,0.5,0.5")
    # of noise a speck may be taken for a nucleus: what matters is that a diameter that nothing has finds none
    diameter = ("--diameter", "30") if level == "noise" else ()
    assert run(*command, *diameter, "--out", tmp_path / "found", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["n_objects"] == 0
    assert len(pd.read_csv(tmp_path / "found" / "objects.csv")) == 0
    assert "0 nuclei" in (tmp_path / "found" / "summary.html").read_text()


@pytest.mark.parametrize("name", ["raw.tif", "raw.ome.tif"])
def test_what_is_read_is_never_replaced(stack, tmp_path, capsys, name):
    raw = tmp_path / name
    raw.write_bytes(stack[0].read_bytes())
    assert run("segment", raw, "--backend", "watershed", "--out", raw, "--overwrite") == 2
    assert "is what is read" in " ".join(capsys.readouterr().err.split())
    assert raw.read_bytes() == stack[0].read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_file_is_not_replaced_by_a_folder(stack, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("precious")
    command = ("segment", stack[0], "--backend", "watershed", "--out", tmp_path / "notes.txt", "--overwrite")
    assert run(*command) == 2
    assert "holds no segmentation" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "notes.txt").read_text() == "precious"


def test_of_a_single_plane_the_voxel_size_is_that_of_a_pixel(tmp_path, capsys):
    y, x = np.mgrid[:60, :60]
    image = (100 + 900 * ((y - 30) ** 2 + (x - 28) ** 2 < 100)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "plane.tif", image)
    command = ("segment", tmp_path / "plane.tif", "--backend", "watershed", "--voxel-size", "0.5,0.5", "--json")
    assert run(*command, "--out", tmp_path / "found") == 0
    assert json.loads(capsys.readouterr().out)["n_objects"] == 1


def test_a_stack_has_to_be_named(capsys):
    assert run("segment") == 2
    assert "name a FILE or a RUN" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("told", "is_remarked"), [("0.5,0.5,1", True), ("1,0.5,0.5", False), ("1.1,0.5,0.52", False)]
)
def test_a_voxel_size_that_contradicts_the_file_is_remarked(stack, tmp_path, capsys, told, is_remarked):
    command = ("segment", stack[0], "--backend", "watershed", "--out", tmp_path / "found", "--json")
    assert run(*command, "--voxel-size", told) == 0
    remarks = json.loads(capsys.readouterr().out)["remarks"]
    assert any("the file says 1, 0.5, 0.5" in remark for remark in remarks) is is_remarked


def test_a_voxel_size_that_contradicts_a_volume_in_blocks_is_remarked(stack, tmp_path, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed: parfocal[torch]")
    write_ome_zarr(tmp_path / "raw.ome.zarr", tifffile.imread(stack[0])[:, 0], (1.0, 0.5, 0.5))
    asked = ("--scheduler", "threads", "--diameter", "8", "--voxel-size", "1,0.35,0.35", "--json")
    asked = (*asked, "--out", tmp_path / "found", "--data", tmp_path / "none")
    assert run("segment", tmp_path / "raw.ome.zarr", *asked) == 0
    remarks = json.loads(capsys.readouterr().out)["remarks"]
    assert any("the file says 1, 0.5, 0.5" in remark for remark in remarks)


def test_planes_are_linked_as_told(stack, tmp_path, capsys):
    nuclei = tifffile.imread(stack[0])[:, 0]
    nuclei[6] = nuclei[0]  # the light was off
    tifffile.imwrite(tmp_path / "flicker.tif", nuclei, metadata={"axes": "ZYX"})
    command = ("segment", tmp_path / "flicker.tif", "--voxel-size", "1,0.5,0.5", "--json", "--diameter", "8")
    command = (*command, "--backend", "watershed", "--option", "dims=2")

    def n_found(name, *options):
        assert run(*command, "--out", tmp_path / name, *options) == 0
        return json.loads(capsys.readouterr().out)["n_objects"]

    assert n_found("bridged") == 3
    assert n_found("apart", "--option", "max_distance_z=1") == 6
    assert n_found("as_mapping", "--option", 'links={"max_distance_z": 1}') == 6


@pytest.mark.parametrize(
    ("asked", "noise", "done"), [("auto", 1, "none"), ("denoise", 30, "denoise"), (None, 1, "none")]
)
def test_what_restoration_did_and_why_is_in_the_summary_and_on_the_page(tmp_path, capsys, asked, noise, done):
    z, y, x = np.indices((8, 64, 64))
    inside = ((z - 4) * 2.0) ** 2 + (y - 30) ** 2 + (x - 34) ** 2 < 100
    image = np.random.default_rng(0).normal(100 + 60 * inside, noise).clip(0).astype(np.uint16)
    tifffile.imwrite(tmp_path / "dim.tif", image, metadata={"axes": "ZYX"})
    command = ("segment", tmp_path / "dim.tif", "--voxel-size", "1,0.5,0.5", "--backend", "watershed")
    options = () if asked is None else ("--restoration", asked)
    assert run(*command, "--diameter", "10", "--out", tmp_path / "found", "--json", *options) == 0
    told = json.loads(capsys.readouterr().out)
    summary = json.loads((tmp_path / "found" / "summary.json").read_text())
    page = (tmp_path / "found" / "summary.html").read_text()
    assert summary["restoration"] == told["restoration"] == done
    record = summary["restoration_record"]
    if asked is None:
        assert record is None
        assert "snr" not in page
        return
    assert (record["asked"], record["applied"], record["kept"]) == (asked, done, done != "none")
    assert record["snr"] == pytest.approx(60 / noise, rel=0.4)
    for name in ("asked", "applied", "snr", "why"):
        assert f"restoration: {name}" in page
    assert f"{record['snr']:.6g}" in page
