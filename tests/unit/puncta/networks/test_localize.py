"""The shipped network, asked: puncta are found where they are, alone and in a crowd."""

import dataclasses

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta import Localizations, join_localizations
from parfocal.puncta.evaluation import match_localizations
from parfocal.puncta.networks import (
    DecodeSettings,
    PunctaNetShape,
    RefitSettings,
    Refitter,
    answers,
    as_puncta_net,
    build_puncta_net,
    decode,
    join_members,
    localize_with_ensemble,
    localize_with_net,
    open_puncta_net,
)
from parfocal.puncta.simulation import (
    IMMOBILE,
    Background,
    Calcium,
    CameraChain,
    Psf,
    PunctaScene,
    simulate_puncta,
)

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
torch.set_num_threads(1)

PIXEL = (0.13, 0.13)


@pytest.fixture(scope="module")
def net():
    return open_puncta_net("puncta", device="cpu")


def recording(
    n_puncta, photons=1000.0, background=50.0, n_frames=2, side=96, psf="gaussian", camera="scmos", seed=5
):
    return simulate_puncta(
        PunctaScene(
            shape_px=(side, side), pixel_size_um=PIXEL, n_frames=n_frames, psf=Psf(kind=psf), n_puncta=n_puncta,
            is_count_exact=True, photons=photons, photons_spread=0.0, motion=IMMOBILE, camera=CameraChain(camera),
            background=Background(offset_photons=background, sample_photons=0.0, field_contrast=0.0), seed=seed,
        )
    )  # fmt: skip


def found_in(what, net, **options):
    return localize_with_net(what.movie, net, camera_model=what.camera_model, pixel_size_um=PIXEL, **options)


def test_a_crowd_is_told_apart_and_each_is_where_it_is(net):
    crowd = recording(37)  # 4 per 1000 px
    matching = match_localizations(crowd.truth, found_in(crowd, net))
    assert matching.efficiency > 80
    assert matching.precision > 0.94


@pytest.mark.parametrize("psf", ["gaussian", "diffraction"])
def test_the_network_alone_tells_lone_puncta_without_any_fit(net, psf):
    few = recording(6, photons=2000.0, psf=psf, seed=8)
    matching = match_localizations(few.truth, found_in(few, net, refit="none"))
    assert matching.jaccard > 0.9
    assert matching.rmse_nm < 20


def test_an_emccds_electrons_are_counted_as_they_are(net):
    few = recording(6, photons=3000.0, camera="emccd", seed=4)
    found = found_in(few, net, refit="none")
    assert match_localizations(few.truth, found).jaccard > 0.9
    assert np.median(found.photons) == pytest.approx(3000, rel=0.35)
    assert np.median(found.background) == pytest.approx(50, rel=0.3)


def test_nothing_is_found_where_there_is_nothing(net):
    empty = recording(0, n_frames=4)
    assert len(found_in(empty, net)) <= 1


def test_a_movie_read_as_it_goes_gives_what_the_whole_gives(net):
    crowd = recording(20, n_frames=4, side=64)
    whole = found_in(crowd, net)
    streamed = localize_with_net(
        iter(crowd.movie), net, camera_model=crowd.camera_model, pixel_size_um=PIXEL, batch=3
    )
    assert whole.frame.tolist() == streamed.frame.tolist()
    np.testing.assert_allclose(whole.x_px, streamed.x_px, atol=0.02)


def test_tiles_give_what_the_whole_frame_gives():
    shape = PunctaNetShape(1, 4, (8, 8))
    net = as_puncta_net(build_puncta_net(shape, seed=2), device="cpu", bfloat16=False)
    frames = np.random.default_rng(1).poisson(30.0, (2, 150, 170)).astype(np.uint16)
    camera = CameraModel(0.0, 1.0, 1.0)
    whole = [answer.planes for answer in answers(frames, net, camera)]
    tiled = [answer.planes for answer in answers(frames, net, camera, tile_px=96)]
    np.testing.assert_allclose(np.stack(whole), np.stack(tiled), atol=1e-4)


def test_each_frame_is_seen_with_its_own_neighbours():
    net = as_puncta_net(build_puncta_net(PunctaNetShape(1, 4, (8,)), seed=2), device="cpu", bfloat16=False)
    frames = np.random.default_rng(1).poisson(30.0, (5, 32, 32)).astype(np.uint16)
    camera = CameraModel(0.0, 1.0, 1.0)
    told = [answer.planes for answer in answers(frames, net, camera, batch=2)]
    again = [answer.planes for answer in answers(frames[1:4], net, camera)]
    np.testing.assert_allclose(again[1], told[2], atol=1e-5)
    assert not np.allclose(again[0], told[1], atol=1e-5)


def test_frames_that_differ_in_shape_are_refused(net):
    frames = [np.zeros((32, 32), np.uint16), np.zeros((32, 40), np.uint16)]
    with pytest.raises(BadInputError, match=r"frame 1: shape \(32, 40\)"):
        localize_with_net(iter(frames), net, camera_model=CameraModel(), pixel_size_um=PIXEL)
    with pytest.raises(BadInputError, match="looks at puncta alone"):
        localize_with_net(frames[:1], net, camera_model=CameraModel(), pixel_size_um=PIXEL, calcium=frames[:1])


