"""What the sharpness pass gives back."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields


@dataclass(frozen=True)
class FocusScoreSet:
    """The six focus scores of one image. All grow with sharpness.

    Attributes
    ----------
    laplacian_variance : float
        Variance of the 4-neighbour Laplacian, ADU².
    tenengrad : float
        Mean squared Sobel gradient (3x3), ADU².
    brenner : float
        Mean squared difference of pixels two apart, mean of both axes, ADU².
    normalized_variance : float
        Variance over squared mean (no unit).
    vollath_f4 : float
        Autocovariance along x at lag 1 less that at lag 2, ADU².
    mean_abs_log : float
        Mean absolute Laplacian of Gaussian, ADU.
    """

    laplacian_variance: float
    tenengrad: float
    brenner: float
    normalized_variance: float
    vollath_f4: float
    mean_abs_log: float

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the scores, in order."""
        return tuple(field.name for field in fields(cls))

    def as_tuple(self) -> tuple[float, ...]:
        """Return the scores in the order of `names`."""
        return astuple(self)


@dataclass(frozen=True)
class Sharpness:
    """Focus scores of one image: as measured, less the noise floor, and made free of gain and exposure.

    Attributes
    ----------
    raw : FocusScoreSet
        As measured, noise included.
    debiased : FocusScoreSet
        `raw` less what white pixel noise of `noise_sd_adu` alone would give. On pure noise these scatter
        around 0, so they can be negative.
    normalized : FocusScoreSet
        `debiased` over the squared mean (mean_abs_log: over the mean), so that gain and exposure cancel. NaN
        where the mean is not positive.
    mean_adu : float
        Mean pixel value above the camera's offset (above 0 without a camera model), ADU.
    noise_sd_adu : float
        Standard deviation of the pixel noise that was taken away, ADU; 0 when none was.
    noise : str
        Where `noise_sd_adu` comes from: "model", "immerkaer" or "none".
    flags : tuple of str
        What a reader must know: "flat" (every pixel equal), "mean_not_positive", "non_finite" (a pixel is
        NaN or infinite: every score is NaN), "too_small_for_log" (mean_abs_log is NaN).
    """

    raw: FocusScoreSet
    debiased: FocusScoreSet
    normalized: FocusScoreSet
    mean_adu: float
    noise_sd_adu: float
    noise: str
    flags: tuple[str, ...] = ()
