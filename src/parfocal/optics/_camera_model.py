"""The camera's own numbers: what turns ADU into photoelectrons and says how noisy they are."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    dark_current_e_per_s : float
        Photoelectrons that gather without light, per pixel and second.
    em_gain : float
        Mean multiplication of an EMCCD's register; 1 is a camera without one. Gain and read noise are told in
        photoelectrons before the register, so that all that reads them stays true; what the register adds is
        `excess_noise`.
    spurious_e : float
        Charges that clocking adds, per pixel and frame.

    References
    ----------
    .. [1] F. Huang et al., "Video-rate nanoscopy using sCMOS camera-specific single-molecule
       localization algorithms", Nat. Methods 10, 653 (2013).
    .. [2] M. Hirsch et al., "A stochastic model for electron multiplication charge-coupled devices", PLoS ONE 8,
       e53671 (2013).
    """

    offset_adu: Map = 100.0
    gain_adu_per_e: Map = 1.0
    read_noise_e: Map = 1.6
    saturation_adu: float = 65535.0
    dark_current_e_per_s: float = 0.0
    em_gain: float = 1.0
    spurious_e: float = 0.0

    def __post_init__(self) -> None:
        if np.any(np.asarray(self.gain_adu_per_e) <= 0):
            raise BadInputError("camera model: gain_adu_per_e must be above 0 in every pixel")
        if np.any(np.asarray(self.read_noise_e) < 0):
            raise BadInputError("camera model: read_noise_e must be 0 or more in every pixel")
        if self.saturation_adu <= 0 or self.dark_current_e_per_s < 0:
            raise BadInputError("camera model: saturation_adu must be above 0, dark_current_e_per_s 0 or more")
        if self.em_gain < 1 or self.spurious_e < 0:
            raise BadInputError("camera model: em_gain must be 1 or more, spurious_e 0 or more")

    @property
    def excess_noise(self) -> float:
        """Factor on the variance of shot noise: 2 behind a multiplying register, else 1."""
        return 2.0 if self.em_gain > 1 else 1.0

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
        return gain**2 * (self.excess_noise * electrons + float(np.mean(np.square(self.read_noise_e))))

    def with_gain(self, factor: float) -> CameraModel:
        """Return the model after the camera's gain was set to `factor` times what it was."""
        return replace(self, gain_adu_per_e=np.asarray(self.gain_adu_per_e) * factor)

    def saturating_at(self, saturation_adu: float) -> CameraModel:
        """Return the model of a camera that can report no more than this."""
        return replace(self, saturation_adu=saturation_adu)

    def cropped(self, roi_px: tuple[int, int, int, int]) -> CameraModel:
        """Return the model of a region (y, x, height, width); maps are cut, single numbers stay."""
        y, x, height, width = roi_px

        def cut(value: Map) -> Map:
            return value[y : y + height, x : x + width] if isinstance(value, np.ndarray) and value.ndim else value

        return replace(
            self,
            offset_adu=cut(self.offset_adu),
            gain_adu_per_e=cut(self.gain_adu_per_e),
            read_noise_e=cut(self.read_noise_e),
        )

    def binned(self, binning: int) -> CameraModel:
        """Return the model of `binning` x `binning` pixels added up after they were read, as an sCMOS does.

        Offsets and read variances add up; rows and columns that do not fill a bin are left out.
        """
        if binning == 1:
            return self
        area = binning**2
        return replace(
            self,
            offset_adu=_bin_mean(self.offset_adu, binning) * area,
            gain_adu_per_e=_bin_mean(self.gain_adu_per_e, binning),
            read_noise_e=np.sqrt(_bin_mean(np.square(self.read_noise_e), binning) * area),
            saturation_adu=min(self.saturation_adu * area, 65535.0),
            dark_current_e_per_s=self.dark_current_e_per_s * area,
            spurious_e=self.spurious_e * area,
        )


def scmos_camera(
    shape: tuple[int, int],
    seed: int,
    offset_adu: float = 100.0,
    gain_adu_per_e: float = 2.2,
    read_noise_e: float = 1.4,
) -> CameraModel:
    """Return an sCMOS camera whose every pixel has its own offset, gain and read noise.

    Offsets scatter by 2 ADU and gains by 1 %; read noise is log-normal about its median, and one pixel in a
    thousand is several times noisier than the rest, as on real sensors.
    """
    rng = np.random.default_rng([seed, 0x5C05])
    read_noise = read_noise_e * np.exp(rng.normal(0.0, 0.15, shape))
    noisy = rng.random(shape) < 1e-3
    read_noise[noisy] *= rng.uniform(3.0, 10.0, int(noisy.sum()))
    return CameraModel(
        offset_adu=rng.normal(offset_adu, 2.0, shape),
        gain_adu_per_e=gain_adu_per_e * rng.normal(1.0, 0.01, shape),
        read_noise_e=read_noise,
        dark_current_e_per_s=0.1,
    )


def emccd_camera(
    em_gain: float = 300.0,
    e_per_adu: float = 45.0,
    read_noise_e: float = 74.0,
    offset_adu: float = 100.0,
    spurious_e: float = 0.002,
) -> CameraModel:
    """Return an EMCCD as its data sheet tells it: `e_per_adu` and `read_noise_e` behind the register.

    They are divided by the multiplication, to stand in photoelectrons as everything else does.
    """
    if em_gain < 1 or e_per_adu <= 0:
        raise BadInputError("camera model: em_gain must be 1 or more and e_per_adu above 0")
    return CameraModel(
        offset_adu=offset_adu,
        gain_adu_per_e=em_gain / e_per_adu,
        read_noise_e=read_noise_e / em_gain,
        em_gain=em_gain,
        spurious_e=spurious_e,
    )


def _bin_mean(value: Map, binning: int) -> Map:
    array = np.asarray(value)
    if array.ndim == 0:
        return float(array)
    height, width = array.shape[0] // binning, array.shape[1] // binning
    blocks = array[: height * binning, : width * binning].reshape(height, binning, width, binning)
    return blocks.mean(axis=(1, 3))
