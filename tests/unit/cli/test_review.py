"""`parfocal review` and `parfocal train adapter`: what was segmented is corrected, and what is due is said."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import termios
import threading
import time

import numpy as np
import pytest
import tifffile

from parfocal.cli import main
from parfocal.files import read_ome_zarr
from parfocal.segmentation.corrections import CorrectionJournal


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


def test_what_was_done_before_an_edit_that_cannot_be_is_told(segmented, tmp_path, capsys):
    one = int(np.unique(read_ome_zarr(segmented / "labels.ome.zarr")[0])[1])
    assert run("review", segmented, "--data", tmp_path, "--delete", one, "--delete", "99") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "object 99" in error
    assert f"done before it, and standing: deleted {one}"[:-2] in error
    reviewed(capsys, segmented, tmp_path, "--undo")


def test_what_is_neither_folder_nor_run_is_said_to_be(tmp_path, capsys):
    assert run("review", tmp_path / "nothere", "--data", tmp_path) == 2
    assert "expected a folder that `parfocal segment` made" in " ".join(capsys.readouterr().err.split())


def test_a_retraining_that_is_not_due_trains_nothing(segmented, tmp_path, capsys):
    reviewed(capsys, segmented, tmp_path, "--accept", "1")
    assert run("train", "adapter", "--data", tmp_path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["due"], told["n_new"]) == (False, 1)
    assert run("train", "adapter", "--data", tmp_path, "--dry-run") == 0
    assert "not due: 1 new corrections, 20 make" in capsys.readouterr().out
    assert not list((tmp_path / "models").glob("*/*.safetensors"))


class Terminal:
    """`parfocal review` on a terminal of its own: keys go in as from a keyboard."""

    def __init__(self, *arguments):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-c", "from parfocal.cli import main; main()", "review", *map(str, arguments)]
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        self.ours, self.shown = ours, ""

    def until(self, text, longest_s=60.0):
        """Read until a text is shown; return what was shown since the last one."""
        ends_s = time.monotonic() + longest_s
        while text not in self.shown:
            ready, _, _ = select.select([self.ours], [], [], max(0.0, ends_s - time.monotonic()))
            assert ready, f"{text!r} was not shown in {longest_s:g} s, but: {self.shown}"
            try:
                self.shown += os.read(self.ours, 65536).decode(errors="replace")
            except OSError:  # the other end was closed
                break
        before, found, self.shown = self.shown.partition(text)
        assert found, f"{text!r} was not shown, but: {before}"
        return before

    def press(self, key, longest_s=30.0):
        """Press a key when it is waited for: one that comes before is dropped."""
        self._when(lambda: not termios.tcgetattr(self.ours)[3] & termios.ICANON, longest_s)
        os.write(self.ours, key.encode())

    def type(self, line, longest_s=30.0):
        """Answer a question."""
        self._when(lambda: termios.tcgetattr(self.ours)[3] & termios.ICANON, longest_s)
        os.write(self.ours, f"{line}\n".encode())

    def _when(self, is_so, longest_s):
        tick, ends_s = threading.Event(), time.monotonic() + longest_s
        while not is_so():
            assert time.monotonic() < ends_s, f"nobody waits for a key, what was shown is: {self.shown}"
            tick.wait(0.01)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


@pytest.mark.long  # a process of its own
def test_keys_of_a_terminal_do_what_they_say(segmented, tmp_path):
    folder = tmp_path / "found"
    shutil.copytree(segmented, folder)
    shutil.rmtree(folder / "labels_corrected.ome.zarr", ignore_errors=True)
    before = read_ome_zarr(folder / "labels.ome.zarr")[0]
    terminal = Terminal(folder, "--data", tmp_path, "--user", "someone")
    try:
        first = shown_object(terminal.until("0 of 4 looked at"))
        terminal.press("r")
        terminal.until("redraw needs a brush")
        terminal.press("d")
        assert f"delete {first} -> none" in terminal.until("1 of 4 looked at")
        terminal.press("u")
        again = shown_object(terminal.until("0 of 4 looked at"))
        assert again == first  # taken back, so it is asked again
        terminal.press("a")
        second = shown_object(terminal.until("1 of 4 looked at"))
        terminal.press("n")
        terminal.until("voxel of the missed nucleus")
        terminal.type("0,0")
        terminal.until("expected z,y,x")
        terminal.press("d")
        terminal.until("2 of 4 looked at")
        terminal.press("k")
        terminal.until("3 of 4 looked at")
        terminal.press("q")
        terminal.until("2 corrections stand")
        assert terminal.process.wait(30) == 0
    finally:
        terminal.close()
    made = CorrectionJournal(tmp_path / "corrections").corrections()
    assert [(one.kinds[0].value, one.ids_before, one.user) for one in made] == [
        ("accept", (first,), "someone"),
        ("delete", (second,), "someone"),
    ]
    after = read_ome_zarr(folder / "labels_corrected.ome.zarr")[0]
    assert set(np.unique(before)) - set(np.unique(after)) == {second}


def shown_object(text):
    """The number of the object that is shown last."""
    return int(re.findall(r"object (\d+)  doubt", text)[-1])
