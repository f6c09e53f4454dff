"""One volume on two grids."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.errors import BadInputError
from parfocal.segmentation import NetOutput
from parfocal.segmentation.flows import flow_targets
from parfocal.segmentation.grids import (
    Grid,
    isotropic_um,
    labels_back,
    output_back,
    resample,
    resample_labels,
    resampled_region,
    to_isotropic,
)

sides = st.integers(1, 40)
voxels = st.floats(0.05, 5.0)
many = settings(max_examples=200, deadline=None, derandomize=True)


@many
@given(st.tuples(sides, sides, sides), st.tuples(voxels, voxels, voxels), st.integers(0, 1000))
def test_labels_survive_there_and_back_voxel_by_voxel_on_any_finer_grid(shape, voxel_um, seed):
    zoom = tuple(v / min(voxel_um) for v in voxel_um)
    if np.prod([n * z for n, z in zip(shape, zoom)]) > 3e5:
        return
    labels = np.random.default_rng(seed).integers(0, 9, shape).astype(np.int32)
    grid = Grid(shape, zoom)
    np.testing.assert_array_equal(labels_back(resample_labels(labels, grid), shape, zoom), labels)


@many
@given(st.tuples(sides, sides, sides), st.tuples(voxels, voxels, voxels), st.floats(0.1, 4.0))
def test_any_grid_leads_back_to_the_shape_it_came_from(shape, voxel_um, target):
    zoom = tuple(v / target for v in voxel_um)
    if np.prod([n * z for n, z in zip(shape, zoom)]) > 3e5:
        return
    grid = Grid(shape, zoom)
    there = np.arange(np.prod(grid.shape), dtype=np.int32).reshape(grid.shape)
    assert labels_back(there, shape, zoom).shape == shape
    assert labels_back(there, shape).shape == shape
    assert resample(np.zeros(shape, np.uint16), grid).shape == grid.shape


@many
@given(st.integers(8, 40), st.floats(0.3, 3.5))
def test_a_slope_keeps_its_place_on_any_grid(n, zoom):
    """A ramp says at which source position each new voxel lies; smoothing before coarsening leaves it."""
    grid = Grid((n,), (zoom,))
    ramp = resample(np.arange(n, dtype=np.float32), grid)
    inside = slice(int(6 * zoom) + 2, max(0, grid.shape[0] - int(6 * zoom) - 2))
    expected = (np.arange(grid.shape[0]) + 0.5) / zoom - 0.5
    np.testing.assert_allclose(ramp[inside], expected[inside], atol=2e-4)


def test_a_volume_grows_by_planes_and_not_by_pixels_unless_planes_are_far_apart():
    volume = np.zeros((20, 40, 40), np.uint16)
    near = to_isotropic(volume, (2.0, 0.5, 0.5))
    assert near.image.shape == (80, 40, 40)
    assert near.voxel_size_um == (0.5, 0.5, 0.5)
    far = to_isotropic(volume, (4.0, 0.2, 0.2))
    assert isotropic_um((4.0, 0.2, 0.2)) == 1.0
    assert far.image.shape == (80, 8, 8)


def test_an_object_keeps_its_centre_and_volume_in_um_there():
    grid = np.indices((24, 60, 60))
    centre = (11.0, 31.0, 27.0)
    voxel = (1.0, 0.4, 0.4)
    ball = (sum(((g - c) * v) ** 2 for g, c, v in zip(grid, centre, voxel)) < 64).astype(np.float32)
    there = to_isotropic(ball, voxel, 0.5)
    mass = there.image.sum() * 0.5**3
    assert mass == pytest.approx(ball.sum() * np.prod(voxel), rel=0.01)
    at = [(there.image * (g + 0.5)).sum() / there.image.sum() * 0.5 for g in np.indices(there.image.shape)]
    np.testing.assert_allclose(at, [(c + 0.5) * v for c, v in zip(centre, voxel)], atol=0.02)


def test_a_region_has_the_values_of_the_whole():
    image = np.random.default_rng(0).normal(size=(13, 37, 41)).astype(np.float32)
    grid = Grid(image.shape, (2.3, 0.4, 1.0))
    everything = resample(image, grid)
    asked = []

    def read(region):
        asked.append(region)
        return image[tuple(slice(*r) for r in region)]

    part = resampled_region(read, grid, ((7, 19), (3, 9), (10, 30)))
    np.testing.assert_allclose(part, everything[7:19, 3:9, 10:30], atol=1e-6)
    assert asked[0][2] == (9, 32), "one voxel more on either side, not the whole row"


def test_flows_come_back_as_arrows_in_the_sources_voxels():
    """Made at isotropic voxels and brought back, they point where flows made at the source's voxels do."""
    shape, zoom = (10, 40, 40), (4.0, 1.0, 1.0)
    grid = np.indices(shape)
    labels = (((grid[0] - 4.5) * 4) ** 2 + (grid[1] - 20) ** 2 + (grid[2] - 18) ** 2 < 225).astype(np.int32)
    there = resample_labels(labels, Grid(shape, zoom))
    flow, foreground, boundary = flow_targets(there)
    back = output_back(NetOutput(flow, foreground, boundary), Grid(shape, zoom))
    assert back.flow.shape == (3, *shape)
    expected = flow_targets(labels)[0]
    deep = (labels > 0) & (back.foreground == 1) & (np.hypot(grid[1] - 20, grid[2] - 18) > 3)
    agreement = (back.flow * expected).sum(0)[deep].mean()
    left_alone = labels_back(flow[1], shape, zoom) * expected[1] + labels_back(flow[2], shape, zoom) * expected[2]
    left_alone += labels_back(flow[0], shape, zoom) * expected[0]
    assert agreement > 0.98 > left_alone[deep].mean()
    np.testing.assert_allclose(np.linalg.norm(back.flow, axis=0)[deep], 1, atol=0.1)


@pytest.mark.parametrize("zoom", [(0.0, 1.0), (1.0,), (np.inf, 1.0), (np.nan, 1.0)])
def test_a_grid_of_nothing_is_refused(zoom):
    with pytest.raises(BadInputError, match=r"resampling: zoom is .* expected 2 numbers above 0"):
        Grid((3, 4), zoom)


def test_labels_of_another_grid_are_refused():
    with pytest.raises(BadInputError, match=r"labels back: labels are \(9, 9\), expected \(8, 8\)"):
        labels_back(np.zeros((9, 9), np.int32), (4, 4), (2.0, 2.0))
