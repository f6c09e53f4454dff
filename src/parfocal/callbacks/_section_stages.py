"""The stages of a serial-section reconstruction over the sections of a run, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from parfocal.callbacks._slice_ledger import Attempts, verdict_stamps
from parfocal.errors import BadInputError
from parfocal.slices import SectionSource, ShiftTable, SliceLedger, StageResult
from parfocal.slices.ledger import Metric
from parfocal.slices.sections import (
    PairRegistration,
    RegisterSettings,
    assess_quality,
    chosen_slices,
    detect_rehoming,
    exclude_noisy_clusters,
    find_galvo_return,
    generate,
    register,
)

STAGES = ("detect-rehoming", "assess", "register", "exclude")


@dataclass(frozen=True)
class SectionParameters:
    """What `SectionStages` does; parameters of the stages as in `parfocal slices`.

    Attributes
    ----------
    stages : str
        Which, with commas between; they are done in the order that stands here. `generate` is always done.
    sections : {"position", "time_point"}
        What a section is: a place on a slide, or what lies under the objective after one more cut.
    other : int
        Which time point is looked at where sections are positions; which position where they are time points.
    tile : int
        Which tile.
    channel : str
        Which channel; empty for the first one that comes.
    min_quality : float
        See `assess_quality`; so `sample_depth`, `roi_size`, `max_shift_px`.
    thick_factor : float
        How many times the median depth makes a leading section a calibration slice.
    max_shift_mm : float
        See `detect_rehoming`.
    n_extra : int
        Lines of a galvo's way back, to be looked for while generating, with `galvo_threshold`; 0 for none.
    model : {"rigid", "affine", "translation"}
        Of `register`; so `search_window`.
    z_corr_threshold, z_corr_leave, consecutive_threshold
        See `exclude_noisy_clusters`.
    """

    stages: str = ",".join(STAGES)
    sections: Literal["position", "time_point"] = "position"
    other: int = 0
    tile: int = 0
    channel: str = ""
    min_quality: float = 0.0
    sample_depth: int = 5
    roi_size: int = 0
    max_shift_px: int = 64
    thick_factor: float = 1.5
    max_shift_mm: float = 0.5
    n_extra: int = 0
    galvo_threshold: float = 0.6
    model: Literal["rigid", "affine", "translation"] = "rigid"
    search_window: int = 5
    z_corr_threshold: float = 0.4
    z_corr_leave: float = 0.5
    consecutive_threshold: int = 3

    def chosen(self) -> tuple[str, ...]:
        """Return the stages to do, in their order; `BadInputError` names one that there is not."""
        asked = [one for given in self.stages.split(",") if (one := given.strip())]
        unknown = [one for one in asked if one not in (*STAGES, "generate")]
        if unknown:
            raise BadInputError(
                f"section_stages: no stage {unknown[0]!r}, there are: generate, {', '.join(STAGES)}"
            )
        return tuple(stage for stage in STAGES if stage in asked)


@dataclass
class StageChain:
    """Stages done one after the other, each with the ledger of those before it.

    Attributes
    ----------
    source : SectionSource
        The sections.
    parameters : SectionParameters
        What to do.
    audited : mapping of slice id to verdicts
        What the plan's own auditor said, in stage `audited_by`, its plan.
    steps : ShiftTable, optional
        Steps between sections that the stage made by itself.
    ledger : SliceLedger
        What all of it comes to.
    not_done : list of str
        Stages that could not be done.
    """

    source: SectionSource
    parameters: SectionParameters
    audited: Mapping[str, Attempts]
    audited_by: str = ""
    steps: ShiftTable | None = None
    ledger: SliceLedger = field(default_factory=SliceLedger)
    not_done: list[str] = field(default_factory=list[str])
    _pairs: tuple[PairRegistration, ...] | None = None

    def results(self) -> Iterator[StageResult]:
        """Yield what each stage decided; one that could not be done says why, and the next goes on."""
        work = {
            "detect-rehoming": self._rehoming,
            "assess": self._assess,
            "register": self._register,
            "exclude": self._exclude,
        }
        result = self._generate()
        self.ledger = self.ledger.apply(result)
        yield result
        if self.audited:
            result = StageResult(self.audited_by, verdict_stamps(self.audited), _attempts(self.audited))
            self.ledger = self.ledger.apply(result)
            yield result
        for stage in self.parameters.chosen():
            try:
                result = work[stage]()
                self.ledger = self.ledger.apply(result)
            except BadInputError as error:
                self.not_done.append(stage)
                result = StageResult(stage, messages=(f"not done: {error}",))
            yield result

    def _generate(self) -> StageResult:
        how, ids = self.parameters, self.source.slice_ids
        galvo = None
        if how.n_extra:
            galvo = {i: find_galvo_return([partial(self.source.volume, i)], how.n_extra) for i in ids}
        return generate(
            ids,
            depth_planes={i: self.source.shape(i)[0] for i in ids},
            thick_factor=how.thick_factor,
            galvo=galvo,
            galvo_threshold=how.galvo_threshold,
        )

    def _rehoming(self) -> StageResult:
        if self.steps is None:
            raise BadInputError(
                "no run of two or more sections says where each was sent, and where it was, in x and y"
            )
        return detect_rehoming(self.steps, max_shift_mm=self.parameters.max_shift_mm).stage

    def _assess(self) -> StageResult:
        how = self.parameters
        return assess_quality(
            self.source,
            min_quality=how.min_quality,
            sample_depth=how.sample_depth,
            roi_size=how.roi_size,
            max_shift_px=how.max_shift_px,
            calibration_thickness_ratio=how.thick_factor,
        )

    def _register(self) -> StageResult:
        ids, _ = chosen_slices(self.source, self.ledger)
        doubted = {i for i, row in self.ledger.rows.items() if row.get("rehoming_reliable") is False}
        settings = RegisterSettings(model=self.parameters.model, search_window=self.parameters.search_window)
        found = register(self.source, ids, unreliable=doubted, settings=settings)
        self._pairs = found.pairs
        return found.result

    def _exclude(self) -> StageResult:
        how = self.parameters
        if self._pairs is None:
            raise BadInputError("exclude goes by the correlations of `register`, which was not done")
        return exclude_noisy_clusters(
            self._pairs,
            self.ledger.rows,
            enter=how.z_corr_threshold,
            leave=max(how.z_corr_threshold, how.z_corr_leave),
            min_run=how.consecutive_threshold,
        )


def _attempts(audited: Mapping[str, Attempts]) -> dict[str, dict[str, Metric]]:
    return {
        slice_id: {
            "attempts": sum(len(attempts) for attempts in planes.values()),
            "rejected": sum(not one.accepted for attempts in planes.values() for one in attempts.values()),
        }
        for slice_id, planes in audited.items()
    }
