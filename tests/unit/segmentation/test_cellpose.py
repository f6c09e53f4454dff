"""The real Cellpose 3.1 on small weights made here; what is no such file is refused before Cellpose sees it."""

import hashlib
import socket

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.segmentation.backends import open_backend, segment_volume

torch = pytest.importorskip("torch")
pytest.importorskip("cellpose")

VOXEL_UM = (1.0, 0.5, 0.5)


def small_net():
    from cellpose.resnet_torch import CPnet

    torch.manual_seed(0)
    return CPnet([2, 8, 16], 3, sz=3, diam_mean=16.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small_net"
    small_net().save_model(path)
    return path


@pytest.fixture
def no_network(monkeypatch):
    def refused(*_args, **_kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refused)
    monkeypatch.setattr(socket, "create_connection", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def test_whole_weights_are_taken_and_named_by_their_hash(weights, no_network):
    engine = open_backend("cellpose", weights=weights)
    assert engine.model_hash == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_a_path_that_is_not_there_is_refused_and_nothing_is_fetched(tmp_path, no_network):
    for name in ("cyto3", "nuclei", tmp_path / "gone"):
        with pytest.raises(
            BadInputError, match=r"no such file, expected Cellpose 3 weights \(nothing is downloaded"
        ):
            open_backend("cellpose", weights=name)
    with pytest.raises(BadInputError, match="no weights were named"):
        open_backend("cellpose")


def changed(state, how):
    name = "downsample.down.res_down_1.conv.conv_2.2.weight"
    if how == "missing":
        del state[name]
    elif how == "too much":
        state["adapter.weight"] = torch.zeros(3)
    elif how == "shape":
        state[name] = state[name][:-1]
    elif how == "cellpose 4":
        state["W2"] = torch.zeros(1)
    elif how == "denoiser":
        state["output.2.weight"], state["output.2.bias"] = state["output.2.weight"][:1], state["output.2.bias"][:1]
    elif how == "other":
        return {"layer.weight": torch.zeros(2, 2)}
    return state


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ("missing", r"1 of \d+ tensors are missing, too much or of another shape, such as downsample"),
        ("too much", "such as adapter.weight"),
        ("shape", "such as downsample.down.res_down_1.conv.conv_2.2.weight"),
        ("cellpose 4", "weights of Cellpose 4; they run through the backend external"),
        ("denoiser", "a network of 1 outputs, expected 3"),
        ("other", "no Cellpose 3 weights"),
    ],
)
def test_keys_that_differ_are_refused_rather_than_half_loaded(tmp_path, how, complaint):
    path = tmp_path / "weights"
    torch.save(changed(dict(small_net().state_dict()), how), path)
    with pytest.raises(BadInputError, match=complaint):
        open_backend("cellpose", weights=path)


def test_pickled_code_is_not_run(tmp_path):
    import pickle

    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self):
            return canary.write_text, ("boom",)

    path = tmp_path / "weights"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BadInputError, match="no file of weights that can be read safely"):
        open_backend("cellpose", weights=path)
    assert not canary.exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a small CPnet that learnt discs of 16 px by Cellpose's own loss."""
    from cellpose import dynamics

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    net = small_net()
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    for _ in range(60):
        images, flows, inside = zip(*(scene(rng, dynamics) for _ in range(4)))
        out = net(torch.from_numpy(np.stack(images)))[0]
        flow, mask = torch.from_numpy(np.stack(flows)), torch.from_numpy(np.stack(inside))
        loss = 0.5 * torch.nn.functional.mse_loss(out[:, :2], 5.0 * flow)
        loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(out[:, 2], mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    path = tmp_path_factory.mktemp("trained") / "discs"
    net.save_model(path)
    return path


def scene(rng, dynamics, size=64):
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for i, (cy, cx) in enumerate([(16, 16), (16, 46), (46, 18), (46, 46)], start=1):
        cy, cx = np.array([cy, cx]) + rng.integers(-5, 6, 2)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(6, 9) ** 2] = i
    image = (labels > 0) + rng.normal(0, 0.1, labels.shape)
    flow = dynamics.masks_to_flows(labels, device=torch.device("cpu")).astype(np.float32)
    given = np.stack([image, np.zeros_like(image)]).astype(np.float32)
    return given, flow, (labels > 0).astype(np.float32)


def balls():
    z, y, x = np.indices((14, 64, 64))
    truth = np.zeros(z.shape, np.int32)
    for i, (cz, cy, cx) in enumerate([(6, 16, 16), (7, 44, 20), (7, 30, 46)], start=1):
        truth[((z - cz) * 2.0) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < 81] = i
    return np.random.default_rng(1).poisson(100 + 400 * (truth > 0)).astype(np.uint16), truth


@pytest.mark.long  # importing cellpose.dynamics compiles for ten seconds, each time
@pytest.mark.parametrize("do_3d", [False, True])
def test_the_real_library_finds_nuclei_offline(trained, no_network, do_3d):
    from parfocal.segmentation.measures import compare

    pixels, truth = balls()
    raw = pixels.copy()
    # Flows that sixty steps teach are too rough for the default limit of the flow error, which 2D alone has.
    told = {"weights": trained, "do_3d": do_3d, "diameter_um": 8.0, "flow_threshold": 0.0}
    found = segment_volume(pixels, VOXEL_UM, "cellpose", **told)
    # A net of two levels sees little of the caps in side views: do_3D makes its balls smaller.
    assert compare(truth, found.labels).ap(0.3 if do_3d else 0.5) == 1.0
    assert found.model_hash == hashlib.sha256(trained.read_bytes()).hexdigest()
    assert found.output.foreground.shape == pixels.shape
    assert found.output.flow.shape == ((3 if do_3d else 2), *pixels.shape)
    inside = truth > 0
    assert found.output.foreground[inside].mean() > found.output.foreground[~inside].mean() + 2
    assert bool(found.links) != do_3d
    assert ("anisotropy 2" in found.remarks[0]) == do_3d
    np.testing.assert_array_equal(pixels, raw)


@pytest.mark.long  # importing cellpose.dynamics compiles for ten seconds, each time
def test_a_dropped_plane_is_bridged_or_not_as_told(trained, no_network):
    pixels, _ = balls()
    pixels[7] = pixels[0]
    told = {"weights": trained, "diameter_um": 8.0, "flow_threshold": 0.0}
    bridged = segment_volume(pixels, VOXEL_UM, "cellpose", **told).labels
    broken = segment_volume(pixels, VOXEL_UM, "cellpose", max_distance_z=1, **told).labels
    for y, x in ((16, 16), (44, 20), (30, 46)):  # each ball, below and above the plane
        assert bridged[6, y, x] == bridged[8, y, x] > 0
        assert 0 < broken[6, y, x] != broken[8, y, x] > 0
    assert bridged[7].any()
    assert not broken[7].any()


def test_links_of_a_volume_that_is_not_linked_are_refused(weights):
    with pytest.raises(BadInputError, match="cellpose: do_3d links no planes: leave out min_overlap_ratio"):
        open_backend("cellpose", weights=weights, do_3d=True, min_overlap_ratio=0.2)
    with pytest.raises(BadInputError, match="max_distance_z is 'far', expected a whole number"):
        open_backend("cellpose", weights=weights, max_distance_z="far")
