"""`parfocal models`: a user's file of weights comes in, is used, and is given up again."""

import json
import pickle

import pytest

from parfocal.cli import main
from parfocal.cli._models import store_of
from parfocal.learning import ModelCard, UNetShape, build_unet, save_weights

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
torch.set_num_threads(1)

SHAPE = UNetShape(dims=2, n_out=1, widths=(4, 8))


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PARFOCAL_DATA", str(tmp_path / "data"))

    def call(*words, code=0):
        with pytest.raises(SystemExit) as ended:
            main(["models", *map(str, words)])
        out, err = capsys.readouterr()
        assert ended.value.code == code, err
        return out if code == 0 else out + " ".join(err.split())

    return call


@pytest.fixture
def pth(tmp_path):
    path = tmp_path / "mine.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in build_unet(SHAPE).state_dict().items()}}, path)
    return path


@pytest.mark.parametrize("half", [True, False])
def test_what_was_trained_is_taken_in_under_its_own_name_and_hash(run, tmp_path, half):
    card = ModelCard("puncta", "small", SHAPE.as_architecture(), "", metrics={"efficiency": 80.0})
    written = save_weights(tmp_path / "new.safetensors", build_unet(SHAPE).state_dict(), card, half=half)
    added = json.loads(run("import", tmp_path / "new.safetensors", "--promote", "--json"))
    assert (added["name"], added["current"]) == ("puncta", True)
    assert added["weights_sha256"] == written.weights_sha256
    assert added["metrics"] == {"efficiency": 80.0}


def test_a_pth_is_taken_in_used_and_given_up_again(run, pth, tmp_path):
    first = json.loads(run("import", pth, "--name", "mine", "--version", "a", "--promote", "--json"))
    assert (first["kind"], first["current"]) == ("unet", True)
    torch.save(build_unet(SHAPE, seed=1).state_dict(), pth)
    assert run("import", pth, "--name", "mine", "--version", "b").startswith("added: mine@b")
    assert json.loads(run("promote", "mine", "b", "--reason", "better [really]", "--json"))["current"]
    listed = json.loads(run("list", "mine", "--json"))
    assert [(m["version"], m["current"]) for m in listed] == [("a", False), ("b", True)]
    assert "mine@b, current" in run("show", "mine")
    shown = json.loads(run("show", first["weights_sha256"][:8], "--json"))
    assert shown["architecture"] == SHAPE.as_architecture()
    assert shown["recipe"] == {"imported_from": "mine.pth"}
    assert "better [really]" in run("history", "mine")
    assert run("rollback", "mine", "--reason", "splits").startswith("current: mine@a")
    assert json.loads(run("history", "--json"))[-1]["reason"] == "splits"
    assert run("list").splitlines()[0].split()[:3] == ["name", "version", "hash"]
    net = store_of(None).network(store_of(None).find("mine"))
    assert torch.equal(net.state_dict()["head.weight"], build_unet(SHAPE).state_dict()["head.weight"])


def test_a_cellpose_network_is_recognised(run, tmp_path):
    resnet = pytest.importorskip("cellpose.resnet_torch", reason="Cellpose is not installed")
    net = resnet.CPnet([2, 8, 16], 3, 3)
    net.save_model(tmp_path / "cyto_tiny")
    run("import", tmp_path / "cyto_tiny", "--name", "cellpose-tiny", "--promote")
    store = store_of(None)
    found = store.find("cellpose-tiny")
    assert found.card.architecture == {
        "kind": "cpnet",
        "nbase": [2, 8, 16],
        "n_out": 3,
        "kernel_px": 3,
        "is_3d": False,
    }
    image = torch.randn(1, 2, 16, 16)
    torch.testing.assert_close(store.network(found)(image)[0], net.eval()(image)[0], rtol=0, atol=0)


class _Harm:
    def __reduce__(self):
        return (print, ("harm",))


def test_what_is_wrong_is_said_in_one_line(run, pth, tmp_path):
    evil = tmp_path / "evil.pth"
    evil.write_bytes(pickle.dumps(_Harm()))
    assert "harm" not in run("import", evil, "--name", "x", code=2)
    torch.save({"w": _Harm()}, evil)
    said = run("import", evil, "--name", "x", code=2)
    assert "evil.pth: holds more than weights, and is not run" in said
    torch.save({"w": torch.ones(2)}, evil)
    assert "1 tensors of no known network" in run("import", evil, "--name", "x", code=2)
    torch.save([1, 2], evil)
    assert "holds no mapping of names to tensors" in run("import", evil, "--name", "x", code=2)
    assert "there is no such file" in run("import", tmp_path / "none.pth", "--name", "x", code=2)
    assert "name '../x'; expected" in run("import", pth, "--name", "../x", code=2)
    run("import", pth, "--name", "mine", "--version", "a")
    assert "no version of mine is current; `parfocal models promote mine a`" in run("show", "mine", code=2)
    assert "there is no mine@b; known in" in run("promote", "mine", "b", code=2)
    assert "mine has no version before its current one" in run("rollback", "mine", code=2)
    assert run("check").endswith("no problems\n")
    stored = store_of(None).find("a").path
    stored.write_bytes(stored.read_bytes()[:-1])
    assert "a.safetensors: hash" in run("check", code=2)
    assert len(json.loads(run("check", "--json", code=2))["problems"]) == 1


@pytest.mark.parametrize("columns", [80, 160])
def test_the_list_has_a_line_for_each_model_in_terminals_narrow_and_wide(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run("list").splitlines()
    named = [model["name"] for model in json.loads(run("list", "--json"))]
    for name in named:
        (line,) = (line for line in lines if line.split()[:2] == ["*", name])
        assert "shipped" in line
    assert ("metrics" in lines[0]) == (columns == 160)
