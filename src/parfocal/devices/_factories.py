"""Microscopes by name and plain values, as a `devices.yml` or a startup file asks for them."""

# Annotations are not postponed here: guarneri holds what a `devices.yml` says against them.

from dataclasses import replace

from parfocal.devices._microscope import Backend, Microscope
from parfocal.errors import BadInputError


def simulated_microscope(
    name: str,
    sample: str = "nuclei",
    seed: int = 0,
    height_px: int = 256,
    width_px: int = 256,
    realtime: bool = True,
    noise_maps: str = "",
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
    noise_maps : str
        Measured noise to go by: empty or `newest` for the newest in the data folder, `told` for the truth, a
        file's name, or how its hash begins.
    """
    from parfocal.devices.simulated import SampleName, simulated_core

    kind: SampleName = sample  # pyright: ignore[reportAssignmentType]  (checked by simulated_core)
    core = simulated_core(kind, seed, (height_px, width_px), realtime)
    backend = Backend(
        "simulated",
        core.camera,
        core.stage,
        core.light,
        focus_camera=core.focus_camera,
        lock_in_camera_thread=not realtime,
        faults=core.faults,
        noise_maps=noise_maps,
    )
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
    from parfocal.devices.recorded import RecordedMicroscope
    from parfocal.files import open_stack

    recorded = RecordedMicroscope(open_stack(path, axes or None))
    backend = Backend("recorded", recorded.camera, recorded.stage, recorded.light)
    microscope = Microscope(name=name, backend=backend)
    microscope.xyz.z.tolerance_um = recorded.stage.z_tolerance_um * 1.001
    return microscope


def micromanager_microscope(
    name: str,
    config: str = "",
    channel_group: str = "Channel",
    pixel_size_um: float | None = None,
    na: float | None = None,
    wavelength_um: float | None = None,
    limits_um: dict[str, list[float]] | None = None,
    noise_maps: str = "",
) -> Microscope:
    """Return the microscope of a Micro-Manager configuration.

    Parameters
    ----------
    name : str
        Name of the device.
    config : str
        Path of a `.cfg`; empty: the demo configuration that comes with the device adapters.
    channel_group : str
        The configuration group whose presets are the channels.
    pixel_size_um : float, optional
        Of an unbinned pixel at the sample; default: as the configuration has it.
    na, wavelength_um : float, optional
        Of the objective and of the light, um; they go into every run.
    limits_um : dict of [low, high], optional
        Soft limits by axis. Micro-Manager knows none: give them where a move can hit something.
    noise_maps : str
        Measured noise to go by: empty or `newest` for the newest of this camera in the data folder, `told` for
        none, a file's name there, or how its hash begins.
    """
    from parfocal.devices.micromanager import micromanager_backend

    backend = micromanager_backend(
        config or None,
        channel_group=channel_group,
        pixel_size_um=pixel_size_um,
        na=na,
        wavelength_um=wavelength_um,
    )
    # An axis that the configuration lacks cannot be sent anywhere; told before anything moves.
    backend = replace(backend, noise_maps=noise_maps)
    limits: dict[str, tuple[float, float]] = {a: (0.0, 0.0) for a in "xyz" if a not in backend.stage.axes}
    for axis, ends in (limits_um or {}).items():
        if axis not in "xyz" or len(ends) != 2 or not ends[0] < ends[1]:
            raise BadInputError(f"{name}: limits_um of {axis!r} are {ends}; [low, high] of x, y or z was expected")
        limits[axis] = (ends[0], ends[1])
    return Microscope(name=name, backend=backend, limits_um=limits)


def focus_microscope(
    name: str,
    camera: str = "simulate",
    stage: str = "simulate",
    axis: str = "z",
    camera_options: dict[str, object] | None = None,
    stage_options: dict[str, object] | None = None,
) -> Microscope:
    """Return a microscope of a focus camera and a stage: a bench for the lock alone.

    Parameters
    ----------
    name : str
        Name of the device.
    camera : {"simulate", "orca", "andor", "micromanager"}
        The camera that sees the bead.
    stage : {"simulate", "mcl", "micromanager"}
        The stage that focuses.
    axis : {"x", "y", "z"}
        Which of the stage's axes focuses; it is `z` in documents.
    camera_options, stage_options : dict, optional
        What `open_focus_camera` and `open_stage_driver` take.
    """
    from parfocal.devices._focus_hardware import open_focus_backend

    backend = open_focus_backend(camera, stage, axis, camera_options, stage_options)
    limits_of = getattr(backend.stage, "limits_um", None)
    if limits_of is not None:
        limits = {each: limits_of(each) for each in "xyz"}
    elif stage == "simulate":
        limits = {"z": (-60.0, 60.0)}
    else:
        limits = {each: (0.0, 0.0) for each in "xyz" if each not in backend.stage.axes}
    return Microscope(name=name, backend=backend, limits_um=limits)
