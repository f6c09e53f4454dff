"""Spots localized: to the bound, at the border, side by side, in movies, with what the camera is."""

import math
from dataclasses import replace

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.fitting import DefocusModel, WidthCurve, crlb_psf, crlb_z, spot_image
from parfocal.optics import CameraModel, scmos_camera
from parfocal.puncta.detection import (
    LocalizeSettings,
    localize,
    localize_frames,
    localize_movie,
    thunderstorm_settings,
    uncertainty_nm,
)
from parfocal.puncta.evaluation import match_localizations
from parfocal.puncta.simulation import IMMOBILE, Background, CameraChain, Psf, PunctaScene, simulate_puncta

CAMERA = CameraModel(100.0, 2.2, 1.5)
SIGMA_PX = 0.72
GRID = np.linspace(12, 147, 10)


def grid_places(rng):
    return np.array([(y, x) for y in GRID for x in GRID]) + rng.uniform(-0.5, 0.5, (100, 2))


def expected(places, photons, background, sigma_px=SIGMA_PX, shape=(160, 160)):
    mean = np.full(shape, float(background))
    for y, x in places:
        mean += spot_image(shape, x, y, sigma_px, sigma_px, photons)
    return mean


def read_out(mean, rng, camera=CAMERA):
    electrons = rng.poisson(mean) + rng.normal(0, 1, mean.shape) * camera.read_noise_e
    return np.clip(np.round(camera.offset_adu + camera.gain_adu_per_e * electrons), 0, 65535).astype(np.uint16)


def paired(found, places, within_px=1.5):
    """Return errors (dx, dy) and rows of what is near a place, each place once."""
    distance = np.hypot(found.x_px[:, None] - places[:, 1], found.y_px[:, None] - places[:, 0])
    nearest = distance.argmin(axis=1)
    rows = np.flatnonzero(distance[np.arange(len(found)), nearest] < within_px)
    assert len(set(nearest[rows])) == len(rows)
    return found.x_px[rows] - places[nearest[rows], 1], found.y_px[rows] - places[nearest[rows], 0], rows


@pytest.mark.parametrize(("photons", "background"), [(200, 5), (1000, 100), (10_000, 500)])
def test_isolated_puncta_are_known_to_their_bound_and_their_errors_are_stated_truly(photons, background):
    rng = np.random.default_rng(0)
    places = grid_places(rng)
    mean = expected(places, photons, background)
    errors, pulls = [], []
    for _ in range(12):
        found = localize(read_out(mean, rng), CAMERA)
        dx, dy, rows = paired(found, places)
        assert len(rows) >= 99
        errors += [dx, dy]
        pulls += [dx / found.x_se_px[rows], dy / found.y_se_px[rows]]
    bound = math.sqrt(crlb_psf(SIGMA_PX, SIGMA_PX, photons, background, CAMERA, 7)[0, 0])
    rmse = float(np.sqrt(np.mean(np.square(np.concatenate(errors)))))
    assert rmse <= 1.08 * bound
    assert 0.65 <= (np.abs(np.concatenate(pulls)) < 1).mean() <= 0.71
    assert np.median(found.photons[rows]) == pytest.approx(photons, rel=0.05)


def test_diffraction_spots_are_known_to_the_bound_of_a_gaussian_nearly():
    scene = PunctaScene(
        shape_px=(160, 160),
        n_frames=6,
        n_puncta=60,
        margin_px=-8,
        min_distance_px=12,
        photons=1000,
        photons_spread=0,
        psf=Psf(kind="diffraction"),
        motion=IMMOBILE,
        background=Background(2, 18, field_contrast=0),
        camera=CameraChain(kind="uniform", read_noise_e=1.5),
    )
    recording = simulate_puncta(scene)
    truth, camera = recording.truth, recording.camera_model
    found = localize_movie(recording.movie, camera)
    errors = []
    for k in range(scene.n_frames):
        here = truth.frame == k
        places = np.stack([truth.y_px[here], truth.x_px[here]], axis=1)
        dx, dy, rows = paired(found.take(found.frame == k), places)
        assert len(rows) >= 0.98 * len(places)
        errors += [dx, dy]
    bound = math.sqrt(crlb_psf(SIGMA_PX, SIGMA_PX, 1000, 20, camera, 7)[0, 0])
    assert np.sqrt(np.mean(np.square(np.concatenate(errors)))) <= 1.15 * bound


