import json

import numpy as np
import pytest

from parfocal.cli import main
from parfocal.puncta.simulation import (
    IMMOBILE,
    Calcium,
    PunctaScene,
    PunctaSimulation,
    simulate_puncta,
    write_sample,
)


def write_table(path, header, rows):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def tables(tmp_path):
    rng = np.random.default_rng(0)
    true = [(t, round(float(x), 3), round(float(y), 3)) for t in range(5) for x, y in rng.uniform(5, 60, (8, 2))]
    found = [(t, x + 0.1, y) for t, x, y in true[:-2]] + [(4, 200.0, 200.0)]
    storm = [(t + 1, 100 * (x + 0.5), 100 * (y + 0.5), 900.0) for t, x, y in found]
    return (
        write_table(tmp_path / "labels.csv", "frame,x_px,y_px", true),
        write_table(tmp_path / "found.csv", '"frame","x [nm]","y [nm]","intensity [photon]"', storm),
    )


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    told = capsys.readouterr()
    return ended.value.code, told.out, told.err


def test_a_thunderstorm_table_is_judged_beside_labels_made_by_hand(tables, capsys, tmp_path):
    truth, found = tables
    out = tmp_path / "out"
    code, said, _ = run(capsys, "evaluate", "puncta", truth, found, "--pixel-size", 0.1, "-o", out, "--json")
    assert code == 0
    document = json.loads(said)
    figures = document["figures"]
    assert (figures["n_matched"], figures["n_missed"], figures["n_false"]) == (38, 2, 1)
    assert figures["rmse_nm"] == pytest.approx(10, abs=0.1)
    gates = {gate["figure"]: gate for gate in document["gates"]}
    assert gates["recall"]["level"] == "excellent"
    assert gates["calcium_f1"]["met"] is None
    assert json.loads((out / "evaluation.json").read_text(encoding="utf-8")) == document
    assert (out / "evaluation.png").read_bytes().startswith(b"\x89PNG")


def test_gates_are_told_in_plain_words(tables, capsys):
    truth, found = tables
    code, said, _ = run(capsys, "evaluate", "puncta", truth, found, "--pixel-size", 0.1)
    assert code == 0
    assert "38 matched, 2 missed, 1 false" in said
    assert "met, excellent" in said
    assert "not measured" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "pixel"),
        (("--pixel-size", "0.1", "--both-tasks"), "calcium"),
        (("--pixel-size", "0.1", "--margin", "3"), "size"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(tables, capsys, more, said):
    code, _, error = run(capsys, "evaluate", "puncta", *tables, *more)
    assert code == 2
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_calcium_of_a_usual_sample_is_found_and_events_from_beside_a_punctum_are_not_its_own(tmp_path, capsys):
    scene = PunctaScene(
        shape_px=(128, 128),
        n_frames=50,
        n_puncta=10,
        is_count_exact=True,
        margin_px=-8,
        min_distance_px=8,
        calcium=Calcium(events_per_s=0.4),
        seed=2,
    )
    write_sample(tmp_path / "sample", PunctaSimulation(scene))
    code, said, _ = run(capsys, "evaluate", "puncta", tmp_path / "sample", "--both-tasks", "--json")
    assert code == 0
    assert json.loads(said)["figures"]["calcium_f1"] > 0.8

    results = tmp_path / "results"
    asked = ("--detector", "classical", "--save-tracks", "--save-calcium-events")
    assert run(capsys, "infer", tmp_path / "sample", "-o", results, *asked)[0] == 0
    (table,) = results.rglob("calcium_events.csv")
    judged = ("evaluate", "puncta", tmp_path / "sample", table.parent, "--both-tasks", "--json")
    assert json.loads(run(capsys, *judged)[1])["figures"]["calcium_f1"] > 0.8
    header, *rows = (line.split(",") for line in table.read_text(encoding="utf-8").splitlines())
    at = header.index("is_own")
    write_table(table, ",".join(header), [[*row[:at], 0, *row[at + 1 :]] for row in rows])
    assert json.loads(run(capsys, *judged)[1])["figures"]["calcium_f1"] == 0


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    scene = PunctaScene(
        shape_px=(64, 64), n_frames=3, n_puncta=5, is_count_exact=True, photons=2000.0, photons_spread=0.0,
        motion=IMMOBILE, seed=3,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("samples") / "sample_000"
    write_sample(folder, simulate_puncta(scene))
    return folder


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ((), "classical detector"),
        (("--detector", "network"), "network puncta"),
        pytest.param(("--checkpoint", "puncta"), "hybrid puncta", marks=pytest.mark.long),
    ],
)
def test_a_detector_is_judged_where_it_looks_now_and_its_speed_told(sample, capsys, options, name):
    if options:
        pytest.importorskip("torch", reason="PyTorch is not installed")
    code, said, error = run(capsys, "evaluate", "puncta", sample, "--json", *options)
    assert code == 0, error
    document = json.loads(said)
    assert document["found"].startswith(name)
    assert document["figures"]["recall"] > 0.8
    assert document["figures"]["frames_per_s"] > 0


def test_a_model_without_a_network_or_beside_a_table_is_refused(sample, tables, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    for options, message in (
        ((sample, "--model", "mine.safetensors"), "no such file"),
        ((*tables, "--pixel-size", 0.1, "--model", "puncta"), "was found already"),
    ):
        code, _, error = run(capsys, "evaluate", "puncta", *options)
        assert code == 2
        assert message in error
