"""From the frames of `characterize_pixel_size` to the pixel size and the affine between stage and camera."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.fitting import StageAffine, stage_affine
from parfocal.focus._characterization import Characterization
from parfocal.focus._probed import Issue, Probed, Trace
from parfocal.imaging import phase_shift

_LEAST_NCC = 0.3


@dataclass
class PixelSizeCollector:
    """Collects frames at places round a square; see `characterizing`."""

    about: Mapping[str, Any]
    told_um: float
    _first: NDArray[np.generic] | None = None
    _moved: dict[int, tuple[float, float, float, float, float, float]] = field(
        default_factory=dict[int, tuple[float, float, float, float, float, float]]
    )

    def add(self, frame: NDArray[np.generic], told: Probed, t_s: float, trace: Trace | None = None) -> None:
        if self._first is None:
            self._first = frame.copy()
        found = phase_shift(self._first, frame, upsample=20)
        is_good = found.ncc > _LEAST_NCC
        dy, dx = (-found.dy_px, -found.dx_px) if is_good else (math.nan, math.nan)
        self._moved[told.number] = (told.y_um, told.x_um, dy, dx, t_s, found.ncc)

    def result(self) -> Characterization:
        table = np.array([self._moved[k] for k in sorted(self._moved)]).reshape(-1, 6)
        rows: tuple[dict[str, Any], ...] = tuple(
            dict(zip(("y_um", "x_um", "moved_y_px", "moved_x_px", "t_s", "ncc"), row)) for row in table.tolist()
        )
        try:
            found = stage_affine(table[:, :2], table[:, 2:4], table[:, 4])
        except BadInputError as error:
            return Characterization("pixel_size", self.about, {}, rows, (("refuses", str(error)),))
        issues: list[Issue] = []
        size = found.pixel_size_um
        if abs(size.value / self.told_um - 1) > 0.02 + 3 * size.se / size.value:
            issues.append(
                ("warns", f"pixels are {size.value:.4g} um, the configuration says {self.told_um:.4g} um: mend "
                 "pixel_size_um")
            )  # fmt: skip
        if found.residual_px > 0.5:
            issues.append(("warns", f"moves and pictures disagree by {found.residual_px:.2f} px: play, or drift?"))
        numbers = _affine_numbers(found) | {"told_pixel_size_um": self.told_um}
        return Characterization("pixel_size", self.about, numbers, rows, tuple(issues))


def _affine_numbers(found: StageAffine) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "pixel_size_um": found.pixel_size_um.value,
        "pixel_size_se_um": found.pixel_size_um.se,
        "pixel_size_y_um": found.pixel_sizes_um[0],
        "pixel_size_x_um": found.pixel_sizes_um[1],
        "rotation_deg": found.rotation_deg,
        "shear_rad": found.shear,
        "is_mirrored": int(found.is_mirrored),
        "residual_px": found.residual_px,
    }
    for i, camera in enumerate("yx"):
        for j, stage in enumerate("yx"):
            numbers[f"px_{camera}_per_um_{stage}"] = float(found.px_per_um[i, j])
            numbers[f"px_{camera}_per_um_{stage}_se"] = float(found.px_per_um_se[i, j])
    return numbers
