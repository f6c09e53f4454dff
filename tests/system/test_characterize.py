"""`parfocal characterize`, and what `parfocal report` tells of it afterwards."""

import json

import pytest

SMALL = ("--camera-option", "height_px=64", "--camera-option", "width_px=64")


def test_what_cannot_be_measured_is_refused(parfocal, data):
    said = parfocal("characterize", "colour", "--data", data)
    assert said.code == 2
    assert "'colour' is none of camera, stage, latency, pixel-size or all" in said.err


@pytest.mark.long
def test_a_pixel_size_is_measured_kept_and_in_the_report(parfocal, data, tmp_path):
    out = tmp_path / "out"
    said = parfocal(
        "characterize", "pixel-size", "--data", data, "--out", out, "--exposure-s", 0.1, "--json", *SMALL
    )
    assert said.code == 0, said.err
    (told,) = json.loads(said.out)
    numbers = told["numbers"]
    assert abs(numbers["pixel_size_um"] - 0.1625) < max(4 * numbers["pixel_size_se_um"], 0.001)
    assert told["simulated"] == ["camera", "stage"]
    assert {path.name for path in out.iterdir()} == {
        f"pixel_size.{kind}" for kind in ("json", "html", "png", "svg")
    }

    page = tmp_path / "night.html"
    said = parfocal("report", told["run"]["uid"], "--data", data, "--out", page, "--json")
    assert said.code == 0, said.err
    (run,) = json.loads(said.out)["runs"]
    assert run["characterization"]["sha256"] == told["sha256"]
    assert run["n_frames"] == 18
    assert "Pixel size (" in page.read_text()
    assert "data:image/png;base64," in page.read_text()
