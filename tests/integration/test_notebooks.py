"""Every notebook runs from its first cell to its last, and holds no outputs."""

import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "B_focus"
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in NOTEBOOKS])
def test_a_notebook_carries_no_outputs(path):
    book = json.loads(path.read_text())
    assert book["nbformat"] == 4
    assert [cell for cell in book["cells"] if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.long
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared test data are not here")
def test_the_calibration_on_references_tells_what_its_text_says(monkeypatch, capsys):
    monkeypatch.setenv("PARFOCAL_EXAMPLES", str(DATA))
    names = {"__name__": "notebook"}
    book = json.loads((ROOT / "docs/tutorials/calibrate-references.ipynb").read_text())
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    nuclei, planes, motion = (names[name].metrics for name in ("by_nuclei", "by_planes", "by_motion"))
    assert nuclei.metrics[0].auc == 1.0
    assert nuclei.metrics[0].p_value == pytest.approx(1 / 35)
    assert 0.5 < nuclei.metrics[0].auc_interval[0] < 0.6
    assert nuclei.of("tenengrad").auc < 0.7
    assert not nuclei.of("tenengrad").keeps(names["empty"].metrics["tenengrad"])
    assert all(planes.of(name).auc == 1.0 for name in ("laplacian_variance", "tenengrad", "mean_abs_log"))
    assert motion.metrics[0].name == "min_adjacent_ncc"
    assert motion.metrics[0].auc == 1.0
    assert motion.of("laplacian_variance").auc < 0.6
    assert motion.of("min_adjacent_ncc").threshold < 0.85
    assert {ranking.winner for ranking in (nuclei, planes, motion)} == {""}
    said = capsys.readouterr().out
    assert said.count("no winner") == 4
    assert "time 0 Verdict(accepted=True" in said
    assert "time 0, moved Verdict(accepted=False, reason='min_adjacent_ncc" in said


@pytest.mark.long
def test_the_synthetic_data_are_what_their_notebook_says(monkeypatch, capsys):
    monkeypatch.delenv("PARFOCAL_SAMPLES", raising=False)
    names = {"__name__": "notebook"}
    book = json.loads((ROOT / "docs/tutorials/01_explore_synthetic_data.ipynb").read_text())
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    spot = names["mean_spot"]
    assert np.unravel_index(spot.argmax(), spot.shape) == (5, 5)
    assert names["at_puncta"](names["on"]).mean() > 1.2 * names["at_puncta"](names["off"]).mean()
    curves = {motion: np.mean(found, axis=0) for motion, found in names["by_motion"].items()}
    assert curves["immobile"].max() == 0
    assert curves["brownian"][-1] > 8 * curves["brownian"][0]
    match = names["matchings"]["classical detector"]
    assert match.recall > 0.97
    assert match.precision > 0.95
    assert match.rmse_nm < 10
    assert "labels:" in capsys.readouterr().out


def test_samples_without_calcium_and_a_table_of_thunderstorm_are_gone_through_as_well(
    tmp_path, monkeypatch, capsys
):
    from parfocal.puncta.detection import localize_movie, write_thunderstorm
    from parfocal.puncta.simulation import PunctaScene, simulate_puncta, write_sample

    recording = simulate_puncta(PunctaScene((64, 64), n_frames=6, n_puncta=8, photons=2000, calcium=None, seed=2))
    sample = write_sample(tmp_path / "cell", recording)
    found = localize_movie(recording.movie, recording.camera_model, pixel_size_um=recording.truth.pixel_size_um)
    write_thunderstorm(sample / "movie.csv", found.take(found.frame % 2 == 0))  # half of it is missed
    monkeypatch.setenv("PARFOCAL_SAMPLES", str(sample))
    names = {"__name__": "notebook"}
    book = json.loads((ROOT / "docs/tutorials/01_explore_synthetic_data.ipynb").read_text())
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    said = capsys.readouterr().out
    assert "no calcium channel" in said
    ours, theirs = names["matchings"]["classical detector"], names["matchings"]["movie.csv"]
    assert f"movie.csv: recall {theirs.recall:.3f}" in said
    assert ours.recall > 0.9
    assert theirs.recall == pytest.approx(ours.recall / 2, abs=0.1)
    assert theirs.rmse_nm < 25  # half a pixel, where origins differ, would be 92


@pytest.mark.long
def test_the_synthetic_data_notebook_runs_in_a_kernel(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.delenv("PARFOCAL_SAMPLES", raising=False)
    book = nbformat.read(ROOT / "docs/tutorials/01_explore_synthetic_data.ipynb", as_version=4)
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [o for cell in book.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == 3


@pytest.mark.long
def test_the_notebook_of_a_training_runs_in_a_kernel_and_shows_its_curves(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PARFOCAL_TRAIN_STEPS", "120")
    book = nbformat.read(ROOT / "docs/tutorials/02_visualize_training.ipynb", as_version=4)
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    said = "".join(output.get("text", "") for output in outputs)
    first, last = (float(part.split()[-1]) for part in said.split("loss ")[-1].split(" at the")[:2])
    assert last < first
