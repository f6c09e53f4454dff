"""Models: versions that are never changed, a pointer that can go back, and no half-written anything."""

import json
import multiprocessing
from dataclasses import replace

import pytest

from parfocal.errors import BadInputError
from parfocal.learning import (
    ModelCard,
    ModelStore,
    UNetShape,
    adapter_card,
    adapter_state,
    add_adapters,
    build_unet,
    load_weights,
    save_weights,
)

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
torch.set_num_threads(1)

SHAPE = UNetShape(dims=2, n_out=1, widths=(4, 8))


def card(name="nuclei2d", version=""):
    return ModelCard(name, version, SHAPE.as_architecture(), "", metrics={"ap50": 0.5})


def weights(seed):
    return build_unet(SHAPE, seed=seed).state_dict()


def bend(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.fixture
def store(tmp_path):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    save_weights(shipped / "nuclei2d.safetensors", weights(0), card(version="1"), half=True)
    return ModelStore(tmp_path / "models", shipped=[shipped])


def test_what_is_shipped_is_used_until_something_is_promoted(store):
    shipped = store.find("nuclei2d")
    assert (shipped.version, shipped.is_shipped, shipped.is_current) == ("shipped", True, True)
    assert not store.folder.exists()  # looking makes nothing
    added = store.add(weights(1), card())
    assert store.find("nuclei2d") == shipped
    assert store.promote("nuclei2d", added.version, reason="better by 0.02").is_current
    assert store.find("nuclei2d").weights_sha256 == added.weights_sha256


def test_rolling_back_walks_the_promotions_back_to_what_was_shipped(store):
    a, b = store.add(weights(1), card(version="a")), store.add(weights(2), card(version="b"))
    for version in ("a", "b", "b"):  # the second is no promotion
        store.promote("nuclei2d", version)
    assert store.rollback("nuclei2d", reason="too many splits").weights_sha256 == a.weights_sha256
    assert store.rollback("nuclei2d").is_shipped
    with pytest.raises(BadInputError, match="nuclei2d has no version before its current one"):
        store.rollback("nuclei2d")
    assert store.find("nuclei2d").is_shipped
    assert [(e.event, e.version, e.reason) for e in store.history("nuclei2d")] == [
        ("added", "a", ""),
        ("added", "b", ""),
        ("promoted", "a", ""),
        ("promoted", "b", ""),
        ("rolled back", "a", "too many splits"),
        ("rolled back", "shipped", ""),
    ]
    assert b.path.exists()  # nothing is deleted


def test_a_model_is_found_by_name_version_or_the_beginning_of_its_hash(store):
    added = store.add(weights(1), card(version="mine-1.5"))
    for asked in ("nuclei2d@mine-1.5", "mine-1.5", added.weights_sha256, added.weights_sha256[:6]):
        assert store.find(asked).path == added.path
    assert store.find("nuclei2d", "shipped").is_shipped
    for asked, said in {
        "nuclei4d": r"there is no nuclei4d; known in .*: nuclei2d",
        "nuclei2d@9": r"there is no nuclei2d@9; known in .*: shipped, mine-1.5",
        added.weights_sha256[:5]: "there is no",  # too short to be sure
    }.items():
        with pytest.raises(BadInputError, match=said):
            store.find(asked)
    store.add(weights(2), card("third", "mine-1.5"))
    with pytest.raises(BadInputError, match=r"mine-1\.5 is more than one: nuclei2d@mine-1\.5 .*, third@"):
        store.find("mine-1.5")
    with pytest.raises(BadInputError, match="no version of third is current"):
        store.find("third")


def test_a_version_is_never_changed_and_never_leaves_the_folder(store):
    added = store.add(weights(1), card(version="a"))
    before = added.path.read_bytes()
    with pytest.raises(BadInputError, match="nuclei2d a is there already"):
        store.add(weights(2), card(version="a"))
    assert added.path.read_bytes() == before
    for name, version in (("../up", "1"), ("a/b", "1"), ("ok", ".."), ("", "1"), ("ok", "shipped")):
        with pytest.raises(BadInputError, match=r"expected up to 64|is the package's own"):
            store.add(weights(1), card(name, version))
    assert {p.name for p in store.folder.iterdir()} == {"nuclei2d", "journal.jsonl", "journal.lock"}


def test_an_adapter_outlives_a_release_that_ships_other_weights(store, tmp_path):
    base = store.find("nuclei2d")
    net = store.network(base)
    add_adapters(net)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter += 0.1
    image = torch.randn(1, 1, 16, 16)
    wanted = net(image).detach()
    added = store.add(adapter_state(net), adapter_card(card(version="1"), base.card), half=False)
    store.promote("nuclei2d", "1")
    # The next release.
    save_weights(base.path, weights(7), card(version="2"), half=True)
    assert {m.version for m in store.models()} == {"shipped", f"shipped-{base.weights_sha256[:8]}", "1"}
    found = store.find("nuclei2d")
    torch.testing.assert_close(store.network(found)(image).detach(), wanted, rtol=0, atol=1e-5)
    assert [m.weights_sha256 for m in store.lineage(found)] == [added.weights_sha256, base.weights_sha256]
    # An adapter of the adapter, merged.
    net = store.network(found)
    add_adapters(net, rank=2)
    second = store.add(adapter_state(net), adapter_card(card(version="2"), found.card), half=False)
    torch.testing.assert_close(store.network(second)(image).detach(), wanted, rtol=0, atol=1e-4)
    assert len(store.lineage(second)) == 3
    unknown = replace(base.card, weights_sha256="cd" * 32)
    with pytest.raises(BadInputError, match=r"nuclei2d 3 stands on cdcdcdcdcdcd, which is not in"):
        store.add(adapter_state(adapted_net()), adapter_card(card(version="3"), unknown))


def adapted_net():
    net = build_unet(SHAPE)
    add_adapters(net)
    return net


def test_damage_is_told_and_damaged_weights_are_not_promoted(store):
    good, bad = store.add(weights(1), card(version="good")), store.add(weights(2), card(version="bad"))
    assert store.check() == ()
    bend(bad.path)
    (store.folder / "nuclei2d" / "half.safetensors").write_bytes(b"")
    (store.folder / "nuclei2d" / "torn.json").write_text('{"format": 1, "na')
    with (store.folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"time": "2026-')
    problems = "\n".join(store.check())
    assert "bad.safetensors: hash" in problems
    assert "half.safetensors: has no card" in problems
    assert "torn.json: not JSON" in problems
    assert "journal.jsonl: 1 lines are no events" in problems
    with pytest.raises(BadInputError, match=r"bad\.safetensors: hash .* is not the card's"):
        store.promote("nuclei2d", "bad")
    store.promote("nuclei2d", "good")  # begins a line of its own after the torn one
    assert store.find("nuclei2d").weights_sha256 == good.weights_sha256


def add_many(folder, seed):
    torch.set_num_threads(1)
    store = ModelStore(folder)
    for n in range(5):
        added = store.add(weights(10 * seed + n), card())
        store.promote("nuclei2d", added.version)


@pytest.mark.long
def test_two_processes_add_and_promote_at_once(tmp_path):
    processes = [
        multiprocessing.get_context("spawn").Process(target=add_many, args=(tmp_path, seed)) for seed in (1, 2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(150)
        assert process.exitcode == 0
    check_ten(ModelStore(tmp_path))


def test_two_threads_add_and_promote_at_once(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(add_many, [tmp_path] * 2, (1, 2)))
    check_ten(ModelStore(tmp_path))


def check_ten(store):
    assert store.check() == ()
    assert len({m.version for m in store.models()}) == 10
    assert len(store.history()) == 20
    assert store.find("nuclei2d").version == store.history()[-1].version


def test_weights_that_are_not_what_their_card_says_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    written = save_weights(path, weights(1), card(version="1"))
    assert load_weights(path)[1] == written
    document = json.loads((tmp_path / "a.json").read_text())
    unet = document["architecture"]
    wrong = {
        "widths": (
            {"architecture": unet | {"widths": [4, 12]}},
            r"has shape .*; the network's is",
        ),
        "levels": (
            {"architecture": unet | {"widths": [4, 8, 16]}},
            r"is missing, of \d+ in all",
        ),
        "kind": ({"architecture": unet | {"colour": 1}}, "architecture of a U-Net: .*colour"),
        "hash": ({"weights_sha256": "0" * 64}, r"hash \S+ is not the card's 000000000000"),
        "no hash": ({"weights_sha256": "latest"}, "expected 64 hexadecimal digits"),
        "format": ({"format": 2}, "card format 2; this version reads 1"),
        "name": ({"name": None}, "name is None; expected text"),
    }
    for change, said in wrong.values():
        (tmp_path / "a.json").write_text(json.dumps(document | change))
        with pytest.raises(BadInputError, match=said) as caught:
            load_weights(path)
        assert "\n" not in str(caught.value)
    (tmp_path / "a.json").write_text(json.dumps(document))
    bend(path)
    with pytest.raises(BadInputError, match="was changed or not written to its end"):
        load_weights(path)
    (tmp_path / "a.json").unlink()
    with pytest.raises(BadInputError, match=r"a\.json: there is no such file"):
        load_weights(path)


def test_the_same_weights_have_the_same_hash_and_16_bits_take_half_the_space(tmp_path):
    shape = UNetShape(dims=2)
    net = build_unet(shape).state_dict()
    one = save_weights(tmp_path / "1.safetensors", net, card())
    assert save_weights(tmp_path / "2.safetensors", net, card()).weights_sha256 == one.weights_sha256
    save_weights(tmp_path / "3.safetensors", net, replace(card(), architecture=shape.as_architecture()), half=True)
    size = {n: (tmp_path / f"{n}.safetensors").stat().st_size for n in (1, 3)}
    assert size[3] < 0.55 * size[1]
    state, _ = load_weights(tmp_path / "3.safetensors")
    for name, tensor in state.items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, net[name], rtol=1e-3, atol=1e-6)
    with pytest.raises(BadInputError, match=r"head\.bias is not finite in 16 bits; not written"):
        save_weights(tmp_path / "4.safetensors", net | {"head.bias": torch.full((5,), 1e9)}, card(), half=True)
    assert not (tmp_path / "4.safetensors").exists()
