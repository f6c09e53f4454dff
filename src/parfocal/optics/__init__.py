"""Image formation: pupils, aberrations, samples, camera noise.

Conventions, said once for the whole package: arrays are ``[y, x]``, slowest axis first before them; a pixel's
centre is its integer index; ``z_um`` grows away from the objective.

What follows from them here: an emitter at sample height ``z`` seen while the focal plane is at ``z_focus``
has ``defocus = z + drift - z_focus``, positive when the emitter lies beyond the focal plane. The simulated
stage's ``z_um`` is the height of the focal plane, so a larger stage z looks deeper, away from the objective.
"""

from parfocal.optics._camera_model import CameraModel, emccd_camera, scmos_camera
from parfocal.optics._camera_noise import CameraNoise, TransferLevel
from parfocal.optics._disturbance import Disturbance, Illumination, Obstruction, OffCentreLamp, Path, straight_path
from parfocal.optics._drift import Drift
from parfocal.optics._events import CalciumField, pulse_mean
from parfocal.optics._exposure import expose
from parfocal.optics._nuclei import NucleusField
from parfocal.optics._objective import Objective
from parfocal.optics._photon_transfer import LevelMoments, PhotonTransfer, photon_transfer
from parfocal.optics._point_images import PointImages
from parfocal.optics._points import BeadField, CellField, PointList, PunctaField
from parfocal.optics._psf import otf_plane, psf_stack
from parfocal.optics._sample_kinds import bead_sample, nuclei_sample, point_sample, puncta_sample
from parfocal.optics._samples import Box, EventLayer, PointEvents, PointLayer, Sample, Surface, VolumeLayer
from parfocal.optics._scene import Channel, SimulatedScene
from parfocal.optics._zernike import noll_to_nm, zernike_polynomial

__all__ = [
    "BeadField",
    "Box",
    "CalciumField",
    "CameraModel",
    "CameraNoise",
    "CellField",
    "Channel",
    "Disturbance",
    "Drift",
    "EventLayer",
    "Illumination",
    "LevelMoments",
    "NucleusField",
    "Objective",
    "Obstruction",
    "OffCentreLamp",
    "Path",
    "PhotonTransfer",
    "PointEvents",
    "PointImages",
    "PointLayer",
    "PointList",
    "PunctaField",
    "Sample",
    "SimulatedScene",
    "Surface",
    "TransferLevel",
    "VolumeLayer",
    "bead_sample",
    "emccd_camera",
    "expose",
    "noll_to_nm",
    "nuclei_sample",
    "otf_plane",
    "photon_transfer",
    "point_sample",
    "psf_stack",
    "pulse_mean",
    "puncta_sample",
    "scmos_camera",
    "straight_path",
    "zernike_polynomial",
]
