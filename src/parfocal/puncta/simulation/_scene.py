"""What a simulated recording of puncta is made of: frozen settings, every number with its unit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel, Drift, emccd_camera, scmos_camera

PsfKind = Literal["gaussian", "airy", "diffraction"]
CameraKind = Literal["emccd", "scmos", "uniform", "ideal"]

MOTIONS = ("immobile", "brownian", "confined", "directed")
"""What a punctum can do in a frame; a switching one goes from one to another of the first three."""

SIGMA_PER_WAVELENGTH_OVER_NA = 0.21
"""Width of the Gaussian nearest to an Airy core, in wavelengths of the emission over NA."""


@dataclass(frozen=True)
class Psf:
    """The image of one emitter, always integrated over the camera's pixels.

    Parameters
    ----------
    kind : {"gaussian", "airy", "diffraction"}
        `gaussian` is what localization fits assume; `airy` the in-focus image of a clear aperture, by 5 x 5
        sub-pixels; `diffraction` goes through `optics.PointImages`: defocus, immersion and aberrations.
    na, immersion_index : float
    wavelength_um : float
        Of the emission.
    sigma_um : float or None
        Width of the Gaussian; None takes 0.21 wavelength / NA.
    sigma_spread : float
        Of the Gaussian, log-normal from punctum to punctum: clusters are no points.
    zernike_waves : tuple of (int, float)
        For `diffraction`: Noll index and waves RMS; (6, 0.1) is an astigmatic lens.
    z_range_um : float
        For `diffraction`: heights are uniform in plus or minus this.
    """

    kind: PsfKind = "gaussian"
    na: float = 1.49
    immersion_index: float = 1.515
    wavelength_um: float = 0.664
    sigma_um: float | None = None
    sigma_spread: float = 0.0
    zernike_waves: tuple[tuple[int, float], ...] = ()
    z_range_um: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("gaussian", "airy", "diffraction"):
            raise BadInputError(f"psf: kind is {self.kind!r}, expected gaussian, airy or diffraction")
        if self.na <= 0 or self.wavelength_um <= 0 or (self.sigma_um is not None and self.sigma_um <= 0):
            raise BadInputError("psf: na, wavelength_um and sigma_um must be above 0")
        if self.sigma_spread < 0 or self.z_range_um < 0:
            raise BadInputError("psf: sigma_spread and z_range_um must be 0 or more")
        for asked, kind, name in (
            (self.sigma_um is not None or self.sigma_spread, "gaussian", "sigma_um and sigma_spread"),
            (self.zernike_waves or self.z_range_um, "diffraction", "zernike_waves and z_range_um"),
        ):
            if asked and self.kind != kind:
                raise BadInputError(f"psf: {name} are for kind {kind}, and this is {self.kind}")

    @property
    def core_sigma_um(self) -> float:
        """Width of the Gaussian that is the spot, or is nearest to its core."""
        return self.sigma_um or SIGMA_PER_WAVELENGTH_OVER_NA * self.wavelength_um / self.na


@dataclass(frozen=True)
class Motion:
    """How puncta move: shares of each kind (they are made to add up to 1) and what each kind's numbers are.

    Borders reflect. A confined one is Brownian in a harmonic well whose standard deviation along each axis is
    `confinement_um`; a directed one is Brownian with a velocity of its own; a switching one changes between
    immobile, Brownian and confined after times that are exponential of mean `dwell_s`.

    Parameters
    ----------
    immobile, brownian, confined, directed, switching : float
        Shares.
    d_um2_per_s : (float, float)
        Diffusion coefficients are log-uniform in this range.
    confinement_um : (float, float)
        Log-uniform.
    speed_um_per_s : (float, float)
        Log-uniform.
    dwell_s : float
    merges, splits : float
        Mean numbers in the recording: two puncta that become one, one that becomes two. They are Brownian.
    """

    immobile: float = 0.4
    brownian: float = 0.3
    confined: float = 0.15
    directed: float = 0.05
    switching: float = 0.1
    d_um2_per_s: tuple[float, float] = (1e-4, 0.2)
    confinement_um: tuple[float, float] = (0.03, 0.15)
    speed_um_per_s: tuple[float, float] = (0.05, 0.5)
    dwell_s: float = 1.0
    merges: float = 0.0
    splits: float = 0.0

    def __post_init__(self) -> None:
        if min(self.shares) < 0 or sum(self.shares) <= 0:
            raise BadInputError(f"motion: shares {self.shares}, expected 0 or more and not all 0")
        for name in ("d_um2_per_s", "confinement_um", "speed_um_per_s"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise BadInputError(f"motion: {name} is {low:g} to {high:g}, expected a range above 0")
        if self.dwell_s <= 0 or self.merges < 0 or self.splits < 0:
            raise BadInputError("motion: dwell_s must be above 0, merges and splits 0 or more")

    @property
    def shares(self) -> tuple[float, float, float, float, float]:
        """Shares in the order of the parameters."""
        return self.immobile, self.brownian, self.confined, self.directed, self.switching


IMMOBILE = Motion(1, 0, 0, 0, 0)
"""All puncta stay where they are."""


@dataclass(frozen=True)
class Blinking:
    """On and off times, both exponential.

    Parameters
    ----------
    on_s : float
        Mean time on.
    off_s : float or None
        Mean time off; None: each is on once, beginning at any time from 3 `on_s` before the first frame.
    """

    on_s: float = 1.0
    off_s: float | None = 0.5

    def __post_init__(self) -> None:
        if self.on_s <= 0 or (self.off_s is not None and self.off_s <= 0):
            raise BadInputError("blinking: on_s and off_s must be above 0")


@dataclass(frozen=True)
class Background:
    """Light that is no punctum, detected photons per pixel and frame.

    Parameters
    ----------
    offset_photons : float
        Everywhere, not from the sample: it neither moves nor bleaches.
    sample_photons : float
        From the sample: shaped by what follows, lit by the illumination.
    field_contrast, field_period_um : float
        Relative standard deviation and length of a low-frequency field.
    tirf_falloff : float
        How much weaker the light is in the corners than in the middle, 0 to 1; puncta are lit so too.
    has_cell : bool
        Sample light and puncta only inside a cell's outline, `cell_share` of the image's sides across.
    cell_share : float
    haze_count : float
        Mean number of puncta far out of focus, blurs of `haze_sigma_um` with `haze_photons` each.
    haze_photons, haze_sigma_um : float
    bleaching_s : float or None
        Sample light decays with this time to `bleaching_floor` of what it was.
    bleaching_floor : float
    """

    offset_photons: float = 2.0
    sample_photons: float = 18.0
    field_contrast: float = 0.15
    field_period_um: float = 8.0
    tirf_falloff: float = 0.0
    has_cell: bool = False
    cell_share: float = 0.85
    haze_count: float = 0.0
    haze_photons: float = 3000.0
    haze_sigma_um: float = 0.8
    bleaching_s: float | None = None
    bleaching_floor: float = 0.3

    def __post_init__(self) -> None:
        for name in ("offset_photons", "sample_photons", "field_contrast", "haze_count", "haze_photons"):
            if getattr(self, name) < 0:
                raise BadInputError(f"background: {name} is {getattr(self, name):g}, expected 0 or more")
        for name in ("field_period_um", "cell_share", "haze_sigma_um"):
            if getattr(self, name) <= 0:
                raise BadInputError(f"background: {name} must be above 0")
        if not 0 <= self.tirf_falloff < 1 or not 0 <= self.bleaching_floor <= 1:
            raise BadInputError("background: tirf_falloff and bleaching_floor are shares, expected 0 to 1")
        if self.bleaching_s is not None and self.bleaching_s <= 0:
            raise BadInputError("background: bleaching_s must be above 0")


@dataclass(frozen=True)
class CameraChain:
    """From photoelectrons to numbers.

    Parameters
    ----------
    kind : {"emccd", "scmos", "uniform", "ideal"}
        `scmos` has maps of offset, gain and read noise with a tail of noisy pixels; `uniform` has one number of
        each; `ideal` has shot noise alone, one count a photoelectron, and no offset.
    offset_adu, gain_adu_per_e, read_noise_e : float
        Of `scmos` and `uniform`, in photoelectrons; the offset of `emccd` too.
    em_gain, em_e_per_adu, em_read_noise_e, spurious_e : float
        Of `emccd`, as data sheets tell them: conversion and read noise behind the register.
    saturation_adu : float
    """

    kind: CameraKind = "scmos"
    offset_adu: float = 100.0
    gain_adu_per_e: float = 2.2
    read_noise_e: float = 1.4
    em_gain: float = 300.0
    em_e_per_adu: float = 45.0
    em_read_noise_e: float = 74.0
    spurious_e: float = 0.002
    saturation_adu: float = 65535.0

    def __post_init__(self) -> None:
        if self.kind not in ("emccd", "scmos", "uniform", "ideal"):
            raise BadInputError(f"camera: kind is {self.kind!r}, expected emccd, scmos, uniform or ideal")
        self.model((1, 1), 0)

    def model(self, shape_px: tuple[int, int], seed: int) -> CameraModel:
        """Return the camera model of a sensor; the maps of an sCMOS follow from the seed."""
        if self.kind == "emccd":
            made = emccd_camera(
                self.em_gain, self.em_e_per_adu, self.em_read_noise_e, self.offset_adu, self.spurious_e
            )
        elif self.kind == "scmos":
            made = scmos_camera(shape_px, seed, self.offset_adu, self.gain_adu_per_e, self.read_noise_e)
        elif self.kind == "uniform":
            made = CameraModel(self.offset_adu, self.gain_adu_per_e, self.read_noise_e)
        else:
            made = CameraModel(0.0, 1.0, 0.0)
        return made.saturating_at(self.saturation_adu)


@dataclass(frozen=True)
class Calcium:
    """The second channel: calcium that rises at puncta, and what only looks like it.

    An event's dF/F0 at its middle is `peak (1 - exp(-t / rise_s)) exp(-t / decay_s)`, made 1 at its peak; around
    it falls off as a Gaussian of `sigma_um`, wider than the PSF as calcium diffuses.

    Parameters
    ----------
    events_per_s : float
        Of each punctum.
    peak_dff, peak_spread : float
        Median and log-normal spread of the peak.
    rise_s, decay_s : float
    sigma_um : float
    f0_photons : float
        Baseline per pixel and frame, shaped as the sample's background is; `offset_photons` is added everywhere.
    offset_photons : float
    bleaching_s : float or None
        Of the baseline.
    waves_per_min : float
        Waves that cross the whole image with `wave_speed_um_per_s`; each place rises in `wave_rise_s` and falls in
        `wave_decay_s`.
    wave_dff, wave_speed_um_per_s, wave_rise_s, wave_decay_s : float
    stray_per_s : float
        Events where no punctum is, in the whole image.
    bleed_through : float
        Share of the puncta channel's light that this one sees.
    """

    events_per_s: float = 0.2
    peak_dff: float = 1.0
    peak_spread: float = 0.3
    rise_s: float = 0.05
    decay_s: float = 0.4
    sigma_um: float = 0.35
    f0_photons: float = 40.0
    offset_photons: float = 2.0
    bleaching_s: float | None = None
    waves_per_min: float = 0.0
    wave_dff: float = 0.6
    wave_speed_um_per_s: float = 20.0
    wave_rise_s: float = 0.3
    wave_decay_s: float = 2.0
    stray_per_s: float = 0.0
    bleed_through: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rise_s", "decay_s", "sigma_um", "wave_speed_um_per_s", "wave_rise_s", "wave_decay_s"):
            if getattr(self, name) <= 0:
                raise BadInputError(f"calcium: {name} must be above 0")
        for name in (
            "events_per_s",
            "peak_dff",
            "peak_spread",
            "f0_photons",
            "offset_photons",
            "waves_per_min",
            "wave_dff",
            "stray_per_s",
            "bleed_through",
        ):
            if getattr(self, name) < 0:
                raise BadInputError(f"calcium: {name} is {getattr(self, name):g}, expected 0 or more")
        if self.bleaching_s is not None and self.bleaching_s <= 0:
            raise BadInputError("calcium: bleaching_s must be above 0")


@dataclass(frozen=True)
class PunctaScene:
    """A recording to simulate. The same scene is the same movie, however it is asked for.

    Parameters
    ----------
    shape_px : (int, int)
        Height, width.
    n_frames : int
    pixel_size_um : (float, float)
        (y, x).
    frame_interval_s : float
    exposure_s : float or None
        None: the whole interval.
    n_puncta : float
        Mean number in the image, Poisson; exactly this many (rounded) with `is_count_exact`.
    is_count_exact : bool
    margin_px : float
        Puncta live so far beyond the image too, as dense; negative keeps them from its border.
    min_distance_px : float
        In the first frame; as many as find a place in 50 tries each.
    photons : float
        Median of a punctum's detected photons in a frame.
    photons_spread : float
        Standard deviation of their logarithm from punctum to punctum.
    bleaching_s : float or None
        Mean life of a punctum.
    sub_frames : int
        Places along its way that a moving punctum is drawn at in one exposure.
    psf : Psf
    motion : Motion
    blinking : Blinking or None
        None: always on.
    background : Background
    camera : CameraChain
    drift : Drift
        Of the sample, (z, y, x) um.
    calcium : Calcium or None
        None: one channel.
    seed : int
    """

    shape_px: tuple[int, int] = (256, 256)
    n_frames: int = 50
    pixel_size_um: tuple[float, float] = (0.13, 0.13)
    frame_interval_s: float = 0.05
    exposure_s: float | None = None
    n_puncta: float = 20.0
    is_count_exact: bool = False
    margin_px: float = 0.0
    min_distance_px: float = 0.0
    photons: float = 1000.0
    photons_spread: float = 0.4
    bleaching_s: float | None = None
    sub_frames: int = 4
    psf: Psf = field(default_factory=Psf)
    motion: Motion = field(default_factory=Motion)
    blinking: Blinking | None = None
    background: Background = field(default_factory=Background)
    camera: CameraChain = field(default_factory=CameraChain)
    drift: Drift = field(default_factory=Drift)
    calcium: Calcium | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.shape_px) != 2 or min(self.shape_px) < 8 or self.n_frames < 1:
            raise BadInputError(
                f"scene: {self.n_frames} frames of {self.shape_px} px, expected 1 or more of at least (8, 8)"
            )
        if min(self.pixel_size_um) <= 0 or self.frame_interval_s <= 0:
            raise BadInputError("scene: pixel_size_um and frame_interval_s must be above 0")
        if self.exposure_s is not None and not 0 < self.exposure_s <= self.frame_interval_s:
            raise BadInputError(
                f"scene: exposure_s is {self.exposure_s:g}, expected above 0 and at most frame_interval_s "
                f"({self.frame_interval_s:g})"
            )
        for name in ("n_puncta", "photons", "photons_spread", "min_distance_px"):
            if getattr(self, name) < 0:
                raise BadInputError(f"scene: {name} is {getattr(self, name):g}, expected 0 or more")
        if -2 * self.margin_px >= min(self.shape_px) - 1:
            raise BadInputError(f"scene: margin_px {self.margin_px:g} leaves no room in {self.shape_px} px")
        if self.bleaching_s is not None and self.bleaching_s <= 0:
            raise BadInputError("scene: bleaching_s must be above 0")
        if self.sub_frames < 1 or self.seed < 0:
            raise BadInputError("scene: sub_frames must be 1 or more, seed 0 or more")

    @property
    def open_s(self) -> float:
        """Seconds that the shutter is open in each frame."""
        return self.exposure_s or self.frame_interval_s

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame's beginning to the last one's end."""
        return self.n_frames * self.frame_interval_s
