"""A microscope that does not exist: camera, stage and light that share one simulated world.

::

    SimulatedMicroscopeCore    a `SimulatedWorld`: clock, scene, light and the motion of x, y, z: the truth
        |-- SimulatedStage     a StageDriver: moves the axes, reports what an encoder would
        |-- SimulatedCamera    a FrameSource: exposes what is under the axes while it exposes
        |-- SimulatedLight     which channel shines, and whether
        `-- SimulatedFaults    breaks them on demand
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from parfocal.devices.simulated._camera import SimulatedCamera
from parfocal.devices.simulated._faults import SimulatedFaults
from parfocal.devices.simulated._motion import AxisModel
from parfocal.devices.simulated._stage import SimulatedStage
from parfocal.devices.simulated._world import SimulatedWorld
from parfocal.errors import BadInputError
from parfocal.optics import (
    Channel,
    Drift,
    Objective,
    SimulatedScene,
    Surface,
    bead_sample,
    nuclei_sample,
    puncta_sample,
    scmos_camera,
)

SampleName = Literal["nuclei", "beads", "puncta"]


class SimulatedMicroscopeCore(SimulatedWorld):
    """A world with the stage and the cameras that stand in it.

    Parameters
    ----------
    scene, axes, realtime, z_sign, seed
        See `SimulatedWorld`.
    bead_scene : SimulatedScene, optional
        What a second camera sees, for a focus lock.
    """

    def __init__(
        self,
        scene: SimulatedScene,
        axes: dict[str, AxisModel] | None = None,
        realtime: bool = True,
        z_sign: Literal[1, -1] = 1,
        seed: int = 0,
        bead_scene: SimulatedScene | None = None,
    ) -> None:
        super().__init__(scene, axes, realtime, z_sign, seed)
        self.stage = SimulatedStage(self)
        self.camera = SimulatedCamera(self)
        self.focus_camera = SimulatedCamera(self, bead_scene) if bead_scene is not None else None
        self.faults = SimulatedFaults(self.stage, self.camera, self.focus_camera)


def simulated_core(
    sample: SampleName = "nuclei",
    seed: int = 0,
    shape: tuple[int, int] = (256, 256),
    realtime: bool = True,
    drift: Drift | None = None,
    z_sign: Literal[1, -1] = 1,
    astigmatism_waves: float | None = None,
) -> SimulatedMicroscopeCore:
    """Return a world with a tilted, drifting sample.

    The sample has no edges; within 250 um of the origin its mid-plane stays within 3.5 um of z = 0, so that a
    stack of +-6 um finds the best plane inside. Nuclei come with puncta in a second channel, puncta
    with calcium that rises at them now and then.

    Parameters
    ----------
    sample : {"nuclei", "beads", "puncta"}
        Nuclei under 40x/0.8 water; beads and puncta under 60x/1.2 water, beads with astigmatism.
    seed : int
        Of everything: the sample, its tilt, drift, noise.
    shape : (int, int)
        Sensor height and width, px.
    realtime : bool
        Whether exposures and moves take their time.
    drift : Drift, optional
        Default: 2 nm/s along z, less sideways, a thermal wave of 0.4 um in ten minutes and a random walk.
    z_sign : {1, -1}
        -1 for a stage whose z grows towards the objective.
    astigmatism_waves : float, optional
        Vertical astigmatism (Noll 6), waves RMS. Default: 0.12 for beads, else 0.

    Raises
    ------
    BadInputError
        If there is no such sample.
    """
    rng = np.random.default_rng([seed, 0x71])
    tilt_y, tilt_x = (rng.uniform(0.003, 0.006, 2) * rng.choice([-1.0, 1.0], 2)).tolist()
    surface = Surface(0.0, tilt_y, tilt_x, wave_um=0.4)
    waves = astigmatism_waves if astigmatism_waves is not None else (0.12 if sample == "beads" else 0.0)
    zernike = {6: waves} if waves else {}
    low = (0.8, (0.1625, 0.1625))
    high = (1.2, (0.108, 0.108))
    if sample == "nuclei":
        specimen, (na, pixel), names = nuclei_sample(seed, surface), low, {"nuclei": 0.61, "puncta": 0.52}
    elif sample == "beads":
        specimen, (na, pixel), names = bead_sample(seed, surface), high, {"bead": 0.60}
    elif sample == "puncta":
        specimen, (na, pixel) = puncta_sample(seed, surface, calcium_channel="calcium"), high
        names = {"puncta": 0.60, "calcium": 0.52}
    else:
        raise BadInputError(f"simulated microscope: sample is {sample!r}, expected nuclei, beads or puncta")
    channels = {
        name: Channel(Objective(na, 1.33, wavelength, pixel), 100.0, zernike) for name, wavelength in names.items()
    }
    motion = drift or Drift(
        linear_um_per_s=(0.002, 0.0008, -0.0005),
        random_walk_um_per_sqrt_s=(0.01, 0.004, 0.004),
        thermal_um=(0.4, 0.15, -0.1),
        seed=seed,
    )
    scene = SimulatedScene(specimen, channels, scmos_camera(shape, seed), shape, motion, seed)
    beads = _bead_scene(seed, surface, motion)
    return SimulatedMicroscopeCore(scene, realtime=realtime, z_sign=z_sign, seed=seed, bead_scene=beads)


def _bead_scene(seed: int, surface: Surface, motion: Drift, shape: tuple[int, int] = (128, 128)) -> SimulatedScene:
    """Return beads on the same sample, seen through a cylindrical lens."""
    objective = Objective(1.2, 1.33, 0.68, (0.108, 0.108))
    sample = bead_sample(seed + 7, surface, photons_per_s=6e5)
    channels = {"bead": Channel(objective, 100.0, {6: 0.12})}
    return SimulatedScene(sample, channels, scmos_camera(shape, seed + 7), shape, motion, seed + 7)
