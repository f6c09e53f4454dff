"""Networks at work."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.learning import ModelCard, UNetShape, build_unet, save_weights
from parfocal.segmentation import NetOutput
from parfocal.segmentation.networks import (
    NucleiNet,
    PixelRange,
    RunningRange,
    TileSettings,
    as_net,
    estimate_diameter_um,
    grid_for,
    normalised,
    open_net,
    pixel_range,
    predict,
    predict_on,
    run_tiles,
    save_net,
    shipped_weights,
)

torch = pytest.importorskip("torch")
torch.set_num_threads(1)


class Local(torch.nn.Module):
    """Says of a pixel what its 3x3 surroundings are: what a tile can tell as well as the whole."""

    def forward(self, x):
        pool = torch.nn.functional.avg_pool2d if x.ndim == 4 else torch.nn.functional.avg_pool3d
        mean = pool(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([mean * (k + 1) for k in range(x.ndim)], 1)


def local(dims):
    return NucleiNet(Local(), dims, 13.0, (4,) * dims)


def discs(shape, diameter, pitch, level=100.0):
    """Bright discs on a lattice, and what a network that knows 13 px would be asked about."""
    grid = np.indices(shape)
    inside = sum(((g % pitch) - pitch / 2) ** 2 for g in grid) < (diameter / 2) ** 2
    return 10 + level * inside


class Oracle(torch.nn.Module):
    """Finds bright round things, and is sure of its flows only where they are 9 to 18 px large."""

    def forward(self, x):
        from scipy import ndimage

        from parfocal.segmentation.flows import flow_targets

        out = []
        for image in x[:, 0].numpy():
            labels, n = ndimage.label(image > 0.5)
            flow, foreground, boundary = flow_targets(labels.astype(np.int32))
            sizes = 2 * np.sqrt(np.bincount(labels.ravel(), minlength=n + 1) / np.pi)
            flow = flow * np.where((sizes > 9) & (sizes < 18), 1, 0.3)[labels]
            out.append(np.concatenate([flow, [8 * foreground - 4], [8 * boundary - 4]]))
        return torch.from_numpy(np.stack(out).astype(np.float32))


def test_tiles_say_what_the_whole_does():
    for shape, tile in (((70, 91), (24, 32)), ((30, 50, 60), (16, 24, 28))):
        image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        whole = local(len(shape)).module(torch.from_numpy(image[None, None]))[0].numpy()
        # Where tiles meet, those that see less of the surroundings count for less and less toward their edge.
        said = predict(local(len(shape)), image, told=PixelRange(0, 1), settings=TileSettings(tile))
        assert said.flow.shape == (len(shape), *shape)
        off = abs(said.foreground - whole[-2])
        assert np.median(off) < 1e-5
        assert off.max() < 0.1


def test_a_region_is_told_the_same_as_in_the_whole():
    image = np.random.default_rng(0).normal(size=(19, 40, 50)).astype(np.float32)

    def read(region):
        return image[tuple(slice(*r) for r in region)]

    settings = TileSettings((8, 16, 20))
    whole = run_tiles(local(3), read, image.shape, settings=settings)
    part = run_tiles(local(3), read, image.shape, ((3, 11), (20, 40), (7, 8)), settings)
    np.testing.assert_array_equal(part.flow, whole.flow[:, 3:11, 20:40, 7:8])
    np.testing.assert_array_equal(part.boundary, whole.boundary[3:11, 20:40, 7:8])


def test_batches_and_progress_change_nothing_but_the_pace():
    image = np.random.default_rng(0).normal(size=(70, 91)).astype(np.float32)
    told = []
    one = predict(local(2), image, settings=TileSettings((24, 32)), on_tile=lambda k, n: told.append((k, n)))
    five = predict(local(2), image, settings=TileSettings((24, 32), batch=5))
    np.testing.assert_allclose(one.foreground, five.foreground, atol=1e-6)
    assert told == [(k + 1, len(told)) for k in range(len(told))]
    assert len(told) > 9


def test_an_image_smaller_than_a_tile_and_of_odd_sides_comes_back_at_its_own_shape():
    said = predict(as_net(build_unet(UNetShape(2, 1, 4, (4, 8, 8)))), np.arange(35.0).reshape(5, 7))
    assert said.foreground.shape == (5, 7)
    assert np.isfinite(said.flow).all()


def test_pixels_are_scaled_alike_whatever_their_gain_offset_and_depth():
    image = np.random.default_rng(0).gamma(2, 50, (6, 64, 64))
    one = normalised(image)
    np.testing.assert_allclose(one, normalised(3 * image + 700), atol=1e-5)
    np.testing.assert_allclose(one, normalised((50 * image + 700).astype(np.uint16)), atol=1e-3)
    assert (np.percentile(one, [1, 99.8])) == pytest.approx([0, 1], abs=1e-5)


def test_planes_that_were_never_taken_do_not_count():
    image = np.random.default_rng(0).gamma(2, 50, (10, 64, 64)) + 100
    dead = image.copy()
    dead[:6] = 0
    assert pixel_range(dead).low == pytest.approx(pixel_range(image).low, rel=0.05)
    assert not normalised(np.full((4, 9, 9), 7, np.uint8)).any()


def test_planes_that_come_one_by_one_are_not_stretched_each_for_itself():
    rng = np.random.default_rng(0)
    running = RunningRange()
    running.add(rng.normal(100, 3, (64, 64)) + 400 * (rng.random((64, 64)) < 0.2))
    after_empty = running.add(rng.normal(100, 3, (64, 64)))
    assert after_empty.high > 400
    assert running.add(np.zeros((64, 64))) == after_empty
    assert RunningRange().add(np.zeros((4, 4))) == PixelRange(0, 0)


def test_nuclei_of_a_size_that_the_network_does_not_know_are_made_as_large_as_it_knows_them():
    assert grid_for(local(3), (20, 100, 100), (2.0, 0.5, 0.5), 26.0).zoom == (1.0, 0.25, 0.25)
    assert grid_for(local(3), (20, 100, 100), (2.0, 0.5, 0.5), 2.6).zoom == (10.0, 2.5, 2.5)
    assert grid_for(local(3), (20, 100, 100), (2.0, 0.5, 0.5), 9.0).zoom == (4.0, 1.0, 1.0), "known as it is"
    assert grid_for(local(3), (20, 100, 100), (2.0, 0.5, 0.5), None).zoom == (4.0, 1.0, 1.0)
    said = predict_on(local(2), np.random.default_rng(0).random((50, 60)), (0.5, 0.25), diameter_um=13.0)
    assert said.output.foreground.shape == (25, 15)
    assert said.diameter_px == 13
    assert said.at_image().flow.shape == (2, 50, 60)


@pytest.mark.parametrize(("diameter_px", "pitch"), [(12, 24), (26, 48), (44, 70)])
def test_a_first_pass_finds_how_large_nuclei_are(diameter_px, pitch):
    image = discs((300, 300), diameter_px, pitch)
    found = estimate_diameter_um(NucleiNet(Oracle(), 2, 13.0, (1, 1)), image, (0.2, 0.2))
    assert found == pytest.approx(0.2 * diameter_px, rel=0.15)


def test_a_first_pass_does_not_take_the_body_that_holds_nuclei_for_one():
    """A glowing body of 56 px, which made small is as large as the network knows nuclei, with two in it."""
    y, x = np.indices((120, 120)) - 60
    image = 10 + 60.0 * (np.hypot(y, x) < 28)
    for cx in (-15, 15):
        image += 100 * (np.hypot(y, x - cx) < 7)
    # Seen fine, what is bright are nuclei; seen coarse, all of the body is.

    class Blurring(Oracle):
        def forward(self, x):
            return super().forward(x if x.shape[-1] > 100 else 1.4 * x)

    found = estimate_diameter_um(NucleiNet(Blurring(), 2, 13.0, (1, 1)), image, (1.0, 1.0))
    assert found == pytest.approx(14, rel=0.15)


def test_a_first_pass_that_finds_nothing_leaves_the_size_open():
    net = NucleiNet(Oracle(), 2, 13.0, (1, 1))
    said = predict_on(net, np.zeros((60, 60)), (0.2, 0.2))
    assert said.diameter_um is None
    assert isinstance(said.output, NetOutput)


def test_a_network_is_opened_from_its_weights_and_card_alone(tmp_path):
    shape = UNetShape(2, 1, 4, (4, 8))
    module = build_unet(shape, seed=3)
    card = save_weights(
        tmp_path / "mine.safetensors",
        module.state_dict(),
        ModelCard("mine", "1", shape.as_architecture(), "", recipe={"diameter_px": 17.0}),
    )
    net = open_net(tmp_path / "mine.safetensors", device="cpu")
    assert (net.dims, net.diameter_px, net.model_hash, net.name) == (2, 17.0, card.weights_sha256, "mine")
    image = np.random.default_rng(0).random((40, 40))
    np.testing.assert_allclose(predict(net, image).flow, predict(module, image).flow, atol=1e-6)


def test_what_is_no_such_network_is_refused():
    with pytest.raises(BadInputError, match="flow, foreground and boundary out"):
        as_net(build_unet(UNetShape(2, 1, 1, (4,))))
    with pytest.raises(BadInputError, match=r"image is \(5,\), expected 2 axes"):
        predict(local(2), np.zeros(5))
    with pytest.raises(BadInputError, match="diameter_um is 0"):
        predict(local(2), np.zeros((5, 5)), (1, 1), diameter_um=0)
    with pytest.raises(BadInputError, match="weights 'mine' did not come with parfocal"):
        shipped_weights("mine")
    with pytest.raises(BadInputError, match="tiles: tile_px"):
        TileSettings((0, 3))


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_a_network_that_is_written_as_it_is_asked_says_the_same_to_the_last_bit(tmp_path, norm):
    module = build_unet(UNetShape(3, 1, 5, (8, 8), norm=norm), seed=3)
    if norm == "batch":
        with torch.no_grad():  # statistics of their own, as training leaves them
            module.train()(torch.randn(4, 1, 8, 8, 8))
    net = as_net(module, diameter_px=11.0, device="cpu", name="taught")
    save_net(net, tmp_path / "net.safetensors")
    again = open_net(tmp_path / "net.safetensors", device="cpu")
    image = np.random.default_rng(0).normal(size=(12, 20, 20)).astype(np.float32)
    assert (again.dims, again.diameter_px, again.multiple_px) == (net.dims, 11.0, net.multiple_px)
    for one in ("flow", "foreground", "boundary"):
        np.testing.assert_array_equal(getattr(predict(again, image), one), getattr(predict(net, image), one))


def test_a_network_of_others_is_not_written(tmp_path):
    with pytest.raises(BadInputError, match="no U-Net of ours"):
        save_net(local(3), tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())
