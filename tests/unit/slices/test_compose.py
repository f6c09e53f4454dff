"""One image from many frames: right where there is structure, smooth where there is none, every stack kept."""

import numpy as np
import pytest
from scipy import ndimage

from parfocal.errors import BadInputError
from parfocal.slices.selection import compose, compose_batch, compose_morphseq, gather_evidence, select
from parfocal.slices.selection._compose import _noise_response
from parfocal.slices.selection._fill import filled

N, SIDE = 7, 96


@pytest.fixture(scope="module")
def scene():
    """A simulated scene, empty in a band of rows, and a noisy stack of it: focus runs from left to right."""
    rng = np.random.default_rng(0)
    truth = ndimage.gaussian_filter((rng.random((SIDE, SIDE)) < 0.015) * 8000.0, 1.2)
    truth[32:64] = 0
    truth += 100
    focus = np.linspace(0, N - 1, SIDE)
    stack = np.empty((N, SIDE, SIDE))
    for z in range(N):
        for x in range(SIDE):
            away = abs(focus[x] - z)
            near = truth[:, max(0, x - 20) : x + 21]
            blurred = ndimage.gaussian_filter(near, 0.7 * away) if away > 0.1 else near
            stack[z, :, x] = blurred[:, min(x, 20)]
    return truth, (rng.poisson(stack) + rng.normal(0, 3, stack.shape)).astype(np.float32), focus


def rms(image, truth):
    return float(np.sqrt(np.mean((image - truth) ** 2)))


def test_the_image_is_sharper_than_any_frame_and_than_an_argmax(scene):
    truth, stack, _ = scene
    frames = min(rms(frame, truth) for frame in stack)
    argmax = rms(compose_morphseq(stack, rescale=False)[0], truth)
    for method in ("softmax", "index"):
        made = rms(compose(stack, method=method).image, truth)
        assert made < 0.6 * frames
        assert made < 0.7 * argmax


def test_the_index_map_follows_the_focus_also_through_what_is_empty(scene):
    _, stack, focus = scene
    made = compose(stack, method="index")
    off = np.abs(made.index_map - focus)
    assert np.median(off) < 0.5
    assert made.flat[46:50].mean() > 0.9
    assert np.median(off[44:52]) < 1.0
    assert np.abs(np.diff(made.index_map[46:50], axis=0)).max() < 0.5  # smooth, where an argmax jumps by frames
    wild = compose_morphseq(stack, rescale=False)[1][46:50]
    assert np.abs(np.diff(wild, axis=0)).mean() > 1


def test_confidence_is_high_on_structure_and_1_where_there_is_none(scene):
    truth, stack, _ = scene
    made = compose(stack)
    bright = truth > 400
    assert np.median(made.confidence[bright]) > 3
    assert np.median(made.confidence[46:50]) < 2
    assert made.confidence.min() >= 1
    assert np.isfinite(made.confidence).all()


def test_pure_noise_is_flat_nearly_everywhere():
    noise = np.random.default_rng(1).normal(100, 10, (5, 128, 128))
    assert compose(noise).flat.mean() > 0.99


@pytest.mark.parametrize("window", [1, 5, 9])
@pytest.mark.parametrize("sigma", [0.7, 1.5, 3.0])
def test_the_energy_of_noise_is_taken_off_and_its_scatter_is_known(sigma, window):
    noise = np.random.default_rng(2).normal(50, 4, (400, 400)).astype(np.float32)
    power, scatter = _noise_response(sigma, window)
    response = ndimage.uniform_filter(ndimage.gaussian_laplace(noise.astype(float), sigma) ** 2, window)[
        20:-20, 20:-20
    ]
    assert response.mean() == pytest.approx(16 * power, rel=0.05)
    assert response.std() == pytest.approx(16 * scatter, rel=0.1)


def test_provenance_says_how_to_make_it_again(scene):
    _, stack, _ = scene
    chosen = select(gather_evidence(stack), "peak_relative", alpha=0.5)
    made = compose(stack, chosen, window_px=5)
    assert made.frames == chosen.frames
    again = compose(stack, made.provenance["frames"], window_px=made.provenance["window_px"])
    assert np.array_equal(made.image, again.image)
    assert made.provenance["rule"] == "peak_relative"
    assert made.provenance["parameters"]["alpha"] == 0.5


