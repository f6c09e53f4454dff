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


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Return a folder of six samples, of which the fourth has more puncta than can be told apart."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(6):
        scene = PunctaScene(
            shape_px=(48, 48), n_frames=4, n_puncta=40 if number == 3 else 1 + number, is_count_exact=True,
            photons=2000.0, calcium=Calcium(events_per_s=1.0), seed=number,
        )  # fmt: skip
        write_sample(folder / f"sample_{number}", PunctaSimulation(scene))
    # neither of these is a sample that is there: other files, and one that is being written
    (folder / "notes").mkdir()
    (folder / ".sample_6").mkdir()
    (folder / ".sample_6" / "metadata.json").write_text("{", encoding="utf-8")
    return folder


def test_a_folder_of_samples_is_judged_as_one_with_a_row_a_sample(samples, capsys, tmp_path):
    out = tmp_path / "out"
    code, said, error = run(capsys, "evaluate", "puncta", samples, "--both-tasks", "-o", out, "--json")
    assert code == 0, error
    document = json.loads(said)
    assert [one["name"] for one in document["samples"]] == [f"sample_{k}" for k in range(6)]
    each, pooled = [one["figures"] for one in document["samples"]], document["figures"]
    for name in ("n_matched", "n_missed", "n_false", "n_true_events", "n_puncta"):
        assert pooled[name] == sum(figures[name] for figures in each)
    assert pooled["recall"] == pytest.approx(pooled["n_matched"] / (pooled["n_matched"] + pooled["n_missed"]))
    squares = sum(figures["n_matched"] * figures["rmse_nm"] ** 2 for figures in each)
    assert pooled["rmse_nm"] == pytest.approx((squares / pooled["n_matched"]) ** 0.5)
    # the crowded sample weighs as much as it has puncta, not a sixth
    assert pooled["recall"] < np.mean([figures["recall"] for figures in each])
    gates = {gate["figure"]: gate["value"] for gate in document["gates"]}
    assert gates["recall"] == pytest.approx(100 * pooled["recall"])
    assert gates["frames_per_s"] == pytest.approx(pooled["frames_per_s"])
    assert json.loads((out / "evaluation.json").read_text(encoding="utf-8")) == document
    drawn = {path.name for path in out.glob("*.png")}
    assert len(drawn) == 5
    assert "evaluation_sample_3.png" in drawn


def test_a_sample_alone_has_the_figures_that_it_has_in_its_folder(samples, capsys):
    together = json.loads(run(capsys, "evaluate", "puncta", samples, "--json")[1])["samples"][5]["figures"]
    alone = json.loads(run(capsys, "evaluate", "puncta", samples / "sample_5", "--json")[1])
    assert "samples" not in alone
    assert {**alone["figures"], "frames_per_s": 0} == {**together, "frames_per_s": 0}


def test_results_of_samples_are_taken_by_their_names(samples, capsys, tmp_path):
    results = tmp_path / "results"
    asked = ("--detector", "classical", "--save-tracks", "--save-calcium-events")
    assert run(capsys, "infer", samples, "-o", results, *asked)[0] == 0
    code, said, error = run(capsys, "evaluate", "puncta", samples, results, "--both-tasks")
    assert code == 0, error
    assert said.startswith("results beside many")
    assert "6 samples together" in said
    assert all(f"sample_{k} " in said for k in range(6))

    (results / "sample_2").rename(tmp_path / "sample_2")
    for found, message in (
        (results, "has no sample_2; expected a folder with a folder of results for each of the 6 samples"),
        (results / "sample_1", "has no sample_0 and 5 more"),
        (results / "sample_1" / "puncta.csv", "is no folder"),
        ("newest", "is no folder"),
    ):
        code, _, error = run(capsys, "evaluate", "puncta", samples, found)
        assert code == 2
        assert message in error
        assert len(error.strip().splitlines()) == 1


def test_a_folder_without_samples_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    code, _, error = run(capsys, "evaluate", "puncta", tmp_path)
    assert code == 2
    assert "expected a sample or a folder of samples" in error


def test_a_network_in_training_and_one_for_both_tasks_are_judged_by_their_own_gates(tables, capsys):
    asked = ("evaluate", "puncta", *tables, "--pixel-size", 0.1, "--json")
    targets = {}
    for table in ("general", "training", "hybrid"):
        document = json.loads(run(capsys, *asked, "--gates", table)[1])
        assert document["gate_table"] == table
        targets[table] = {gate["figure"]: gate["target"] for gate in document["gates"]}
    assert json.loads(run(capsys, *asked)[1])["gate_table"] == "general"
    assert targets["training"] == {"recall": 90, "rmse_nm": 50, "false_share": 10, "precision": 80}
    assert targets["hybrid"]["calcium_f1"] == 85
    assert targets["general"]["calcium_f1"] == 80
    told = run(capsys, "evaluate", "puncta", *tables, "--pixel-size", 0.1, "--gates", "training")[1]
    assert "false positives 2.56 %: met, excellent" in told


def test_what_a_network_itself_says_of_calcium_is_told_beside_the_events(samples, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    asked = ("evaluate", "puncta", samples / "sample_5", "--both-tasks", "--model", "puncta-calcium")
    network = ("--detector", "network", "--gates", "hybrid")
    code, said, error = run(capsys, *asked, *network, "--json")
    assert code == 0, error
    document = json.loads(said)
    figures = document["figures"]
    for name in ("f1", "sensitivity", "specificity"):
        assert 0 <= figures[f"network_calcium_{name}"] <= 1
    assert figures["network_calcium_n_on"] > 0
    gates = {gate["figure"]: gate["value"] for gate in document["gates"]}
    assert gates["network_calcium_f1"] == pytest.approx(100 * figures["network_calcium_f1"])
    assert "calcium by the network itself" in run(capsys, *asked, *network)[1]
    # a network that does not look at calcium has nothing to say of it; events are found all the same
    plain = json.loads(run(capsys, *asked[:-1], "puncta", *network, "--json")[1])["figures"]
    assert "network_calcium_f1" not in plain
    assert plain["n_found_events"] > 0