@pytest.mark.parametrize("method", ["wlsq", "lsq"])
def test_least_squares_find_the_same_spots_and_state_their_errors(method):
    rng = np.random.default_rng(2)
    places = grid_places(rng)
    found = localize(read_out(expected(places, 2000, 50), rng), CAMERA, LocalizeSettings(method=method))
    dx, dy, rows = paired(found, places)
    assert len(rows) >= 98
    pull = np.concatenate([dx / found.x_se_px[rows], dy / found.y_se_px[rows]])
    assert 0.6 < np.std(pull) < 1.35


def test_thunderstorms_own_settings_leave_the_border_out():
    rng = np.random.default_rng(3)
    places = np.array([[1.0, 30.0], [30.0, 30.0]])
    frame = read_out(expected(places, 5000, 10, shape=(60, 60)), rng)
    assert len(localize(frame, CAMERA)) == 2
    ours = localize(frame, CAMERA, thunderstorm_settings("wlsq", threshold="3*std(Wave.F1)"))
    assert len(ours) == 1
    assert ours.y_px[0] == pytest.approx(30, abs=0.1)


def test_a_spot_in_the_corner_is_fitted_there():
    rng = np.random.default_rng(4)
    place = np.array([[0.3, 0.8]])
    mean = expected(place, 3000, 10, shape=(40, 40))
    errors = [paired(localize(read_out(mean, rng), CAMERA), place)[:2] for _ in range(30)]
    assert len(np.ravel(errors)) == 60
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.08


def test_two_spots_that_one_fit_would_take_for_one_are_told_apart():
    rng = np.random.default_rng(5)
    places = np.array([[20.0, 18.9], [20.0, 21.1], [20.6, 40.2]])
    mean = expected(places, 3000, 20, shape=(42, 60))
    found = localize(read_out(mean, rng), CAMERA)
    dx, dy, rows = paired(found, places)
    assert len(rows) == 3 == len(found)
    assert np.abs([dx, dy]).max() < 0.15
    assert sorted(found.n_emitters.tolist()) == [1, 2, 2]
    alone = localize(read_out(mean, rng), CAMERA, LocalizeSettings(max_emitters=1))
    assert max(np.abs(paired(alone, places)[0])) > 0.15


def test_one_spot_stays_one_however_bright():
    rng = np.random.default_rng(6)
    places = grid_places(rng)
    found = localize(read_out(expected(places, 50_000, 20), rng), CAMERA)
    assert len(found) == 100
    assert (found.n_emitters == 1).all()


def test_wide_spots_are_fitted_in_a_wider_picture():
    rng = np.random.default_rng(7)
    places = np.array([(y, x) for y in (20.0, 50, 80) for x in (20.0, 50, 80)])
    found = localize(read_out(expected(places, 4000, 5, 2.8, (100, 100)), rng), CAMERA)
    _dx, _dy, rows = paired(found, places)
    assert len(rows) == 9 == len(found)
    assert np.median(found.sigma_x_px) == pytest.approx(2.8, rel=0.1)


def test_wide_spots_that_overlap_are_told_apart_when_nothing_is_told():
    """Spots of 1.9 px in pairs, 6 px apart: a picture of 7 px holds neither of them."""
    rng = np.random.default_rng(17)
    corners = [(y, x) for y in range(16, 140, 24) for x in range(16, 140, 24)]
    places = np.array([(y + side, x + side) for y, x in corners for side in (0.0, 4.3)])
    places += rng.uniform(-0.5, 0.5, places.shape)
    frame = read_out(expected(places, 2000, 20, 1.9), rng)

    def farthest(found):
        """Return how far from each place the nearest spot is, px, of nine places in ten at most."""
        away = np.hypot(found.x_px[:, None] - places[:, 1], found.y_px[:, None] - places[:, 0])
        return np.quantile(away.min(axis=0), 0.9)

    untold, in_seven = localize(frame, CAMERA), localize(frame, CAMERA, LocalizeSettings(fit_radius_px=3))
    assert abs(len(untold) - len(places)) <= 2
    assert farthest(untold) < 0.4
    assert farthest(untold) < 0.75 * farthest(in_seven)


def test_dim_wide_spots_are_found_beside_brighter_ones_and_noise_is_not():
    rng = np.random.default_rng(20)
    places = grid_places(rng)
    bright, dim = places[:50], places[50:]
    found_dim = wrong = 0
    for _ in range(4):
        frame = read_out(expected(bright, 1500, 20, 2.0) + expected(dim, 260, 0, 2.0), rng)
        found = localize(frame, CAMERA)
        rows = paired(found, places, within_px=3.0)[2]
        wrong += len(found) - len(rows)
        found_dim += len(paired(found.take(rows), dim, within_px=3.0)[2])
    assert found_dim > 0.8 * 4 * len(dim)  # a third, where only the filter for a pixel's width looks
    assert wrong <= 8


