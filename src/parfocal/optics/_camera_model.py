"""The camera's own numbers: what turns ADU into photoelectrons and says how noisy they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError

Map = float | NDArray[np.float64] | NDArray[np.float32]


@dataclass(frozen=True)
class CameraModel:
    """Offset, gain and read noise of a camera, one number for all pixels or one `[y, x]` map each.

    Parameters
    ----------
    offset_adu : float or ndarray of shape (height, width)
        Mean dark level, ADU.
    gain_adu_per_e : float or ndarray of shape (height, width)
        ADU per photoelectron.
    read_noise_e : float or ndarray of shape (height, width)
        Standard deviation of the read noise, photoelectrons.
    saturation_adu : float
        The largest value the camera can report, ADU.

    References
    ----------
    .. [1] F. Huang et al., "Video-rate nanoscopy using sCMOS camera-specific single-molecule
       localization algorithms", Nat. Methods 10, 653 (2013).
    """

    offset_adu: Map = 100.0
    gain_adu_per_e: Map = 1.0
    read_noise_e: Map = 1.6
    saturation_adu: float = 65535.0

    def __post_init__(self) -> None:
        if np.any(np.asarray(self.gain_adu_per_e) <= 0):
            raise BadInputError("camera model: gain_adu_per_e must be above 0 in every pixel")
        if np.any(np.asarray(self.read_noise_e) < 0):
            raise BadInputError("camera model: read_noise_e must be 0 or more in every pixel")

    def to_electrons(self, adu: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return photoelectrons of a raw frame `[..., y, x]` (float32; negative where noise makes it so)."""
        raw = np.asarray(adu, dtype=np.float32)
        return ((raw - self.offset_adu) / self.gain_adu_per_e).astype(np.float32, copy=False)

    def noise_variance_adu2(self, mean_adu: float) -> float:
        """Return the expected pixel variance (ADU²) at a mean raw level: shot noise plus read noise.

        Maps enter by their means, since one number is asked for.
        """
        gain = float(np.mean(self.gain_adu_per_e))
        electrons = max(0.0, (mean_adu - float(np.mean(self.offset_adu))) / gain)
        return gain**2 * (electrons + float(np.mean(np.square(self.read_noise_e))))
