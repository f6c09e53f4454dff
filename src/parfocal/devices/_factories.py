"""Microscopes by name and plain values, as a `devices.yml` or a startup file asks for them."""

from __future__ import annotations

from parfocal.devices._microscope import Backend, Microscope


def simulated_microscope(
    name: str,
    sample: str = "nuclei",
    seed: int = 0,
    height_px: int = 256,
    width_px: int = 256,
    realtime: bool = True,
) -> Microscope:
    """Return a microscope whose images are formed by diffraction.

    Parameters
    ----------
    name : str
        Name of the device.
    sample : {"nuclei", "beads", "puncta"}
        What lies under it.
    seed : int
        Of the sample, its drift and the noise.
    height_px, width_px : int
        Sensor size.
    realtime : bool
        Whether exposures and moves take their time.
    """
    from parfocal.devices._simulated import SampleName, simulated_core

    kind: SampleName = sample  # pyright: ignore[reportAssignmentType]  (checked by simulated_core)
    core = simulated_core(kind, seed, (height_px, width_px), realtime)
    backend = Backend("simulated", core.camera, core.stage, core.light)
    return Microscope(name=name, backend=backend, limits_um={"z": (-60.0, 60.0)})


def recorded_microscope(name: str, path: str, axes: str = "") -> Microscope:
    """Return a microscope that shows a recorded stack: z picks the plane.

    Parameters
    ----------
    name : str
        Name of the device.
    path : str
        TIFF, OME-TIFF, ND2, HDF5 (`file.h5:dataset`) or a folder of planes.
    axes : str
        What the axes are, such as `ZYX` or `TZYX`, where the file does not say.
    """
    from parfocal.devices._recorded import RecordedMicroscope
    from parfocal.files import open_stack

    recorded = RecordedMicroscope(open_stack(path, axes or None))
    backend = Backend("recorded", recorded.camera, recorded.stage, recorded.light)
    microscope = Microscope(name=name, backend=backend)
    microscope.xyz.z.tolerance_um = recorded.stage.z_tolerance_um * 1.001
    return microscope
