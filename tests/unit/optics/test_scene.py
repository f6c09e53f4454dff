import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.optics import (
    CameraModel,
    Channel,
    Drift,
    Objective,
    Sample,
    SimulatedScene,
    Surface,
    bead_sample,
    nuclei_sample,
    point_sample,
    psf_stack,
    puncta_sample,
)

WATER = Objective(1.2, 1.33, 0.6, (0.108, 0.108))
ASTIGMATIC = {6: 0.12}


def one_bead(position_um, shape=(65, 65), drift=None, zernike=ASTIGMATIC):
    sample = point_sample([position_um], 1.0)
    channel = Channel(WATER, 0.0, zernike)
    return SimulatedScene(sample, {"bead": channel}, CameraModel(), shape, drift)


class Speck:
    """A single voxel of a volume, at the origin: must look like a point."""

    def z_extent_um(self, box):
        return -0.01, 0.01

    def density(self, z_um, y_um, x_um):
        out = np.zeros((z_um.size, y_um.size, x_um.size), np.float32)
        near = [int(np.argmin(np.abs(axis))) for axis in (z_um, y_um, x_um)]
        self.place_um = [axis[i] for axis, i in zip((z_um, y_um, x_um), near)]
        out[tuple(near)] = 1 / np.prod([axis[1] - axis[0] for axis in (z_um, y_um, x_um)])
        return out


def test_looked_up_spots_are_those_of_diffraction_at_any_place_and_defocus():
    rng = np.random.default_rng(0)
    peak = psf_stack(WATER, ASTIGMATIC, [0.0], 5).max()
    for defocus in (0.0073, -0.3137, 0.81, -1.513, 2.216, 2.2171, -3.3):
        y_px, x_px = rng.uniform(-0.5, 0.5, 2)
        scene = one_bead((0.0, y_px * 0.108, x_px * 0.108))
        image = scene.photons(0, 0, -defocus, "bead", 1.0)
        truth = psf_stack(WATER, ASTIGMATIC, [defocus], 65, centre_px=(y_px, x_px))[0]
        assert np.abs(image - truth).max() < 5e-4 * peak


def test_a_nanometre_of_focus_changes_the_image_smoothly():
    scene = one_bead((0.0, 0.0, 0.0))
    z = -0.3 + np.arange(41) * 1e-3
    stack = np.array([scene.photons(0, 0, v, "bead", 1.0)[20:45, 20:45] for v in z], dtype=float)
    offset = np.arange(25) - 12
    widths = ((stack * offset**2).sum(axis=(1, 2)) - (stack * offset[:, None] ** 2).sum(axis=(1, 2))) / (
        stack.sum(axis=(1, 2))
    )
    smooth = np.polynomial.polynomial.polyval(z, np.polynomial.polynomial.polyfit(z, widths, 2))
    # What a reader of these widths would take for focus is wrong by less than a tenth of a nanometre.
    assert np.abs((widths - smooth) / np.gradient(widths, z)).max() < 1e-4


def test_image_moves_against_the_stage_and_with_the_sample():
    at_rest = one_bead((0.0, 0.0, 0.0)).photons(0, 0, 0, "bead", 1.0)
    moved_stage = one_bead((0.0, 0.0, 0.0)).photons(5 * 0.108, 0, 0, "bead", 1.0)
    np.testing.assert_allclose(moved_stage[:, 5:55], at_rest[:, 10:60], atol=1e-6)
    drifting = one_bead((0.0, 0.0, 0.0), drift=Drift((0.0, 3 * 0.108, 0.0)))
    drifted = drifting.photons(0, 0, 0, "bead", 1.0, t_s=1.0)
    np.testing.assert_allclose(drifted[8:58], at_rest[5:55], atol=1e-6)


def test_raising_the_stage_looks_deeper():
    scene = one_bead((2.0, 0.0, 0.0), zernike={})
    peaks = [scene.photons(0, 0, z, "bead", 1.0).max() for z in (1.0, 2.0, 3.0)]
    assert np.argmax(peaks) == 1


def test_drift_in_z_is_made_up_for_by_the_stage():
    scene = one_bead((0.0, 0.0, 0.0), drift=Drift((0.25, 0.0, 0.0)))
    np.testing.assert_allclose(
        scene.photons(0, 0, 0.5, "bead", 1.0, t_s=2.0), scene.photons(0, 0, 0, "bead", 1.0, t_s=0), atol=1e-9
    )


def test_truth_tells_where_each_emitter_is():
    scene = one_bead((0.4, 3 * 0.108, -2 * 0.108))
    truth = scene.points(0, 0, 0.1, "bead")
    assert truth.y_px[0] == pytest.approx(35.0)
    assert truth.x_px[0] == pytest.approx(30.0)
    assert truth.defocus_um[0] == pytest.approx(0.3)


