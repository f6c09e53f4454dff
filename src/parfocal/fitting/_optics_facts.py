"""What a calibration holds for: objective, camera, pixel size."""

from __future__ import annotations

from dataclasses import dataclass

from parfocal.errors import BadInputError


@dataclass(frozen=True)
class OpticsFacts:
    """The light path of a bead camera, as far as it is known; None and "" mean unknown.

    Parameters
    ----------
    pixel_size_um : float
        Camera pixel at the sample, binning included, um.
    objective : str
        Name.
    na, magnification, immersion_index : float, optional
        Of the objective.
    wavelength_um : float, optional
        Emission, um.
    camera : str
        Name, with its serial number where there is one.
    binning : int
        Camera pixels a side that make one pixel.
    roi_px : (int, int, int, int), optional
        Where the calibrated ROI was: y, x, height, width.
    exposure_s : float, optional
        Exposure, s.
    stage : str
        Name of the z stage.
    """

    pixel_size_um: float
    objective: str = ""
    na: float | None = None
    magnification: float | None = None
    immersion_index: float | None = None
    wavelength_um: float | None = None
    camera: str = ""
    binning: int = 1
    roi_px: tuple[int, int, int, int] | None = None
    exposure_s: float | None = None
    stage: str = ""

    def __post_init__(self) -> None:
        if not self.pixel_size_um > 0 or self.binning < 1:
            raise BadInputError(
                f"optics: pixel_size_um is {self.pixel_size_um} and binning {self.binning}; "
                "expected above 0 and 1 or more"
            )


def differences(calibrated: OpticsFacts, present: OpticsFacts) -> list[str]:
    """Return what makes a calibration unusable here, in words; facts unknown on either side do not count.

    Numbers may differ by 1 %. Exposure, stage and the ROI's place may change; its size may, too, since widths
    do not depend on it.
    """
    found: list[str] = []
    for name, label in (("objective", "objective"), ("camera", "camera")):
        before, now = getattr(calibrated, name), getattr(present, name)
        if before and now and before != now:
            found.append(f"{label} was {before!r} and is {now!r}")
    for name, label, unit in (
        ("pixel_size_um", "pixel size", " um"),
        ("na", "NA", ""),
        ("magnification", "magnification", "x"),
        ("immersion_index", "immersion index", ""),
        ("wavelength_um", "wavelength", " um"),
    ):
        before, now = getattr(calibrated, name), getattr(present, name)
        if before is not None and now is not None and abs(before - now) > 0.01 * abs(before):
            found.append(f"{label} was {before:g}{unit} and is {now:g}{unit}")
    if calibrated.binning != present.binning:
        found.append(f"binning was {calibrated.binning} and is {present.binning}")
    return found
