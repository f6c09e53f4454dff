"""What a photon transfer says of a camera: maps, numbers, the curve they come from, and how sure they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.optics._camera_model import CameraModel

Map = NDArray[np.float32]


@dataclass(frozen=True)
class TransferLevel:
    """One point of the photon transfer curve.

    Attributes
    ----------
    part : str
        `dark` or `flat`.
    exposure_s, light : float
        The dose.
    n_frames : int
        How many frames.
    signal_adu, variance_adu2 : float
        Means over pixels: above the dark level, and from frame to frame.
    expected_adu2 : float
        The variance that gain and read noise lead to at that signal.
    share_at_top : float
        Share of values that equal the largest one.
    flicker : float
        Standard deviation of the light over its mean, from frame to frame.
    """

    part: str
    exposure_s: float
    light: float
    n_frames: int
    signal_adu: float
    variance_adu2: float
    expected_adu2: float
    share_at_top: float
    flicker: float


@dataclass(frozen=True, eq=False)
class CameraNoise:
    """Offset, gain and read noise of every pixel of a sensor `[y, x]`, with standard errors.

    Attributes
    ----------
    offset_adu, offset_se_adu : ndarray, float32
        Dark level.
    gain_adu_per_e, gain_se_adu_per_e : ndarray, float32
        ADU per photoelectron; drawn towards the mean by as much as light did not tell.
    read_noise_e, read_noise_se_e : ndarray, float32
        Noise without light, the converter's rounding in it, photoelectrons.
    is_hot : ndarray, bool
        Pixels whose read noise is far above that of the rest.
    mean_gain_adu_per_e, mean_gain_se_adu_per_e : float
        Over all pixels.
    gain_scatter : float
        By how much gains differ from pixel to pixel, of the mean; 0 where that was not told from none.
    saturation_adu : float
        The largest value, and in `is_saturation_seen` whether frames showed it or the driver told it.
    dark_current_e_per_s, dark_current_se_e_per_s : float
        Mean over pixels; the error is NaN where one exposure alone was dark.
    nonlinearity : float
        Largest departure of signal over dose from its median, below saturation.
    levels : tuple of TransferLevel
        The photon transfer curve.
    issues : tuple of (severity, message)
        `refuses`, `warns` or `tells`.
    """

    offset_adu: Map
    offset_se_adu: Map
    gain_adu_per_e: Map
    gain_se_adu_per_e: Map
    read_noise_e: Map
    read_noise_se_e: Map
    is_hot: NDArray[np.bool_]
    mean_gain_adu_per_e: float
    mean_gain_se_adu_per_e: float
    gain_scatter: float
    saturation_adu: float
    is_saturation_seen: bool
    dark_current_e_per_s: float
    dark_current_se_e_per_s: float
    nonlinearity: float
    levels: tuple[TransferLevel, ...]
    issues: tuple[tuple[str, str], ...]

    @property
    def is_usable(self) -> bool:
        """Whether nothing refuses it."""
        return all(severity != "refuses" for severity, _ in self.issues)

    def camera_model(self, em_gain: float = 1.0) -> CameraModel:
        """Return the camera model of the whole sensor, for fits and scores."""
        return CameraModel(
            self.offset_adu,
            self.gain_adu_per_e,
            self.read_noise_e,
            self.saturation_adu,
            self.dark_current_e_per_s,
            em_gain=em_gain,
        )

    def maps(self) -> dict[str, NDArray[Any]]:
        """Return the maps by name; `is_hot` as 0 and 1."""
        return {
            "offset_adu": self.offset_adu,
            "offset_se_adu": self.offset_se_adu,
            "gain_adu_per_e": self.gain_adu_per_e,
            "gain_se_adu_per_e": self.gain_se_adu_per_e,
            "read_noise_e": self.read_noise_e,
            "read_noise_se_e": self.read_noise_se_e,
            "is_hot": self.is_hot.astype(np.uint8),
        }

    def numbers(self) -> dict[str, Any]:
        """Return what a table shows."""
        return {
            "offset_adu": float(np.median(self.offset_adu)),
            "offset_sd_adu": float(np.std(self.offset_adu)),
            "gain_adu_per_e": self.mean_gain_adu_per_e,
            "gain_se_adu_per_e": self.mean_gain_se_adu_per_e,
            "gain_scatter": self.gain_scatter,
            "read_noise_e": float(np.median(self.read_noise_e)),
            "read_noise_rms_e": float(np.sqrt(np.mean(np.square(self.read_noise_e)))),
            "n_hot": int(self.is_hot.sum()),
            "saturation_adu": self.saturation_adu,
            "is_saturation_seen": int(self.is_saturation_seen),
            "dark_current_e_per_s": self.dark_current_e_per_s,
            "dark_current_se_e_per_s": self.dark_current_se_e_per_s,
            "nonlinearity": self.nonlinearity,
            "height_px": int(self.offset_adu.shape[0]),
            "width_px": int(self.offset_adu.shape[1]),
        }

    def curve(self) -> list[dict[str, Any]]:
        """Return the photon transfer curve as rows."""
        return [asdict(level) for level in self.levels]
