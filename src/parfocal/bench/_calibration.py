"""`calibration`: z after calibrating, on diffraction images and on real beads beside Picasso.

``python -m parfocal.bench._calibration`` prints bias and RMS of the real beads plane by plane.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parfocal.bench._peers import Peer
from parfocal.bench._table import Row
from parfocal.errors import BadInputError
from parfocal.files import open_stack
from parfocal.fitting import OpticsFacts, Sweep, calibrate, cut_rois, find_beads, measure_steps
from parfocal.optics import CameraModel, Objective, expose, psf_stack, scmos_camera

_STACK = "PARFOCAL_BEAD_STACK"
_SIDE_PX, _REAL_SIDE_PX, _HALF_PLANES, _REACH_UM = 21, 29, 12, 0.4
_CASES = {
    "astig-0.10": {6: 0.10},
    "astig-0.15": {6: 0.15},
    "astig-0.25": {6: 0.25},
    "astig-0.15-spherical-0.05": {6: 0.15, 11: 0.05},
    "astig-0.15-spherical-minus-0.05": {6: 0.15, 11: -0.05},
    "astig-0.15-spherical-0.10": {6: 0.15, 11: 0.10},
}


@dataclass(frozen=True, eq=False)
class HeldOut:
    """z of beads that were not calibrated on, each bead's own mean taken off.

    Attributes
    ----------
    stage_um : ndarray of shape (n_planes,)
        From focus, um.
    ours_um, peer_um : ndarray of shape (n_beads, n_planes)
        Error of z, um.
    n_calibrated : int
        Beads calibrated on.
    peer_name : str
        Who the peer is.
    """

    stage_um: NDArray[np.float64]
    ours_um: NDArray[np.float64]
    peer_um: NDArray[np.float64]
    n_calibrated: int
    peer_name: str


def calibration() -> list[Row]:
    """Measure z after calibration: bias on diffraction images (simulated), error on real beads (recorded).

    Simulated rows: largest bias over +-300 nm, at the light of the sweep (1e5 photons) and at a fifth of it. The
    real row needs a stack of astigmatic beads, a TIFF with its voxel size, named by $PARFOCAL_BEAD_STACK.
    """
    rows: list[Row] = []
    for name, zernike in _CASES.items():
        same, dimmer = diffraction_bias_um(zernike)
        rows.append(Row.limited(f"calibration/bias-{name}", 1e3 * same, 10.0, unit="nm"))
        rows.append(Row.limited(f"calibration/bias-{name}-bleached", 1e3 * dimmer, 10.0, unit="nm"))
    told = os.environ.get(_STACK)
    if told:
        found = held_out_beads(Path(told))
        ours, peer = (1e3 * float(np.sqrt(np.mean(np.square(e)))) for e in (found.ours_um, found.peer_um))
        rows.append(Row.compared("calibration/real-rms", ours, peer, peer_name=found.peer_name, unit="nm"))
    return rows


def diffraction_bias_um(
    zernike: dict[int, float], photons: float = 1e5, n_repeats: int = 40
) -> tuple[float, float]:
    """Return the largest bias over +-0.3 um, um, at the sweep's light and at a fifth of it.

    Images by scalar diffraction at NA 0.8, an sCMOS camera, 21 steps up and down; other sub-pixel place and other
    pixels for the test than for the sweep.
    """

    def swept(z: NDArray[np.float64], direction: NDArray[np.int8], light: float, seed: int) -> Sweep:
        planes, index = np.unique(np.round(-z, 9), return_inverse=True)
        shift = (0.2, -0.3) if seed == 0 else (-0.1, 0.4)
        psf = psf_stack(Objective(), zernike, planes, _SIDE_PX, 1, shift)[index]
        camera = scmos_camera((_SIDE_PX, _SIDE_PX), seed)
        rois = np.stack([expose(light * image + 10, camera, seed, k) for k, image in enumerate(psf)])
        return Sweep(rois, z, np.arange(z.size) * 0.1, direction, camera, OpticsFacts(0.1625))

    up = np.linspace(-0.75, 0.75, 21)
    both = np.concatenate([up, up[::-1]])
    made = calibrate(swept(both, np.repeat(np.array([1, -1], np.int8), 21), photons, 0))
    z = np.repeat(np.linspace(-0.3, 0.3, 13) + made.focus_um, n_repeats)
    largest: list[float] = []
    for light in (photons, photons / 5):
        test = swept(z, np.ones(z.size, np.int8), light, 1)
        error = made.estimate(test.rois, test.camera_model).z_um - (z - made.focus_um)
        largest.append(float(np.abs(np.nanmedian(error.reshape(13, n_repeats), axis=1)).max()))
    return largest[0], largest[1]


def held_out_beads(path: Path) -> HeldOut:
    """Calibrate on every other bead of a real stack (the brightest first) and predict z of the rest, beside Picasso.

    Each bead's own focus is taken off before pooling, and each tested bead's own mean error after: beads lie at
    different heights, and the field is tilted. Picasso pools as it does. Both get the same pixels in
    photoelectrons, gain and offset by photon transfer from the stack itself. Planes within +-0.4 um count.
    """
    opened = open_stack(path)
    stack = opened.read().squeeze()
    step, _, pixel = opened.voxel_size_um
    if stack.ndim != 3 or step is None or pixel is None:
        raise BadInputError(f"{path}: expected a z-stack [z, y, x] that says its z step and pixel size")
    camera = photon_transfer(stack)
    z = step * np.arange(len(stack))
    beads = find_beads(stack, roi_px=_REAL_SIDE_PX)
    if len(beads) < 4:
        raise BadInputError(f"{path}: {len(beads)} beads stand alone, expected 4 or more")

    def sweep_of(bead: int, planes: slice) -> Sweep:
        rois = cut_rois(stack, int(beads[bead][0]), int(beads[bead][1]), _REAL_SIDE_PX)[planes]
        up = np.ones(len(rois), np.int8)
        return Sweep(rois, z[planes], np.arange(len(rois), dtype=float), up, camera, OpticsFacts(pixel))

    rough, _, _ = measure_steps(sweep_of(0, slice(None)))
    good = rough.is_parametric & (rough.photons > 0.3 * np.nanmax(rough.photons[rough.is_parametric]))
    narrow = np.where(good, rough.sigma_px.max(axis=1), np.inf)
    middle = int(np.argmin(np.convolve(narrow, np.ones(3), "same")))
    planes = slice(max(middle - _HALF_PLANES, 0), min(middle + _HALF_PLANES + 1, len(stack)))
    train, test = range(0, len(beads), 2), range(1, len(beads), 2)
    sweeps = [sweep_of(bead, planes) for bead in train]
    focus = [calibrate(sweep).focus_um for sweep in sweeps]
    pooled = Sweep(
        rois=np.concatenate([sweep.rois for sweep in sweeps]),
        z_um=np.concatenate([sweep.z_um - f for sweep, f in zip(sweeps, focus)]),
        t_s=np.arange(sum(len(sweep.rois) for sweep in sweeps), dtype=float),
        direction=np.concatenate([sweep.direction for sweep in sweeps]),
        camera_model=camera,
        facts=OpticsFacts(pixel),
    )
    made = calibrate(pooled)
    held = [sweep_of(bead, planes) for bead in test]
    stage = z[planes] - float(np.mean(focus))
    ours = np.stack([made.estimate(sweep.rois, camera).z_um - stage for sweep in held])
    peer, name = _by_picasso(sweeps, held, camera, step, stage)
    near = np.abs(stage) <= _REACH_UM
    return HeldOut(stage[near], _centred(ours[:, near]), _centred(peer[:, near]), len(sweeps), name)


def photon_transfer(stack: NDArray[np.generic], n_planes: int = 20) -> CameraModel:
    """Return offset and gain from variance against mean of the first planes, where beads are far from focus."""
    first = np.asarray(stack[:n_planes], dtype=np.float64)
    mean, variance = first.mean(axis=0).ravel(), np.diff(first, axis=0).var(axis=0).ravel() / 2
    edges = np.percentile(mean, np.linspace(1, 99, 13))
    level = np.digitize(mean, edges)
    groups = [level == k for k in range(1, edges.size)]
    at = np.array([mean[g].mean() for g in groups])
    noise = np.array(
        [np.median(variance[g]) * 1.036 for g in groups]
    )  # the median of chi² of 19 lies below its mean
    gain, intercept = np.polyfit(at, noise, 1)
    if gain <= 0:
        raise BadInputError(
            "photon transfer: variance does not grow with the mean; the stack is no raw camera data"
        )
    ceiling = float(2 ** (8 * stack.dtype.itemsize) - 1) if stack.dtype.kind == "u" else float("inf")
    rounding = 1 / np.sqrt(12) / gain
    return CameraModel(float(max(-intercept / gain, 0.0)), float(gain), float(rounding), ceiling)


def _by_picasso(
    train: list[Sweep], test: list[Sweep], camera: CameraModel, step_um: float, stage: NDArray[np.float64]
) -> tuple[NDArray[np.float64], str]:
    n = len(stage)
    with tempfile.TemporaryDirectory(prefix="parfocal-bench-") as folder, Peer("picasso_z") as peer:
        path = Path(folder) / "beads.npz"
        np.savez(
            path,
            train=np.concatenate([camera.to_electrons(sweep.rois) for sweep in train]),
            test=np.concatenate([camera.to_electrons(sweep.rois) for sweep in test]),
            train_frame=np.tile(np.arange(n), len(train)),
            test_frame=np.tile(np.arange(n), len(test)),
        )
        answer = peer.call("predict", path=str(path), n_frames=n, step_nm=1e3 * step_um)
        z = np.full(n * len(test), np.nan)
        z[answer["index"]] = np.array(answer["z_nm"]) / 1e3
        return -z.reshape(len(test), n) - stage, f"z calibration of {peer.name}"  # its z runs against the stage


def _centred(error: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take off each bead's median error: its own height."""
    return error - np.nanmedian(error, axis=1, keepdims=True)


def _main() -> None:
    told = os.environ.get(_STACK)
    if not told:
        raise BadInputError(f"bench: name a TIFF stack of astigmatic beads by ${_STACK}")
    found = held_out_beads(Path(told))
    n = len(found.ours_um)
    print(f"{n} beads held out, {found.n_calibrated} calibrated on; peer: {found.peer_name}; nm")
    print(f"{'stage z':>8} {'bias':>7} {'rms':>7} {'peer bias':>10} {'peer rms':>9}")
    for k, z in enumerate(found.stage_um):
        ours, peer = 1e3 * found.ours_um[:, k], 1e3 * found.peer_um[:, k]
        numbers = (np.mean(ours), np.sqrt(np.mean(ours**2)), np.mean(peer), np.sqrt(np.mean(peer**2)))
        print(f"{1e3 * z:8.0f} {numbers[0]:7.1f} {numbers[1]:7.1f} {numbers[2]:10.1f} {numbers[3]:9.1f}")
    ours, peer = (1e3 * np.sqrt(np.mean(np.square(e))) for e in (found.ours_um, found.peer_um))
    print(f"all planes: rms {ours:.1f}, peer {peer:.1f}")


if __name__ == "__main__":
    _main()
