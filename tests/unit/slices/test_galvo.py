"""The galvo's way back is found wherever it stands, exactly, and not where it is not."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from parfocal.errors import BadInputError
from parfocal.slices.sections import detect_galvo_for_slice, detect_galvo_shift, find_galvo_return

DATA = Path("../shared/data/F_slices")
needs_data = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
N_EXTRA = 40


def texture(rng, shape=(256, 128), contrast=0.3, mean=100.0):
    smooth = gaussian_filter(rng.standard_normal(shape), 6)
    return np.clip(mean * (1 + contrast * smooth / smooth.std()), 0, None)


def with_band(tile, start, factor, n=N_EXTRA):
    """Return the tile with its lines `start`... times a factor, around the ring."""
    marked = tile.copy()
    marked[(start + np.arange(n)) % tile.shape[0]] *= factor
    return marked


def misplaced(rng, start, factor, n=N_EXTRA, shape=(256, 128)):
    """Return a tile whose ring was cut at the wrong place: the image runs on over the tile's end."""
    n_lines = shape[0]
    image = texture(rng, (n_lines - n, shape[1]))
    way_back = image[np.linspace(n_lines - n - 1, 0, n).round().astype(int)] * factor  # the same lines, squeezed
    ring = np.vstack([image, way_back])
    return np.roll(ring, start + n, axis=0)


@pytest.mark.parametrize("factor", [0.6, 1.6], ids=["dark", "bright"])
@pytest.mark.parametrize("start", [0, 1, 77, 215, 217, 240, 255])
def test_a_band_is_found_to_the_line_wherever_it_begins(start, factor):
    rng = np.random.default_rng(start)
    found = find_galvo_return([misplaced(rng, start, factor) for _ in range(5)], N_EXTRA)
    assert found.start_line == start
    assert found.shift_lines == (256 - N_EXTRA - start) % 256
    assert found.confidence >= 0.6
    assert found.bright == (factor > 1)


def test_the_roll_brings_the_way_back_to_the_end():
    rng = np.random.default_rng(1)
    right = misplaced(rng, 216, 0.5)
    shift, _ = detect_galvo_shift(np.roll(right, 90, axis=0), N_EXTRA)
    np.testing.assert_array_equal(np.roll(np.roll(right, 90, axis=0), shift, axis=0), right)


def test_a_band_that_is_at_the_end_already_needs_nothing():
    rng = np.random.default_rng(2)
    found = find_galvo_return([misplaced(rng, 216, 0.5) for _ in range(3)], N_EXTRA)
    assert (found.shift_lines, found.confidence) == (0, 0.0)
    assert found.start_line == 216


def test_smooth_textures_have_no_way_back():
    rng = np.random.default_rng(6)
    hits = [detect_galvo_shift(texture(rng, (256, 64)), N_EXTRA)[1] >= 0.6 for _ in range(200)]
    assert np.mean(hits) < 0.01


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("contrast", [0.2, 0.3, 0.5])
def test_of_2000_smooth_textures_less_than_one_in_a_hundred_has_a_way_back(contrast):
    rng = np.random.default_rng(5)
    ours = theirs = 0
    for _ in range(2000):
        tile = texture(rng, (512, 512), contrast)
        ours += detect_galvo_shift(tile, N_EXTRA)[1] >= 0.6
        theirs += detect_galvo_shift(tile, N_EXTRA, compat="linumpy")[1] >= 0.6
    print(f"contrast {contrast}: {ours} of 2000, the original {theirs} of 2000")
    assert ours < 20 < theirs


def test_the_mode_of_the_original_misses_bright_bands_and_is_a_line_off():
    rng = np.random.default_rng(7)
    tile = texture(rng, contrast=0.05)
    assert detect_galvo_shift(with_band(tile, 100, 1.6), N_EXTRA, compat="linumpy")[1] < 0.6
    ours = detect_galvo_shift(with_band(tile, 100, 0.5), N_EXTRA)[0]
    theirs, confidence = detect_galvo_shift(with_band(tile, 100, 0.5), N_EXTRA, compat="linumpy")
    assert confidence >= 0.6
    assert theirs == ours + 1


def test_background_tiles_are_passed_over_and_more_candidates_are_taken():
    rng = np.random.default_rng(8)
    opened = []

    def tile(index):
        def load():
            opened.append(index)
            return misplaced(rng, 60, 0.5) if index in (3, 9) else np.full((256, 128), 5.0)

        return load

    found = find_galvo_return([tile(i) for i in range(12)], N_EXTRA)
    assert sorted(opened) == list(range(12))  # up to three times five
    assert found.n_tiles == 2
    assert found.start_line == 60