@pytest.mark.parametrize("pixel_um", [0.108, 0.16])
def test_a_voxel_of_a_volume_looks_like_a_point(pixel_um):
    objective = Objective(1.2, 1.33, 0.6, (pixel_um, pixel_um))
    speck = Speck()
    channels = {"a": Channel(objective, 0.0, {6: 0.1, 8: 0.1})}
    scene = SimulatedScene(Sample(volumes={"a": (speck,)}), channels, shape=(64, 64))
    for z, x in ((0.0, 0.0), (0.43, 0.7), (-0.77, -1.3)):
        image = scene.photons(x, 0.3, z, "a", 1.0)
        where = speck.place_um
        centre = ((where[1] - 0.3) / pixel_um - 0.5, (where[2] - x) / pixel_um - 0.5)
        truth = psf_stack(objective, {6: 0.1, 8: 0.1}, [where[0] - z], 64, centre_px=centre)[0]
        assert np.abs(image - truth).max() < 2e-3 * truth.max()


def test_volume_image_does_not_depend_on_how_it_was_reached():
    def fresh():
        channels = {"nuclei": Channel(), "puncta": Channel()}
        return SimulatedScene(nuclei_sample(1), channels, shape=(64, 64))

    direct = fresh().photons(3.0, 2.0, 0.37, "nuclei", 1.0)
    wandering = fresh()
    for x, z in ((0.0, 0.0), (7.0, 1.0), (-4.0, -1.0)):
        wandering.photons(x, 2.0, z, "nuclei", 1.0)
    np.testing.assert_array_equal(wandering.photons(3.0, 2.0, 0.37, "nuclei", 1.0), direct)


def test_neighbouring_views_of_nuclei_show_the_same_matter():
    channels = {"nuclei": Channel(), "puncta": Channel()}
    scene = SimulatedScene(nuclei_sample(1), channels, shape=(96, 96))
    pixel = 0.1625
    left = scene.photons(0.0, 0.0, 0.0, "nuclei", 1.0)
    right = scene.photons(40 * pixel, 0.0, 0.0, "nuclei", 1.0)
    assert left.max() > 2 * left.min()
    assert np.abs(left[:, 40:] - right[:, :-40]).max() < 0.02 * left.max()


def test_nuclei_are_sharpest_at_the_surface_wherever_one_looks():
    channels = {"nuclei": Channel(), "puncta": Channel()}
    scene = SimulatedScene(nuclei_sample(4, Surface(tilt_x=0.01)), channels, shape=(160, 160))
    z = np.arange(-6, 7, 1.0)
    for x in (-200.0, 0.0, 200.0):
        stack = [scene.photons(x, 10.0, v, "nuclei", 1.0) for v in z]
        best = z[int(np.argmax([np.var(np.diff(image, axis=1)) for image in stack]))]
        assert abs(best - scene.focus_um(x, 10.0)) <= 1.5


@pytest.mark.parametrize("make", [bead_sample, puncta_sample, nuclei_sample])
def test_samples_are_the_same_for_the_same_seed_and_differ_between_seeds_and_places(make):
    def view(seed, x):
        channels = {name: Channel(Objective()) for name in ("bead", "puncta", "nuclei")}
        scene = SimulatedScene(make(seed), channels, shape=(96, 96))
        return scene.photons(x, 0.0, 0.5, scene.sample.channels[0], 0.02)

    first = view(1, 0.0)
    np.testing.assert_array_equal(first, view(1, 0.0))
    assert np.abs(first - view(2, 0.0)).max() > 1
    assert np.abs(first - view(1, 200.0)).max() > 1


def test_region_of_interest_is_a_part_of_the_whole_frame():
    channels = {"bead": Channel(WATER, 50.0)}
    scene = SimulatedScene(bead_sample(1), channels, shape=(128, 128))
    whole = scene.photons(0, 0, 0.2, "bead", 0.1)
    part = scene.photons(0, 0, 0.2, "bead", 0.1, roi_px=(20, 40, 32, 48))
    np.testing.assert_allclose(part, whole[20:52, 40:88], rtol=1e-5, atol=1e-4)


def test_same_arguments_give_the_same_frame_and_another_number_other_noise():
    channels = {"bead": Channel(WATER, 50.0)}
    first, second = (SimulatedScene(bead_sample(1), channels, shape=(64, 64), seed=3) for _ in range(2))
    a = first.frame(0, 0, 0.1, "bead", 0.02, number=4)
    np.testing.assert_array_equal(a, second.frame(0, 0, 0.1, "bead", 0.02, number=4))
    assert (a != first.frame(0, 0, 0.1, "bead", 0.02, number=5)).mean() > 0.5


def test_a_channel_that_nobody_described_is_refused():
    with pytest.raises(BadInputError, match="glows in 'bead'"):
        SimulatedScene(bead_sample(1), {"gfp": Channel()})
    scene = SimulatedScene(bead_sample(1), {"bead": Channel()})
    with pytest.raises(BadInputError, match="channel is 'gfp'"):
        scene.photons(0, 0, 0, "gfp", 0.1)