def test_what_is_told_of_the_radius_is_kept():
    rng = np.random.default_rng(18)
    frame = read_out(expected(grid_places(rng), 2000, 20, 1.9), rng)
    untold, told = localize(frame, CAMERA), localize(frame, CAMERA, LocalizeSettings(fit_radius_px=5))
    assert untold.x_px == pytest.approx(told.x_px, abs=1e-3)  # 2 x 1.9 and a half are 5
    in_seven = localize(frame, CAMERA, LocalizeSettings(fit_radius_px=3))
    assert len(in_seven) == len(told)
    assert np.abs(in_seven.x_px - told.x_px).max() > 1e-2
    assert thunderstorm_settings().fit_radius_px == 3


def test_rings_of_bright_spots_are_no_spots_in_a_crowd():
    recording = simulate_puncta(
        PunctaScene(
            shape_px=(160, 160), n_frames=4, pixel_size_um=(0.05, 0.05), n_puncta=100, is_count_exact=True,
            margin_px=-10, photons=20_000, photons_spread=0.0, psf=Psf(kind="diffraction"), motion=IMMOBILE,
            background=Background(offset_photons=0, sample_photons=20, field_contrast=0),
            camera=CameraChain(kind="uniform", read_noise_e=1.5), seed=3,
        )
    )  # fmt: skip

    def n_wrong(share):
        how = LocalizeSettings(ring_share=share)
        found = localize_movie(recording.movie, recording.camera_model, how, (0.05, 0.05))
        matching = match_localizations(recording.truth, found)
        return len(found) - len(matching.found_row), len(matching.found_row)

    (wrong, right), (kept_wrong, kept_right) = n_wrong(LocalizeSettings().ring_share), n_wrong(0.0)
    assert wrong < 0.75 * kept_wrong
    assert right >= kept_right - 4


def test_a_dim_spot_beside_a_bright_one_is_kept_where_it_is_no_ring():
    rng = np.random.default_rng(19)
    mean = expected([(20.0, 20.0)], 20_000, 20, 1.2, (48, 48)) + expected([(20.0, 24.5)], 3000, 0, 1.2, (48, 48))
    mean += expected([(36.0, 36.0)], 1000, 0, 1.2, (48, 48))
    found = localize(read_out(mean, rng), CAMERA)
    assert sorted(np.round(found.photons, -3)) == [1000, 3000, 20_000]


def test_noisy_pixels_of_a_known_camera_are_no_spots_and_do_not_pull():
    rng = np.random.default_rng(8)
    camera = scmos_camera((160, 160), 1, read_noise_e=1.5)
    noise = np.array(camera.read_noise_e)
    noise[rng.random(noise.shape) < 0.002] = 40.0
    camera = replace(camera, read_noise_e=noise)
    places = grid_places(rng)
    frames = [read_out(expected(places, 800, 10), rng, camera) for _ in range(6)]
    knowing = [localize(frame, camera) for frame in frames]
    flat = CameraModel(100.0, 2.2, 1.5)
    guessing = [localize(frame, flat) for frame in frames]
    wrong = [sum(len(f) - len(paired(f, places)[2]) for f in found) for found in (knowing, guessing)]
    assert wrong[0] <= 3 < wrong[1]
    pull = np.concatenate([paired(f, places)[0] / f.x_se_px[paired(f, places)[2]] for f in knowing])
    assert np.std(pull) < 1.15


def test_amplified_electrons_double_the_variance_of_a_position():
    rng = np.random.default_rng(9)
    camera = CameraModel(100.0, 6.0, 0.2, em_gain=300.0)
    places = grid_places(rng)
    pulls = []
    for _ in range(8):
        counts = rng.poisson(expected(places, 1000, 20))
        frame = np.round(100 + 6.0 * rng.gamma(np.maximum(counts, 1e-9))).astype(np.uint16)
        found = localize(frame, camera)
        dx, dy, rows = paired(found, places)
        pulls += [dx / found.x_se_px[rows], dy / found.y_se_px[rows]]
    assert np.std(np.concatenate(pulls)) == pytest.approx(1.0, abs=0.07)


