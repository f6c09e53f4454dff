"""`parfocal infer`: from movies to tables of puncta, tracks and calcium events."""

import json

import numpy as np
import pytest
import tifffile

from parfocal.cli import main
from parfocal.puncta.simulation import Calcium, PunctaScene, simulate_puncta, write_sample
from parfocal.puncta.tables import read_results

SCENE = PunctaScene(shape_px=(64, 64), n_frames=40, n_puncta=5, photons=2000, calcium=Calcium(), seed=4)

SCALE = ("--detector", "classical", "--pixel-size", 0.1, "--frame-interval", 0.05)


def infer(capsys, *arguments):
    try:
        main(["infer", *(str(a) for a in arguments)])
        code = 0
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture(scope="module")
def recording():
    return simulate_puncta(SCENE)


@pytest.fixture
def samples(tmp_path, recording):
    (tmp_path / "samples").mkdir()
    write_sample(tmp_path / "samples" / "sample_00000", recording)
    return tmp_path / "samples"


def test_a_folder_of_samples_becomes_a_folder_of_results(samples, tmp_path, capsys, recording):
    out = tmp_path / "results"
    options = ("--detector", "classical", "--save_tracks", "--save-calcium-events", "--json")
    code, said, err = infer(capsys, samples, "-o", out, *options)
    assert code == 0, err
    (facts,) = json.loads(said)["recordings"]
    here = out / "sample_00000"
    read = read_results(here / "puncta.csv", here / "trajectories.csv", here / "calcium_events.csv")
    n_true = int(recording.truth.is_visible.sum())
    assert abs(len(read.localizations) - n_true) < 0.1 * n_true
    assert facts["n_tracks"] == read.tracks.n_tracks == len(np.unique(recording.truth.punctum))
    assert facts["n_calcium_events"] == len(read.events)
    assert facts["detector"] == "classical"
    assert (here / "overlay.png").read_bytes().startswith(b"\x89PNG")
    assert len((here / "mobility.csv").read_text().splitlines()) == 1 + read.tracks.n_tracks
    before = (here / "puncta.csv").stat().st_mtime_ns
    code, said, _ = infer(capsys, samples, "-o", out, *options)
    assert json.loads(said)["recordings"][0]["skipped"]
    assert (here / "puncta.csv").stat().st_mtime_ns == before
    code, _, err = infer(capsys, samples, "-o", out, *options, "--threshold", "3*std(Wave.F1)")
    assert code == 2
    assert "was made with another threshold" in err  # never the old results for new options
    code, said, _ = infer(capsys, samples, "-o", out, *options, "--threshold", "3*std(Wave.F1)", "--overwrite")
    assert "skipped" not in json.loads(said)["recordings"][0]


def test_a_movie_of_two_channels_tells_its_calcium_and_what_is_not_asked_for_is_not_written(
    tmp_path, capsys, recording
):
    movie = tmp_path / "cell.tif"
    both = np.stack([recording.movie, recording.calcium], axis=1)
    tifffile.imwrite(movie, both, imagej=True, metadata={"axes": "TCYX"})
    numbers = ("--pixel-size", 0.13, "--frame-interval", 0.05, "--electrons-per-adu", 1 / 2.2)
    code, said, err = infer(capsys, movie, "-o", tmp_path / "out", "--detector", "classical", *numbers, "--json")
    assert code == 0, err
    (facts,) = json.loads(said)["recordings"]
    assert facts["n_calcium_events"] is not None
    assert sorted(path.name for path in (tmp_path / "out" / "cell").iterdir()) == [
        "overlay.png",
        "puncta.csv",
        "statistics.json",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("/nowhere",), "there is nothing there"),
        (("{movie}", "--detector", "classical"), "pixel size is not known"),
        (("{movie}", "--detector", "classical", "--pixel-size", 0.1), "frame interval is not known"),
        (("{movie}", *SCALE, "--offset", 90), "--offset is told with --electrons-per-adu, or neither is"),
        (("{movie}", *SCALE, "--electrons-per-adu", 0), "--electrons-per-adu 0: expected a number above 0"),
        (("{movie}", "--detector", "classical", "--model", "x"), "are of a network"),
        (("{movie}", "--model", "/no/such.safetensors"), "such"),
        (("{movie}", "--model", "puncta", "--model", "puncta-calcium"), "an ensemble is of networks of puncta"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_and_leaves_no_results(arguments, expected, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((6, 32, 32), np.uint16), photometric="minisblack")
    told = [str(a).format(movie=tmp_path / "m.tif") for a in arguments]
    code, _, err = infer(capsys, *told, "-o", tmp_path / "out")
    assert code == 2
    assert expected in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "m").exists()


def test_several_networks_are_asked_as_one(samples, tmp_path, capsys, recording):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from parfocal.learning import load_weights, save_weights
    from parfocal.puncta.networks._net import shipped_weights

    state, card = load_weights(shipped_weights("puncta"))
    generator = torch.Generator().manual_seed(0)
    noisy = {k: v * (1 + 0.02 * torch.randn(v.shape, generator=generator)) for k, v in state.items()}
    other = save_weights(tmp_path / "other.safetensors", noisy, card)
    models = ("--model", "puncta", "--model", tmp_path / "other.safetensors")
    code, said, err = infer(capsys, samples, "-o", tmp_path / "found", *models, "--device", "cpu", "--json")
    assert code == 0, err
    (facts,) = json.loads(said)["recordings"]
    assert facts["model_hash"] == f"{card.weights_sha256}+{other.weights_sha256}"
    n_true = int(recording.truth.is_visible.sum())
    assert abs(facts["n_puncta"] - n_true) < 0.1 * n_true
