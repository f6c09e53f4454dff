"""A bead on a simulated astigmatic bench: diffraction images at the speed of a table look-up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.fitting import DefocusModel, OpticsFacts, Sweep, SweepSettings, calibrate, estimate_z
from parfocal.focus import Measurement, measurement_from
from parfocal.optics import CameraModel, Objective, psf_stack

_Z_STEP_UM = 0.04
_REACH_UM = 2.0
_PER_PX = 4  # places of a bead between pixels
_SIDE_PX = 13
_WIDE_PX = 33  # so that a bead beside the region still shines in

BENCH_OBJECTIVE = Objective(na=1.2, immersion_index=1.33, wavelength_um=0.6, pixel_size_um=(0.1, 0.1))
BENCH_ASTIGMATISM_WAVES = 0.1


class BeadTable:
    """Images of a bead through an astigmatic objective at any z, from a dense stack computed once.

    The stack has a plane every 40 nm to +-2 um, four places a pixel, and is interpolated along z by a cubic,
    which is good to some 1e-4 of the peak: intensity is band-limited in z, its shortest period 0.8 um.
    z grows as the stage counts it: against the height of the emitter above the focal plane.
    """

    def __init__(
        self, objective: Objective = BENCH_OBJECTIVE, astigmatism_waves: float = BENCH_ASTIGMATISM_WAVES
    ) -> None:
        n = round(_REACH_UM / _Z_STEP_UM)
        self._z0_um = -n * _Z_STEP_UM
        z_um = np.arange(-n, n + 1) * _Z_STEP_UM
        stack = psf_stack(objective, {6: astigmatism_waves}, -z_um, _WIDE_PX, _PER_PX)
        self._stack = stack.astype(np.float32)

    def image(self, z_um: float, y_px: float = 0.0, x_px: float = 0.0) -> NDArray[np.float64]:
        """Return the share of a bead's light in each pixel of a 13x13 region.

        Parameters
        ----------
        z_um : float
            Within +-1.9 um; farther away it looks as there.
        y_px, x_px : float
            Where it is, from the middle of the region; rounded to a quarter of a pixel.
        """
        reach = _REACH_UM - 2 * _Z_STEP_UM
        u = (min(max(z_um, -reach), reach) - self._z0_um) / _Z_STEP_UM
        below = math.floor(u)
        f = u - below
        weights = (
            -f * (f - 1) * (f - 2) / 6,
            (f + 1) * (f - 1) * (f - 2) / 2,
            -(f + 1) * f * (f - 2) / 2,
            (f + 1) * f * (f - 1) / 6,
        )
        rows = self._places(y_px)
        columns = self._places(x_px)
        image = np.zeros((_SIDE_PX, _SIDE_PX))
        for k, weight in enumerate(weights):
            image += weight * self._stack[below - 1 + k, rows, columns]
        return image

    def _places(self, offset_px: float) -> slice:
        centre = (_WIDE_PX * _PER_PX) // 2 - round(offset_px * _PER_PX)
        first = centre - (_SIDE_PX // 2) * _PER_PX
        last = first + (_SIDE_PX - 1) * _PER_PX + 1
        if first < 0 or last > _WIDE_PX * _PER_PX:
            raise BadInputError(f"bead table: {offset_px:g} px from the middle, expected within 10")
        return slice(first, last, _PER_PX)


@dataclass
class BeadEye:
    """Sees a bead as a camera does: diffraction image, shot and read noise, direct-z fit.

    Parameters
    ----------
    table : BeadTable
        The bead's images.
    model : DefocusModel
        The calibration, from `calibrated`.
    photons, background : float
        Of the bead over the whole image plane, and per pixel, a frame.
    brightness : callable, optional
        From frame to the share of `photons` that is left, for bleaching.
    passer : callable, optional
        From frame to (y, x, share of photons) of a second bead, px from the middle, or None.
    seed : int
        Of the noise.
    """

    table: BeadTable
    model: DefocusModel
    photons: float = 4000.0
    background: float = 10.0
    brightness: Callable[[int], float] | None = None
    passer: Callable[[int], tuple[float, float, float] | None] | None = None
    seed: int = 0
    camera_model: CameraModel = CameraModel(100.0, 2.2, 1.6)  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng([self.seed, 2])

    def roi(self, frame: int, true_um: float) -> NDArray[np.uint16]:
        """Return the raw region of a frame."""
        photons = self.photons * (1.0 if self.brightness is None else self.brightness(frame))
        mean = self.table.image(true_um, 0.25, -0.25) * photons
        other = None if self.passer is None else self.passer(frame)
        if other is not None:
            y_px, x_px, share = other
            mean += self.table.image(true_um, y_px, x_px) * (photons * share)
        return _exposed(mean + self.background, self.camera_model, self._rng)

    def __call__(self, frame: int, t_s: float, true_um: float) -> Measurement:
        """Return what is measured of a frame."""
        return self.measure(frame, t_s, self.roi(frame, true_um))

    def measure(self, frame: int, t_s: float, roi: NDArray[np.uint16]) -> Measurement:
        """Return what is measured of a region."""
        estimate = estimate_z(roi, self.camera_model, self.model)
        return measurement_from(frame, t_s, roi, estimate, self.camera_model, self.model)

    def bound_um(self, z_um: float) -> float:
        """Return the Cramér-Rao bound of z from such a frame, um, by the fit of its expected picture."""
        mean = self.table.image(z_um, 0.25, -0.25) * self.photons + self.background
        adu = self.camera_model.offset_adu + self.camera_model.gain_adu_per_e * mean
        return measurement_from(
            0,
            0.0,
            np.asarray(adu),
            estimate_z(adu, self.camera_model, self.model),
            self.camera_model,
            self.model,
        ).z_se_um

    def diffraction_bound_um(self, z_um: float) -> float:
        """Return the Cramér-Rao bound of z for whoever knows the diffraction image exactly, um."""
        n, image = self.photons, self.table.image
        h = 1 / _PER_PX
        slopes = (
            (image(z_um, 0.25 + h, -0.25) - image(z_um, 0.25 - h, -0.25)) / (2 * h) * n,
            (image(z_um, 0.25, -0.25 + h) - image(z_um, 0.25, -0.25 - h)) / (2 * h) * n,
            image(z_um, 0.25, -0.25),
            np.ones((_SIDE_PX, _SIDE_PX)),
            (image(z_um + 0.005, 0.25, -0.25) - image(z_um - 0.005, 0.25, -0.25)) / 0.01 * n,
        )
        read = float(np.mean(np.square(self.camera_model.read_noise_e)))
        mean = (image(z_um, 0.25, -0.25) * n + self.background + read).ravel()
        rows = np.stack([slope.ravel() for slope in slopes])
        fisher = (rows / mean) @ rows.T
        return float(np.sqrt(np.linalg.inv(fisher)[4, 4]))


def calibrated(table: BeadTable, photons: float = 50_000.0, n_steps: int = 41, seed: int = 0) -> DefocusModel:
    """Return a calibration of the bench by a simulated sweep up and down over +-0.6 um.

    Raises
    ------
    BadInputError
        The sweep gave no calibration to lock on.
    """
    camera_model = CameraModel(100.0, 2.2, 1.6)
    rng = np.random.default_rng([seed, 5])
    z_um, direction = SweepSettings(half_range_um=0.6, n_steps=n_steps).positions_um()
    rois = np.stack(
        [_exposed(table.image(z, 0.25, -0.25) * photons + 10.0, camera_model, rng) for z in z_um.tolist()]
    )
    facts = OpticsFacts(pixel_size_um=BENCH_OBJECTIVE.pixel_size_um[0])
    sweep = Sweep(rois, z_um, np.arange(z_um.size) / 10.0, direction, camera_model, facts)
    calibration = calibrate(sweep)
    if calibration.model is None or not calibration.is_armable:
        raise BadInputError(f"bench: the simulated sweep gave no calibration: {calibration.why_not()}")
    return calibration.model


def _exposed(mean: NDArray[np.float64], model: CameraModel, rng: np.random.Generator) -> NDArray[np.uint16]:
    electrons = rng.poisson(mean) + rng.normal(0.0, float(np.mean(model.read_noise_e)), mean.shape)
    adu = float(np.mean(model.offset_adu)) + float(np.mean(model.gain_adu_per_e)) * electrons
    return np.clip(np.rint(adu), 0, model.saturation_adu).astype(np.uint16)
