"""U-Nets: any size in and out, and a fast copy that says the same."""

import subprocess
import sys

import pytest

from parfocal.errors import BadInputError
from parfocal.learning import UNetShape, build_unet, for_inference

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (UNetShape(dims=2, n_in=2, n_out=4, widths=(4, 8, 12)), (17, 5)),
        (UNetShape(dims=3, widths=(4, 8, 12)), (9, 11, 13)),
        (UNetShape(dims=3, widths=(4, 8, 12), z_pool=(False, True), norm="batch"), (1, 8, 3)),
        (UNetShape(dims=2, widths=(4,)), (6, 7)),
        (UNetShape(dims=2, widths=(4, 8), norm="none"), (8, 9)),
    ],
)
def test_an_image_of_any_size_gives_as_many_pixels_back(shape, size):
    net = build_unet(shape).eval()
    image = torch.randn(2, shape.n_in, *size)
    with torch.inference_mode():
        assert net(image).shape == (2, shape.n_out, *size)
    assert UNetShape.from_architecture(shape.as_architecture()) == shape


@pytest.mark.parametrize(
    "shape",
    [
        UNetShape(dims=2, n_out=1, widths=(4, 4, 4), norm="batch"),
        UNetShape(dims=3, n_out=1, widths=(4, 4), z_pool=(False,), norm="batch"),
    ],
)
def test_an_output_pixel_looks_no_farther_than_is_said(shape):
    net = build_unet(shape).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()  # so that nothing cancels
    sides = [2 * r + 9 for r in shape.reach_px]
    seen = [0] * shape.dims
    for shift in (0, 1, 2, 3):  # where a pixel lies within what is pooled with it
        image = torch.ones(1, 1, *sides, requires_grad=True)
        at = [side // 2 + shift for side in sides]
        net(image)[0, 0][tuple(at)].backward()
        for axis, where in enumerate(zip(*torch.nonzero(image.grad[0, 0]).tolist(), strict=True)):
            seen[axis] = max(seen[axis], at[axis] - min(where), max(where) - at[axis])
    assert tuple(seen) == shape.reach_px


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("dims", [2, 3])
def test_the_fast_copy_says_what_the_network_says(dims, norm):
    net = build_unet(UNetShape(dims=dims, widths=(4, 8), norm=norm))
    image = torch.randn(1, 1, *(12, 20, 16)[-dims:])
    net(image)  # statistics
    names = list(net.state_dict())
    fast, sixteen = for_inference(net), for_inference(net, bfloat16=True)
    net.eval()
    with torch.inference_mode():
        wanted = net(image)
        torch.testing.assert_close(fast(image), wanted, rtol=0, atol=1e-3 * float(wanted.abs().max()))
        torch.testing.assert_close(sixteen(image), wanted, rtol=0, atol=0.05 * float(wanted.abs().max()))
    assert list(net.state_dict()) == names
    assert any(isinstance(m, torch.nn.GroupNorm | torch.nn.Identity) for m in fast.modules())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dims": 4}, "dims is 4; expected 2 or 3"),
        ({"widths": (6,)}, "expected multiples of 4"),
        ({"widths": ()}, "expected multiples of 4"),
        ({"n_out": 0}, "n_out 0; expected at least 1"),
        ({"z_pool": (True,)}, "expected 2 values, or none"),
        ({"dims": 2, "z_pool": (True, True)}, "expected none in 2D"),
        ({"norm": "layer"}, "expected group, batch or none"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(wrong, said):
    with pytest.raises(BadInputError, match=said):
        UNetShape(**wrong)


def test_without_pytorch_the_room_can_be_imported_and_says_what_is_missing():
    code = (
        "import sys, importlib.util as u; f = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'torch' else f(name, *a)\n"
        "import parfocal.learning as l\n"
        "assert 'torch' not in sys.modules\n"
        "try: l.build_unet(l.UNetShape())\n"
        "except l._build.need_torch.__globals__['BadInputError'] as e: print(e)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "a network needs PyTorch (not installed: torch): pip install 'parfocal[torch]'\n"
