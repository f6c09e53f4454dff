"""Serial sections of a block that is known: what was planted is found, or its absence is said."""

import numpy as np
import pytest
from scipy import ndimage

from parfocal.slices.sections import SectionArrays

SIDE, MARGIN, DEPTH = 128, 48, 3


def block(n_planes, seed=0, side=SIDE + 2 * MARGIN):
    """Return a block `[z, y, x]` that changes slowly along z, 2,000 to 50,000."""
    rng = np.random.default_rng(seed)
    volume = ndimage.gaussian_filter(rng.normal(size=(n_planes, side, side)), (12, 2.5, 2.5), mode="wrap")
    return (22000 + 6000 * volume / volume.std()).clip(2000, 50000).astype(np.uint16)


def cut(volume, k, dy=0, dx=0):
    """Return section k of a block as a camera sees it that stands (dy, dx) px off: what it must be moved by."""
    y, x = MARGIN + dy, MARGIN + dx
    return volume[k * DEPTH : (k + 1) * DEPTH, y : y + SIDE, x : x + SIDE]


@pytest.fixture(scope="session")
def tissue():
    return block(8 * DEPTH)


@pytest.fixture(scope="session")
def offsets_px():
    """Cumulative position (dy, dx) of each of eight sections."""
    return [(0, 0), (3, -5), (8, -9), (6, -2), (1, 4), (-5, 6), (-9, 1), (-4, -6)]


@pytest.fixture
def sections(tissue, offsets_px):
    """Eight sections by id; 5 um planes of 10 um pixels."""
    volumes = {f"{k:02d}": cut(tissue, k, *at) for k, at in enumerate(offsets_px)}
    return SectionArrays(volumes, (5.0, 10.0, 10.0))
