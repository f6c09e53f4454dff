"""Another program as a backend: what it is given, and what happens when it fails."""

import hashlib
import os
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.segmentation.backends import open_backend, segment_volume

VOXEL_UM = (2.0, 0.5, 0.5)

STAND_IN = """
    import json, sys
    import numpy as np
    import tensorstore as ts
    from scipy import ndimage

    given, left, voxel_z, diameter = sys.argv[1:5]
    told = json.load(open(given + "/zarr.json"))["attributes"]["ome"]["multiscales"][0]
    assert [a["name"] for a in told["axes"]] == ["z", "y", "x"], told
    assert told["datasets"][0]["coordinateTransformations"][0]["scale"] == [2.0, 0.5, 0.5]
    assert (float(voxel_z), float(diameter)) == (2.0, 9.0)
    store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": given + "/0"}}
    pixels = ts.open(store).result().read().result()
    assert pixels.dtype == np.uint16
    labels = ndimage.label(pixels > 500)[0].astype(np.uint16) * 7
    out = ts.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": left + "/0"}},
        create=True, dtype=ts.uint16, shape=labels.shape,
    ).result()
    out.write(labels).result()
    ome = {"version": "0.5", "multiscales": [told]}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    json.dump(group, open(left + "/zarr.json", "w"))
"""


def script(folder, text):
    path = folder / "program with space.py"
    path.write_text(textwrap.dedent(text))
    return path


def volume():
    pixels = np.full((6, 20, 30), 100, np.uint16)
    pixels[1:4, 4:9, 4:9] = pixels[2:5, 12:17, 20:26] = 900
    return pixels


def leaving(folder, labels_code):
    """Return a command that leaves the array that the code makes, through our own writer."""
    text = f"""
        import sys
        import numpy as np
        from parfocal.files import write_ome_zarr
        write_ome_zarr(sys.argv[2], {labels_code}, (1.0, 1.0, 1.0))
    """
    return [sys.executable, str(script(folder, text)), "{input}", "{output}"]


def ours():
    """Return the path to our own packages, which the backend takes away from the environment of others."""
    return (("PYTHONPATH", str(Path(__file__).parents[3] / "src")),)


def test_a_program_reads_an_ome_zarr_and_its_labels_come_back(tmp_path):
    command = (
        f"{sys.executable} '{script(tmp_path, STAND_IN)}' {{input}} {{output}} {{voxel_z_um}} {{diameter_um}}"
    )
    pixels = volume()
    found = segment_volume(pixels, VOXEL_UM, "external", diameter_um=9.0, command=command)
    assert found.labels.dtype == np.int32
    assert found.labels.max() == 2
    np.testing.assert_array_equal(found.labels > 0, pixels > 500)
    assert found.backend == "external"
    assert "program with space.py" in found.remarks[0]


def test_its_weights_are_named_by_their_hash(tmp_path):
    weights = tmp_path / "net.pth"
    weights.write_bytes(b"weights")
    engine = open_backend("external", command="prog {weights} {input} {output}", weights=weights)
    assert engine.model_hash == hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(BadInputError, match="no such file, expected weights"):
        open_backend("external", command="prog {input} {output}", weights=tmp_path / "none.pth")
    with pytest.raises(BadInputError, match="none were told"):
        open_backend("external", command="prog {weights} {input} {output}")


def test_no_shell_sees_the_command(tmp_path):
    canary = tmp_path / "canary"
    command = ["/bin/echo", "{input}", "{output}", f"; touch {canary}", "$(touch x)", "{{literal}}"]
    with pytest.raises(BadInputError, match="ended well but left nothing"):
        segment_volume(volume(), VOXEL_UM, "external", command=command)
    assert not canary.exists()


def test_a_failure_is_one_line_with_the_end_of_what_it_said(tmp_path):
    text = """
        import sys
        print("x" * 5000, file=sys.stderr)
        print("CUDA is\\nout of memory", file=sys.stderr)
        sys.exit(3)
    """
    command = [sys.executable, str(script(tmp_path, text)), "{input}", "{output}"]
    with pytest.raises(BadInputError, match=r"exit code 3: \.\.\.x+ CUDA is out of memory$") as caught:
        segment_volume(volume(), VOXEL_UM, "external", command=command)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path):
    child = tmp_path / "child.pid"
    command = ["/bin/sh", "-c", f"sleep 60 & echo $! > {child}; wait # {{input}} {{output}}"]
    began = time.monotonic()
    with pytest.raises(BadInputError, match=r"did not end within 0\.5 s"):
        segment_volume(volume(), VOXEL_UM, "external", command=command, timeout_s=0.5)
    assert time.monotonic() - began < 20
    pid = int(child.read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and is_running(pid):
        time.sleep(0.02)
    assert not is_running(pid)


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        ("np.zeros((5, 20, 30), np.uint16)", r"has shape \(5, 20, 30\), expected \(6, 20, 30\)"),
        ("np.zeros((6, 20, 30), np.float32)", "is float32, expected whole numbers"),
        ("np.full((6, 20, 30), -2, np.int16)", "goes down to -2"),
    ],
)
def test_what_is_no_labels_of_this_volume_is_refused(tmp_path, made, complaint):
    with pytest.raises(BadInputError, match=complaint):
        segment_volume(volume(), VOXEL_UM, "external", command=leaving(tmp_path, made), environment=ours())


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("prog {input}", "names no {output}"),
        ("prog {input} {output} {pixel}", "unknown placeholder {pixel}"),
        ("", "empty"),
        ("prog 'open {input} {output}", "cannot be read"),
    ],
)
def test_a_command_that_cannot_work_is_refused_before_it_runs(command, complaint):
    with pytest.raises(BadInputError, match=complaint):
        open_backend("external", command=command)


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(BadInputError, match="no-such-program cannot be started: No such file"):
        segment_volume(volume(), VOXEL_UM, "external", command="no-such-program {input} {output}")