def test_a_section_with_nothing_but_background_has_no_answer():
    assert detect_galvo_for_slice([np.full((256, 64), 3.0)] * 9, n_extra=N_EXTRA) == (0, 0.0)


def test_one_tile_among_five_does_not_carry_the_vote():
    rng = np.random.default_rng(10)
    tiles = [texture(rng) for _ in range(4)] + [misplaced(rng, 60, 0.5)]
    assert detect_galvo_for_slice(tiles, n_extra=N_EXTRA)[1] < 0.6


def test_faint_bands_are_found_by_many_tiles_together():
    rng = np.random.default_rng(11)
    tiles = [with_band(texture(rng, contrast=0.2), 130, 0.88) for _ in range(5)]
    shift, confidence = detect_galvo_for_slice(
        tiles, n_extra=N_EXTRA, threshold=0.6, n_samples=5, min_intensity=20.0
    )
    assert shift == 256 - N_EXTRA - 130
    assert confidence >= 0.6


def test_below_the_threshold_there_is_no_shift_and_the_confidence_is_told():
    rng = np.random.default_rng(12)
    tiles = [misplaced(rng, 60, 0.5) for _ in range(3)] + [texture(rng), texture(rng)]
    shift, sure = detect_galvo_for_slice(tiles, N_EXTRA, threshold=0.5)
    assert shift == 156
    assert 0.5 < sure < 0.95
    assert detect_galvo_for_slice(tiles, N_EXTRA, threshold=0.95) == (0, sure)


def test_the_edge_of_a_tissue_is_no_band():
    rng = np.random.default_rng(13)
    tile = texture(rng)
    tile[120:] *= 0.3
    assert detect_galvo_shift(tile, N_EXTRA)[1] < 0.1


def test_volumes_are_projected_along_z():
    rng = np.random.default_rng(14)
    tile = misplaced(rng, 60, 0.5)
    volume = np.stack([tile * 0.5, tile * 1.5])
    np.testing.assert_allclose(detect_galvo_shift(volume, N_EXTRA), detect_galvo_shift(tile, N_EXTRA))


@needs_data
@pytest.mark.parametrize("n_extra", [5, 6, 7, 10, 20, 40])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_bright_columns_of_real_oct_are_no_way_back(number, n_extra):
    lines = tifffile.imread(DATA / f"oct_bscan_{number}.tif").T.astype(float)  # A-lines first
    assert detect_galvo_shift(lines, n_extra)[1] < 0.6


@needs_data
def test_real_sections_and_tiles_have_no_way_back():
    sections = tifffile.imread(DATA / "serial2p_sections_zyx.tif")
    worms = tifffile.imread(DATA / "celegans_em_sections.tif")
    tiles = [tifffile.imread(path) for path in sorted((DATA / "mosaic_5x5").glob("tile_*.tif"))]
    images = [*sections[::3], *worms[::3], *tiles[::3]]
    sure = [detect_galvo_shift(image, 20)[1] for image in images] + [
        detect_galvo_shift(image.T, 20)[1] for image in images
    ]
    assert max(sure) < 0.6


@needs_data
@pytest.mark.parametrize(("start", "factor"), [(33, 0.5), (300, 1.6), (405, 0.5)])
def test_a_band_planted_in_real_sections_is_found_to_the_line(start, factor):
    sections = tifffile.imread(DATA / "serial2p_sections_zyx.tif")[:5].astype(float)
    tiles = [with_band(section, start, factor) for section in sections]
    shift, confidence = detect_galvo_for_slice(tiles, N_EXTRA)
    assert shift == (416 - N_EXTRA - start) % 416
    assert confidence >= 0.6


@pytest.mark.parametrize(
    ("tiles", "n_extra", "said"),
    [
        ([np.ones(9)], 5, "shape"),
        ([np.full((64, 64), np.nan)], 5, "finite"),
        ([np.full((64, 64), 50.0)], 40, "cannot hold"),
        ([np.full((64, 64), 50.0), np.full((65, 64), 50.0)], 5, "expected one length"),
        ([np.full((64, 64), 50.0)], -1, "n_extra"),
    ],
)
def test_what_is_no_tile_is_refused(tiles, n_extra, said):
    with pytest.raises(BadInputError, match=said):
        find_galvo_return(tiles, n_extra)
