"""What `SectionStages` does: which stages, on which frames, and the parameters of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from parfocal.errors import BadInputError

JUDGING = ("detect-rehoming", "assess", "register", "exclude")
STAGES = ("fix-galvo", "detect-rehoming", "assess", "register", "interpolate", "exclude", "align", "stack")


@dataclass(frozen=True)
class SectionParameters:
    """What `SectionStages` does; parameters of the stages as in `parfocal slices`.

    Attributes
    ----------
    stages : str
        Which, with commas between: `fix-galvo`, `detect-rehoming`, `assess`, `register`, `interpolate`, `exclude`,
        `align`, `stack`; they are done in this order, and `generate` before them always. `all` means all of them,
        `fix-galvo` only with `n_extra`; by default none that makes a volume.
    sections : {"position", "time_point"}
        What a section is: a place on a slide, or what lies under the objective after one more cut.
    other : int
        Which time point is looked at where sections are positions; which position where they are time points.
    tile : int
        Which tile.
    channel : str
        Which channel; empty for the first one that comes.
    min_quality : float or "auto"
        See `assess_quality`; so `sample_depth`, `roi_size`, `max_shift_px`.
    thick_factor : float
        How many times the median depth makes a leading section a calibration slice.
    max_shift_mm : float
        See `detect_rehoming`.
    n_extra : int
        Lines of a galvo's way back, to be looked for while generating, with `galvo_threshold`; 0 for none.
    tile_lines : int
        Lines of one tile of a section, for `fix-galvo`; 0 where all are one.
    model : {"rigid", "affine", "translation"}
        Of `register`; so `search_window`.
    steps : {"images", "stage"}
        Where `align` and `stack` lay sections: by what `register` measured from one to the next, or by how far
        the stage was off its way, mended by `detect-rehoming`; the camera's axes must lie along the stage's then.
    method : {"zmorph", "weighted", "average"}
        Of `interpolate`; see `InterpolateSettings`, and `interpolate_missing` of `allow_multiple`, `n_held_out`.
    z_corr_threshold, z_corr_leave, consecutive_threshold
        See `exclude_noisy_clusters`.
    sub_pixel, keep_gaps
        See `align`.
    """

    stages: str = ",".join(JUDGING)
    sections: Literal["position", "time_point"] = "position"
    other: int = 0
    tile: int = 0
    channel: str = ""
    min_quality: float | Literal["auto"] = 0.0
    sample_depth: int = 5
    roi_size: int = 0
    max_shift_px: int = 64
    thick_factor: float = 1.5
    max_shift_mm: float = 0.5
    n_extra: int = 0
    galvo_threshold: float = 0.6
    tile_lines: int = 0
    model: Literal["rigid", "affine", "translation"] = "rigid"
    search_window: int = 5
    steps: Literal["images", "stage"] = "images"
    method: Literal["zmorph", "weighted", "average"] = "zmorph"
    allow_multiple: bool = False
    n_held_out: int = 3
    z_corr_threshold: float = 0.4
    z_corr_leave: float = 0.5
    consecutive_threshold: int = 3
    sub_pixel: bool = False
    keep_gaps: bool = True

    def chosen(self) -> tuple[str, ...]:
        """Return the stages to do, in their order; `BadInputError` names one that there is not."""
        asked = [one for given in self.stages.split(",") if (one := given.strip())]
        if asked == ["all"]:
            return STAGES if self.n_extra else STAGES[1:]
        unknown = [one for one in asked if one not in (*STAGES, "generate")]
        if unknown:
            raise BadInputError(
                f"section_stages: no stage {unknown[0]!r}, there are: generate, {', '.join(STAGES)}; or all"
            )
        return tuple(stage for stage in STAGES if stage in asked)