def test_index_maps_count_frames_of_the_whole_stack(scene):
    _, stack, _ = scene
    made = compose(stack, [2, 6], method="index")
    assert made.index_map.min() >= 2
    assert made.index_map.max() <= 6
    alone = compose(stack, [3])
    assert np.allclose(alone.image, stack[3])
    assert (alone.index_map == 3).all()


def test_offsets_and_integers_make_no_difference(scene):
    _, stack, _ = scene
    high = np.round(stack + 30000).astype(np.uint16)
    a, b = compose(np.round(stack)), compose(high)
    assert np.abs(b.image - 30000 - a.image).max() < 1
    assert np.isfinite(compose(np.where(stack == stack.max(), np.nan, stack)).index_map).all()


def test_a_batch_keeps_every_stack(scene):
    _, stack, _ = scene
    batch = np.stack([stack, stack[::-1], stack[:, ::-1]])
    made = compose_batch(batch, [None, [0, 1, 2], None])
    assert len(made) == 3
    assert np.array_equal(made[0].image, compose(stack).image)
    assert made[1].frames == (0, 1, 2)
    assert len({m.image.tobytes() for m in made}) == 3
    assert len(compose_batch(batch, compat="morphseq")) == 3


def test_what_cannot_be_composed_is_said_in_one_line(scene):
    _, stack, _ = scene
    nothing = select(gather_evidence(stack), "dbscan", rank=9)
    with pytest.raises(BadInputError, match="no frame is selected"):
        compose(stack, nothing)
    with pytest.raises(BadInputError, match="selection is of 7 frames, the stack has 5"):
        compose(stack[:5], nothing)
    with pytest.raises(BadInputError, match=r"frames \[9\] of a stack with frames 0 to 6"):
        compose(stack, [9])
    with pytest.raises(BadInputError, match="window_px is 8, expected odd"):
        compose(stack, window_px=8)
    with pytest.raises(BadInputError, match="stack 1: compose: no frame"):
        compose_batch([stack, stack], [None, []])
    with pytest.raises(BadInputError, match="2 stacks and 1 selections"):
        compose_batch([stack, stack], [None])


def test_morphseq_is_the_plain_argmax_with_its_bright_frame():
    rng = np.random.default_rng(3)
    stack = rng.integers(200, 4000, (4, 30, 40)).astype(np.uint16)
    image, index, response = compose_morphseq(stack.astype(float), rescale=False)
    # both kernels written out, zeros beyond the border
    padded = np.pad(stack.astype(float), ((0, 0), (1, 1), (1, 1)))
    blurred = sum(
        w * padded[:, dy : dy + 30, dx : dx + 40]
        for (dy, dx), w in zip(np.ndindex(3, 3), (1, 2, 1, 2, 4, 2, 1, 2, 1))
    ) / 16  # fmt: skip
    padded = np.pad(blurred, ((0, 0), (1, 1), (1, 1)))
    laplacian = sum(
        w * padded[:, dy : dy + 30, dx : dx + 40]
        for (dy, dx), w in zip(np.ndindex(3, 3), (2, 0, 2, 0, -8, 0, 2, 0, 2))
    )
    assert np.allclose(response, np.abs(laplacian), rtol=1e-4, atol=0.5)
    assert np.array_equal(index, np.argmax(np.abs(laplacian), axis=0))
    assert np.array_equal(image, np.take_along_axis(stack, index[None], 0)[0])
    made = compose(stack, compat="morphseq")
    assert made.image.dtype == np.uint8
    assert np.array_equal(made.index_map, compose_morphseq(stack)[1])
    assert response[:, 0].mean() > 1.5 * response[:, 10].mean()


def test_filling_keeps_what_is_known_and_is_linear_in_between():
    x = np.broadcast_to(np.arange(64, dtype=np.float32), (64, 64))
    known = np.zeros((64, 64), np.float32)
    known[:, :20] = known[:, 44:] = 1
    found = filled(np.where(known > 0, x, 1e6).astype(np.float32), known)
    assert np.array_equal(found[known > 0], x[known > 0])
    assert np.abs(found - x).max() < 8
    assert np.abs(np.diff(found, axis=1)).max() < 4
