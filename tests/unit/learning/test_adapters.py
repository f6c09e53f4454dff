"""Adapters: few weights that change what a network says, on our networks and on Cellpose's."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.learning import (
    ModelCard,
    TrainSettings,
    UNetShape,
    adapter_state,
    add_adapters,
    build_unet,
    load_adapter,
    merge_adapters,
    open_adapter,
    save_adapter,
    save_weights,
    train,
)

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
torch.set_num_threads(1)


def cellpose_net():
    """Cellpose's own network, small: it gives output, style and features out."""
    resnet = pytest.importorskip("cellpose.resnet_torch", reason="Cellpose is not installed")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = resnet.CPnet([2, 8, 16], 3, 3)
        for module in net.modules():  # statistics as of a trained network
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 2)
    return net


NETS = {
    "unet2d": lambda: build_unet(UNetShape(dims=2, widths=(4, 8, 16))),
    "unet3d": lambda: build_unet(UNetShape(dims=3, widths=(4, 8))),
    "unet3d-batch": lambda: build_unet(UNetShape(dims=3, widths=(4, 8), norm="batch")),
    "cellpose": cellpose_net,
}


def image_for(name):
    generator = torch.Generator().manual_seed(3)
    size = {"unet2d": (1, 1, 16, 12), "cellpose": (1, 2, 16, 16)}.get(name, (1, 1, 8, 12, 16))
    return torch.randn(size, generator=generator)


def output_of(net, image):
    net.eval()
    with torch.inference_mode():
        out = net(image)
    return out[0] if isinstance(out, tuple) else out


def shaken(net):
    """Adapters as after training."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("name", NETS)
def test_fresh_adapters_change_nothing_and_merged_ones_say_what_separate_ones_said(name):
    net, image = NETS[name](), image_for(name)
    names = list(net.state_dict())
    before = output_of(net, image)
    add_adapters(net)
    assert torch.equal(output_of(net, image), before)
    shaken(net)
    adapted = output_of(net, image)
    assert float((adapted - before).abs().max()) > 1e-2
    merge_adapters(net)
    assert list(net.state_dict()) == names
    # To 1e-5 of the output's own size: CPnet's outputs are not of order 1.
    torch.testing.assert_close(output_of(net, image), adapted, rtol=0, atol=1e-5 * float(adapted.abs().max() + 1))


@pytest.mark.parametrize("name", NETS)
def test_an_adapter_moves_to_another_copy_of_its_base(name):
    net, other, image = NETS[name](), NETS[name](), image_for(name)
    add_adapters(net, rank=3, alpha=5)
    shaken(net)
    load_adapter(other, adapter_state(net))
    assert torch.equal(output_of(other, image), output_of(net, image))


@pytest.mark.parametrize("name", NETS)
def test_training_with_adapters_leaves_the_base_alone(name):
    net, image = NETS[name](), image_for(name)
    base = copy.deepcopy(net.state_dict())
    add_adapters(net)
    target = np.zeros((1, 1), np.float32)

    class First(torch.nn.Module):  # Cellpose's network gives a tuple out
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            out = self.net(x)
            return out[0] if isinstance(out, tuple) else out

    log = train(
        First(),
        lambda _: (image.numpy(), target),
        lambda out, _: (out**2).mean(),
        TrainSettings(8, rate=2e-2, warm_up_steps=0),
    )
    assert log.loss[-1] < log.loss[0]
    after = net.state_dict()
    changed = {key for key in base if not torch.equal(base[key], after[key])}
    norms = {key for key, module in net.named_modules() if "Norm" in type(module).__name__}
    assert changed
    assert {key.rpartition(".")[0] for key in changed} <= norms
    assert not [key for key in changed if "running" in key]
    assert any(float(after[key].abs().max()) > 0 for key in after if key.endswith("adapter.b"))


def test_after_merging_all_weights_may_be_trained_again():
    net = cellpose_net()
    wanted = {name for name, p in net.named_parameters() if p.requires_grad}
    assert "diam_mean" not in wanted
    add_adapters(net)
    merge_adapters(net)
    assert {name for name, p in net.named_parameters() if p.requires_grad} == wanted


def test_an_adapter_of_the_largest_network_that_is_shipped_is_small(tmp_path):
    shape = UNetShape(widths=(24, 48, 96))
    net = build_unet(shape)
    n_weights = sum(p.numel() for p in net.parameters())
    add_adapters(net)
    n_trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    save_adapter(tmp_path / "a.safetensors", net, ModelCard("n", "1", {}, ""), base=card_of(shape))
    assert (tmp_path / "a.safetensors").stat().st_size < 200_000
    assert 0.03 < n_trained / n_weights < 0.08


def card_of(shape, sha="ab" * 32):
    return ModelCard("nuclei3d", "shipped", shape.as_architecture(), sha)


def test_an_adapter_is_refused_on_another_base(tmp_path):
    shape = UNetShape(dims=2, widths=(4, 8))
    net = build_unet(shape)
    base = save_weights(tmp_path / "base.safetensors", net.state_dict(), card_of(shape))
    add_adapters(net)
    shaken(net)
    path = tmp_path / "adapter.safetensors"
    written = save_adapter(path, net, ModelCard("nuclei2d", "1", {}, ""), base=base)
    assert written.parent == base.weights_sha256
    assert written.architecture["base"] == base.architecture
    fresh = build_unet(shape)
    with pytest.raises(BadInputError, match=r"adapter\.safetensors: is an adapter of .{12}, not of nuclei3d 2"):
        open_adapter(path, fresh, base=replace(base, version="2", weights_sha256="cd" * 32))
    with pytest.raises(BadInputError, match=r"base\.safetensors: holds 'unet', not an adapter"):
        open_adapter(tmp_path / "base.safetensors", fresh, base=base)
    open_adapter(path, fresh, base=base)
    image = image_for("unet2d")
    # 16 bits on the disk
    torch.testing.assert_close(output_of(fresh, image), output_of(net, image), rtol=0, atol=5e-3)


def test_an_adapter_of_another_shape_leaves_the_network_as_it_was():
    net, other = build_unet(UNetShape(dims=2, widths=(4, 8))), build_unet(UNetShape(dims=2, widths=(8, 8)))
    names = list(net.state_dict())
    add_adapters(other)
    with pytest.raises(BadInputError, match=r"adapter: down\.0\.\S+ has shape"):
        load_adapter(net, adapter_state(other))
    assert list(net.state_dict()) == names
    with pytest.raises(BadInputError, match="has none to merge"):
        merge_adapters(net)
    with pytest.raises(BadInputError, match="Linear has no Conv2d or Conv3d"):
        add_adapters(torch.nn.Linear(2, 2))
