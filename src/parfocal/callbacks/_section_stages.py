"""The stages of a serial-section reconstruction over the sections of a run, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from parfocal.callbacks._section_parameters import SectionParameters
from parfocal.callbacks._slice_ledger import Attempts, verdict_stamps
from parfocal.errors import BadInputError
from parfocal.slices import SectionSource, ShiftTable, SliceLedger, StageResult
from parfocal.slices.ledger import Metric
from parfocal.slices.sections import (
    Aligned,
    InterpolateSettings,
    RegisterSettings,
    Registration,
    RolledSections,
    SectionFolder,
    align,
    assess_quality,
    chosen_slices,
    decide_galvo_fix,
    detect_rehoming,
    exclude_noisy_clusters,
    find_galvo_return,
    generate,
    interpolate_missing,
    measured_shifts,
    positions_px,
    register,
    stack,
    unreliable_slices,
    with_verified_steps,
)

_NOWHERE = "no run of two or more sections says where each was sent, and where it was, in x and y"


@dataclass(frozen=True)
class MadeVolume:
    """A volume that a stage wrote.

    Attributes
    ----------
    stream : str
        Its name in the derived run.
    path : Path
        The OME-Zarr.
    slice_id : str
        Which section it is; empty where it holds all of them.
    """

    stream: str
    path: Path
    slice_id: str = ""


@dataclass(frozen=True)
class StageDone:
    """What one stage decided, and the volumes that it made."""

    result: StageResult
    made: tuple[MadeVolume, ...] = ()


@dataclass
class StageChain:
    """Stages done one after the other, each with the ledger of those before it.

    Attributes
    ----------
    source : SectionSource
        The sections; rolled ones in their place once `fix-galvo` is done.
    parameters : SectionParameters
        What to do.
    audited : mapping of slice id to verdicts
        What the plan's own auditor said, in stage `audited_by`, its plan.
    folder : Path
        Where volumes go; made by the first stage that makes one.
    steps : ShiftTable, optional
        Steps between sections that the stage made by itself; mended once `detect-rehoming` is done.
    ledger : SliceLedger
        What all of it comes to.
    not_done : list of str
        Stages that could not be done.
    """

    source: SectionSource
    parameters: SectionParameters
    audited: Mapping[str, Attempts]
    audited_by: str
    folder: Path
    steps: ShiftTable | None = None
    ledger: SliceLedger = field(default_factory=SliceLedger)
    not_done: list[str] = field(default_factory=list[str])
    _generated: StageResult = field(default_factory=lambda: StageResult("generate"))
    _registration: Registration | None = None
    _interpolated: SectionSource | None = None

    def results(self) -> Iterator[StageDone]:
        """Yield what came of each stage; one that could not be done says why, and the next goes on."""
        work = {
            "fix-galvo": self._fix_galvo,
            "detect-rehoming": self._rehoming,
            "assess": self._assess,
            "register": self._register,
            "interpolate": self._interpolate,
            "exclude": self._exclude,
            "align": self._align,
            "stack": self._stack,
        }
        self._generated = self._generate()
        yield self._noted(StageDone(self._generated))
        if self.audited:
            said = StageResult(self.audited_by, verdict_stamps(self.audited), _attempts(self.audited))
            yield self._noted(StageDone(said))
        for stage in self.parameters.chosen():
            try:
                done = self._noted(work[stage]())
            except BadInputError as error:
                self.not_done.append(stage)
                done = StageDone(StageResult(stage, messages=(f"not done: {error}",)))
            yield done

    def _noted(self, done: StageDone) -> StageDone:
        self.ledger = self.ledger.apply(done.result)
        return done

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

    def _fix_galvo(self) -> StageDone:
        how = self.parameters
        if not how.n_extra:
            raise BadInputError(
                "fix-galvo: n_extra, the lines of the galvo's way back, is 0: nobody looked for it"
            )
        known = {i: {"generate": numbers} for i, numbers in self._generated.metrics.items()}
        fix = decide_galvo_fix(self.ledger.rows, known, threshold=how.galvo_threshold)
        rolled = RolledSections(self.source, fix.shifts_lines, how.tile_lines or None)
        made = rolled.write(self.folder / "fix-galvo", fix.shifts_lines) if fix.shifts_lines else {}
        self.source = rolled
        return StageDone(fix.stage, tuple(MadeVolume(f"rolled_{i}", path, i) for i, path in made.items()))

    def _rehoming(self) -> StageDone:
        if self.steps is None:
            raise BadInputError(_NOWHERE)
        found = detect_rehoming(self.steps, max_shift_mm=self.parameters.max_shift_mm)
        self.steps = found.shifts
        return StageDone(found.stage)

    def _assess(self) -> StageDone:
        how = self.parameters
        return StageDone(
            assess_quality(
                self.source,
                min_quality=how.min_quality,
                sample_depth=how.sample_depth,
                roi_size=how.roi_size,
                max_shift_px=how.max_shift_px,
                calibration_thickness_ratio=how.thick_factor,
            )
        )

    def _register(self) -> StageDone:
        how = self.parameters
        ids, _ = chosen_slices(self.source, self.ledger)
        known = self._stage_steps() if how.steps == "stage" else None
        found = register(
            self.source,
            ids,
            positions_px={} if known is None else positions_px(known, ids, self.source.voxel_size_um)[1],
            unreliable=unreliable_slices(self.ledger, known),
            settings=RegisterSettings(model=how.model, search_window=how.search_window),
        )
        self._registration = found
        return StageDone(found.result)

    def _interpolate(self) -> StageDone:
        how, folder = self.parameters, self.folder / "interpolate"
        found = interpolate_missing(
            self.source,
            self.ledger,
            self._shifts("interpolate"),
            folder=folder,
            settings=InterpolateSettings(method=how.method),
            allow_multiple=how.allow_multiple,
            n_held_out=how.n_held_out,
        )
        if found.made:
            made = SectionFolder(folder)
            self._interpolated = made
            return StageDone(
                found.result, tuple(MadeVolume(f"interpolated_{i}", made.files[i], i) for i in found.made)
            )
        return StageDone(found.result)

    def _exclude(self) -> StageDone:
        how = self.parameters
        return StageDone(
            exclude_noisy_clusters(
                self._registered("exclude", "correlations").pairs,
                self.ledger.rows,
                enter=how.z_corr_threshold,
                leave=max(how.z_corr_threshold, how.z_corr_leave),
                min_run=how.consecutive_threshold,
            )
        )

    def _align(self) -> StageDone:
        how, shifts, path = self.parameters, self._shifts("align"), self._new("aligned.ome.zarr")
        found = align(
            self.source,
            shifts,
            self.ledger,
            path=path,
            made=self._interpolated,
            sub_pixel=how.sub_pixel,
            keep_gaps=how.keep_gaps,
        )
        return _whole("aligned", found)

    def _stack(self) -> StageDone:
        pairs, shifts = self._registered("stack", "transforms"), self._shifts("stack")
        found = stack(
            self.source,
            pairs,
            shifts,
            self.ledger,
            path=self._new("stacked.ome.zarr"),
            made=self._interpolated,
            keep_gaps=self.parameters.keep_gaps,
            settings=RegisterSettings(model=self.parameters.model, search_window=self.parameters.search_window),
        )
        return _whole("stacked", found)

    def _new(self, name: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / name

    def _registered(self, stage: str, what: str) -> Registration:
        if self._registration is None:
            raise BadInputError(f"{stage} goes by the {what} of `register`, which was not done")
        return self._registration

    def _stage_steps(self) -> ShiftTable:
        if self.steps is None:
            raise BadInputError(_NOWHERE)
        return self.steps

    def _shifts(self, stage: str) -> ShiftTable:
        """Return the steps by which sections are laid."""
        voxel = self.source.voxel_size_um
        if self.parameters.steps == "images":
            return measured_shifts(self._registered(stage, "steps"), voxel)
        known = self._stage_steps()
        return known if self._registration is None else with_verified_steps(known, self._registration, voxel)


def _whole(stream: str, found: Aligned) -> StageDone:
    return StageDone(found.result, (MadeVolume(stream, found.volume.path),))


def _attempts(audited: Mapping[str, Attempts]) -> dict[str, dict[str, Metric]]:
    return {
        slice_id: {
            "attempts": sum(len(attempts) for attempts in planes.values()),
            "rejected": sum(not one.accepted for attempts in planes.values() for one in attempts.values()),
        }
        for slice_id, planes in audited.items()
    }
