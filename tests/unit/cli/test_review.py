"""`parfocal review` and `parfocal train adapter`: what was segmented is corrected, and what is due is said."""

import json

import numpy as np
import pytest
import tifffile

from parfocal.cli import main
from parfocal.files import read_ome_zarr


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return ended.value.code


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    """Return the folder that `parfocal segment` makes of four balls, two of which touch."""
    rng = np.random.default_rng(0)
    z, y, x = np.indices((8, 50, 60))
    truth = np.zeros(z.shape, bool)
    for cy, cx in [(13, 13), (13, 42), (36, 14), (36, 30)]:
        truth |= ((z - 4) * 2.0) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < 64
    folder = tmp_path_factory.mktemp("review")
    sizes = {f"PhysicalSize{a}": s for a, s in (("Z", 1.0), ("Y", 0.5), ("X", 0.5))}
    image = rng.poisson(100 + 400 * truth).astype(np.uint16)
    tifffile.imwrite(folder / "embryo.ome.tif", image, metadata={"axes": "ZYX", **sizes})
    out = folder / "found"
    assert run("segment", folder / "embryo.ome.tif", "--backend", "watershed", "--out", out, "--json") == 0
    return out


def reviewed(capsys, folder, data, *options):
    assert run("review", folder, "--data", data, "--json", *options) == 0
    return json.loads(capsys.readouterr().out)


def test_what_options_ask_for_is_done_kept_and_undone(segmented, tmp_path, capsys):
    before = read_ome_zarr(segmented / "labels.ome.zarr")[0]
    ids = [int(one) for one in np.unique(before) if one]
    merged = f"{ids[0]},{ids[1]}"
    told = reviewed(
        capsys, segmented, tmp_path, "--merge", merged, "--delete", ids[2], "--pictures", tmp_path / "pictures"
    )
    assert [one["kinds"] for one in told["done"]] == [["merge"], ["delete"]]
    assert told["corrections"] == 2
    assert [item["id"] for item in told["queue"]] == ids[3:]
    assert len(list((tmp_path / "pictures").glob("object_*.png"))) == len(ids) - 3
    after = read_ome_zarr(segmented / "labels_corrected.ome.zarr")[0]
    assert sorted(np.unique(after)) == [0, ids[0], *ids[3:]]
    np.testing.assert_array_equal(read_ome_zarr(segmented / "labels.ome.zarr")[0], before)
    told = reviewed(capsys, segmented, tmp_path, "--undo")
    assert told["done"][0]["what"] == "undone"
    assert ids[2] in np.unique(read_ome_zarr(told["labels"])[0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--delete", "99"), "object 99"),
        (("--merge", "1-2"), "expected ids"),
        (("--add", "1,2"), "z,y,x"),
        (("--undo",), "nothing to undo"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(segmented, tmp_path, capsys, options, said):
    assert run("review", segmented, "--data", tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_retraining_that_is_not_due_trains_nothing(segmented, tmp_path, capsys):
    reviewed(capsys, segmented, tmp_path, "--accept", "1")
    assert run("train", "adapter", "--data", tmp_path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["due"], told["n_new"]) == (False, 1)
    assert run("train", "adapter", "--data", tmp_path, "--dry-run") == 0
    assert "not due: 1 new corrections, 20 make" in capsys.readouterr().out
    assert not list((tmp_path / "models").glob("*/*.safetensors"))
