"""Retraining as a plan: in a process of its own, and its outcome in a run."""

import subprocess
import threading

import numpy as np
import pytest
from bluesky.utils import RunEngineInterrupted

from parfocal.errors import BadInputError
from parfocal.learning import ModelCard, ModelStore, UNetShape, build_unet
from parfocal.plans import _retrain, retrain_nuclei
from parfocal.segmentation.corrections import CorrectionJournal, delete

pytest.importorskip("torch", reason="PyTorch is not installed")

SHAPE = UNetShape(dims=2, n_out=4, widths=(4, 8), norm="batch")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder with a small network and one correction."""
    monkeypatch.setenv("PARFOCAL_DATA", str(tmp_path))
    store = ModelStore(tmp_path / "models")
    store.add(build_unet(SHAPE).state_dict(), ModelCard("nuclei2d", "1", SHAPE.as_architecture(), ""))
    store.promote("nuclei2d", "1")
    journal = CorrectionJournal(tmp_path / "corrections")
    image = np.random.default_rng(0).poisson(20, (1, 40, 40)).astype(np.uint16)
    labels = np.zeros(image.shape, np.int32)
    labels[0, 5:15, 5:15] = 1
    journal.record(image, labels, delete(labels, 1), source="run", voxel_size_um=(1, 1, 1))
    return tmp_path


def test_what_is_not_due_is_recorded_as_such(RE, documents, data):
    RE(retrain_nuclei(min_new=20))
    start, stop = documents.of("start")[0], documents.of("stop")[0]
    assert start["parfocal"]["parents"] == [ModelStore(data / "models").find("nuclei2d").weights_sha256]
    assert stop["exit_status"] == "success"
    assert stop["reason"].startswith("not due: 1 new corrections")
    told = documents.of("event")[0]["data"]
    assert (told["retraining_verdict"], told["retraining_n_new"]) == ("not due", 1)


def test_the_folder_is_that_of_the_session_which_runs_the_plan(RE, documents, data, monkeypatch):
    async def tell(message):
        return str(data)

    RE.register_command("data_folder", tell)  # as `start_session` does
    monkeypatch.setenv("PARFOCAL_DATA", str(data / "elsewhere"))
    RE(retrain_nuclei(min_new=20))
    assert documents.of("event")[0]["data"]["retraining_n_new"] == 1


def test_a_model_that_is_not_there_ends_the_plan_before_a_run(RE, documents, data):
    with pytest.raises(BadInputError, match="there is no nuclei9d"):
        RE(retrain_nuclei("nuclei9d"))
    assert not documents.all


def test_what_the_process_refuses_is_the_reason_of_the_failed_run(RE, documents, data):
    with pytest.raises(BadInputError, match="at least one of each is needed"):
        RE(retrain_nuclei(force=True))
    stop = documents.of("stop")[0]
    assert stop["exit_status"] == "fail"
    assert "corrections to learn from" in stop["reason"]
    assert len(ModelStore(data / "models").models()) == 1


def test_a_plan_that_is_aborted_ends_its_process(RE, documents, data, monkeypatch):
    begun = []
    real = subprocess.Popen

    def long_one(command, **kwargs):
        waits = [command[0], "-c", "import threading; threading.Event().wait(60)"]
        begun.append(real(waits, **kwargs))
        threading.Timer(0.3, RE.abort).start()
        return begun[0]

    monkeypatch.setattr(_retrain.subprocess, "Popen", long_one)
    with pytest.raises(RunEngineInterrupted):
        RE(retrain_nuclei())
    assert begun[0].poll() is not None
    assert documents.of("stop")[0]["exit_status"] == "abort"