def test_pixels_that_claim_one_place_are_one_punctum():
    planes = np.zeros((8, 12, 12), np.float32)
    planes[0] = -12.0
    planes[5:8] = np.log(0.1)
    planes[0, 5, 5] = planes[0, 5, 6] = 0.0  # half each
    planes[1, 5, 5], planes[1, 5, 6] = 0.5, -0.5
    one = decode(planes)
    assert len(one) == 1
    assert one[0, 1] == pytest.approx(5.5)
    assert one[0, 2] == pytest.approx(1.0)
    planes[0, 5, 5] = planes[0, 5, 6] = 4.0
    planes[1, 5, 5], planes[1, 5, 6] = -0.6, 0.6
    assert len(decode(planes)) == 2
    planes[0, 5, 5] = planes[0, 5, 6] = -1.5
    assert len(decode(planes)) == 0


def table(x, y, photons=1000.0, se=0.1, frame=0):
    n = len(x)
    return Localizations(
        PIXEL, np.full(n, frame, np.int64), np.asarray(x, float), np.asarray(y, float), np.full(n, photons),
        background=np.full(n, 50.0), x_se_px=np.full(n, se), y_se_px=np.full(n, se),
    )  # fmt: skip


def test_a_fit_adds_the_punctum_that_was_not_seen_and_drops_the_one_that_is_not_there():
    close = recording(1, photons=3000.0, n_frames=1, side=32, seed=1)
    x, y = close.truth.x_px[0], close.truth.y_px[0]
    refitter = Refitter(close.camera_model, RefitSettings(sigma_px=0.72))
    doubled = refitter.refitted(close.movie[0], table([x - 0.6, x + 0.6], [y, y]))
    assert len(doubled) == 1
    assert doubled.x_px[0] == pytest.approx(x, abs=0.1)
    assert doubled.photons[0] == pytest.approx(3000, rel=0.2)
    rng = np.random.default_rng(3)
    from parfocal.puncta.networks._patch_kernel import add_gaussians

    image = np.full((24, 24), 50.0)
    add_gaussians(image, np.array([11.0, 13.0]), np.array([12.0, 12.0]), np.array([2000.0, 2000.0]), 0.9, 0.9)
    frame = rng.poisson(image).astype(np.uint16)
    refitter = Refitter(CameraModel(0.0, 1.0, 0.5), RefitSettings(sigma_px=0.9))
    both = refitter.refitted(frame, table([12.0], [12.0], photons=4000.0))
    np.testing.assert_allclose(np.sort(both.x_px), [11.0, 13.0], atol=0.2)
    assert (both.n_emitters == 2).all()


def test_errors_stated_by_a_crowds_fit_are_as_large_as_they_are():
    crowd = recording(150, n_frames=1, side=192, seed=12)
    truth = crowd.truth
    start = dataclasses.replace(
        table(truth.x_px, truth.y_px), photons=truth.photons.copy(), frame=truth.frame.copy()
    )
    found = Refitter(crowd.camera_model).refitted(crowd.movie[0], start)
    matching = match_localizations(truth, found)
    z = matching.dx_nm / 130 / found.x_se_px[matching.found_row]
    assert 0.58 < np.mean(np.abs(z) < 1) < 0.78


def test_members_are_joined_where_most_of_them_agree():
    members = [table([5.0, 9.0], [5.0, 9.0]), table([5.2, 20.0], [5.0, 20.0]), table([5.1], [5.1], se=0.05)]
    joined = join_members(members)
    assert len(joined) == 1
    assert joined.x_px[0] == pytest.approx((5.0 + 5.2 + 4 * 5.1) / 6, abs=1e-6)
    assert joined.x_se_px[0] > 0.05
    assert joined.probability[0] == pytest.approx(1.0)
    with pytest.raises(BadInputError):
        join_members([])


def test_an_ensemble_of_one_network_twice_is_that_network(net):
    few = recording(5, side=64, seed=8)
    alone = found_in(few, net, refit="none")
    twice = localize_with_ensemble(
        few.movie, [net, net], camera_model=few.camera_model, pixel_size_um=PIXEL, refit="none"
    )
    np.testing.assert_allclose(twice.x_px, alone.x_px, atol=1e-6)
    assert len(join_localizations([alone, twice])) == 2 * len(alone)


@pytest.mark.parametrize("changes", [{"threshold": 0.0}, {"least_pixel": 2.0}, {"same_px": 0.0}])
def test_settings_that_read_nothing_are_refused(changes):
    with pytest.raises(BadInputError, match=next(iter(changes))):
        DecodeSettings(**changes)


def test_calcium_is_told_at_the_puncta_where_it_is():
    scene = PunctaScene(
        shape_px=(64, 64), pixel_size_um=PIXEL, n_frames=16, n_puncta=6.0, photons=1500.0,
        calcium=Calcium(events_per_s=0.8), seed=4,
    )  # fmt: skip
    both = simulate_puncta(scene)
    found = localize_with_net(
        both.movie, open_puncta_net("puncta-calcium", device="cpu"), camera_model=both.camera_model,
        pixel_size_um=PIXEL, calcium=both.calcium, calcium_camera=both.calcium_camera_model,
    )  # fmt: skip
    matching = match_localizations(both.truth, found)
    assert matching.jaccard > 0.85
    dff, said = both.truth.calcium[matching.truth_row], found.calcium_probability[matching.found_row]
    assert (dff > 0.5).sum() >= 5
    assert np.median(said[dff > 0.5]) > 0.8
    assert np.median(said[dff < 0.05]) < 0.2
    with pytest.raises(BadInputError, match=r"calcium: frame 3 is missing"):
        localize_with_net(
            both.movie, open_puncta_net("puncta-calcium", device="cpu"), camera_model=both.camera_model,
            pixel_size_um=PIXEL, calcium=both.calcium[:3],
        )  # fmt: skip