def test_z_comes_from_the_locks_own_model():
    rng = np.random.default_rng(10)
    model = DefocusModel(WidthCurve(1.3, -0.2, 0.4), WidthCurve(1.3, 0.2, 0.4), 0.0, (-0.4, 0.4), 0.1)
    errors = []
    for z in np.linspace(-0.3, 0.3, 25):
        sigma_x, sigma_y = (float(w) for w in model.widths_px(z))
        mean = spot_image((40, 40), 20.2, 19.7, sigma_x, sigma_y, 5000, 10)
        found = localize(read_out(mean, rng), CAMERA, LocalizeSettings(defocus_model=model))
        _, _, (row,) = paired(found, np.array([[19.7, 20.2]]))
        errors.append((found.z_um[row] - z) / float(crlb_z(z, 5000, 10, model, CAMERA)))
    assert np.sqrt(np.mean(np.square(errors))) < 1.4


def test_what_stands_still_can_be_taken_off():
    rng = np.random.default_rng(11)
    still = np.array([[15.0, 15.0], [30.0, 40.0]])
    light = expected(still, 2000, 10, 2.0, (60, 60))
    moving = [np.array([[10 + 2.0 * t, 45.0]]) for t in range(20)]
    movie = np.stack([read_out(light + expected(m, 1500, 0, shape=(60, 60)), rng) for m in moving])
    plain = localize_movie(movie, CAMERA)
    found = localize_movie(movie, CAMERA, LocalizeSettings(baseline_frames=20))
    assert len(plain) >= 55
    assert len(found) == pytest.approx(20, abs=2)
    assert np.abs(found.x_px - 45).max() < 0.5


def test_a_stream_of_frames_gives_what_each_frame_gives_alone():
    rng = np.random.default_rng(12)
    mean = expected(np.array([[10.0, 12.0], [25.0, 30.0]]), 2000, 10, shape=(40, 40))
    frames = [read_out(mean, rng) for _ in range(40)]
    said = []
    found = localize_movie(iter(frames), CAMERA, on_progress=lambda done, n: said.append((done, n)))
    assert said[-1] == (40, len(found))
    assert said[0][0] == 32
    blocks = list(localize_frames(iter(frames), CAMERA, first_frame=5))
    assert [int(b.frame.min()) for b in blocks] == [5, 37]
    for k in (0, 39):
        alone = localize(frames[k], CAMERA, frame_index=k)
        np.testing.assert_array_equal(found.take(found.frame == k).x_px, alone.x_px)


def test_a_movie_that_was_interrupted_goes_on_where_it_was(tmp_path):
    rng = np.random.default_rng(13)
    mean = expected(np.array([[10.0, 12.0]]), 2000, 10, shape=(30, 30))
    frames = [read_out(mean, rng) for _ in range(70)]
    whole = localize_movie(frames, CAMERA)
    journal = tmp_path / "parts"

    def broken():
        yield from frames[:50]
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="went away"):
        localize_movie(broken(), CAMERA, journal=journal)
    said = []
    again = localize_movie(frames, CAMERA, journal=journal, on_progress=lambda done, n: said.append(done))
    assert said == [32, 64, 70]
    for name, column in whole.columns().items():
        np.testing.assert_array_equal(again.columns()[name], column, err_msg=name)
    with pytest.raises(BadInputError, match="other settings"):
        localize_movie(frames, CAMERA, LocalizeSettings(min_photons=9), journal=journal)


def test_the_formula_agrees_with_the_bound():
    for background in (5, 50, 500):
        sd = math.sqrt(background)
        said = float(uncertainty_nm(1000, sd, 92.0, 130.0))
        noiseless = CameraModel(0.0, 1.0, 0.0)
        s = math.hypot(92.0, 0) / 130
        bound = 130 * math.sqrt(crlb_psf(s, s, 1000, background, noiseless, 13)[0, 0])
        assert said == pytest.approx(bound, rel=0.05)
    assert uncertainty_nm(1000, 3.0, 92.0, 130.0, em_gain=True) > 1.3 * uncertainty_nm(1000, 3.0, 92.0, 130.0)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (np.zeros((3, 40, 40)), "expected real numbers"),
        (np.zeros((5, 40)), "at least 7 px"),
        (np.zeros((40, 40), complex), "complex"),
    ],
)
def test_what_is_no_frame_is_refused(frame, said):
    with pytest.raises(BadInputError, match=said):
        localize(frame, CAMERA)


def test_a_camera_map_of_another_shape_is_refused():
    with pytest.raises(BadInputError, match="crop the model"):
        localize(np.zeros((40, 40)), scmos_camera((50, 50), 0))


def test_a_frame_of_nothing_and_one_of_nan_give_no_spots():
    assert len(localize(np.full((40, 40), 100, np.uint16), CAMERA)) == 0
    frame = np.full((40, 40), 100.0)
    frame[20, 20] = np.nan
    assert len(localize(frame, CAMERA)) == 0
