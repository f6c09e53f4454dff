"""Each stage of the chain as files: a ledger in, a folder with the next ledger out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from parfocal.slices.ledger import (
    SliceLedger,
    StageResult,
)
from parfocal.slices.sections._align import align
from parfocal.slices.sections._chosen import chosen_slices, positions_px
from parfocal.slices.sections._clusters import exclude_noisy_clusters
from parfocal.slices.sections._folder import SectionFolder
from parfocal.slices.sections._galvo import GalvoReturn
from parfocal.slices.sections._generate import galvo_in_tiles, generate
from parfocal.slices.sections._missing import interpolate_missing
from parfocal.slices.sections._quality import assess_quality
from parfocal.slices.sections._register import register, unreliable_slices
from parfocal.slices.sections._registration_file import (
    measured_shifts,
    read_registration,
    with_verified_steps,
    write_registration,
)
from parfocal.slices.sections._rehoming import detect_rehoming
from parfocal.slices.sections._resume import Stages
from parfocal.slices.sections._run_settings import RunSettings
from parfocal.slices.sections._shifts import ShiftTable, read_shifts, write_shifts
from parfocal.slices.sections._source import SectionSource
from parfocal.slices.sections._stack import stack

_CONFIG, _SHIFTS, _PAIRS = "slice_config.csv", "shifts_xy.csv", "registration.json"
_NO_SECTION = "no section"

Progress = Callable[[str, str], None]


@dataclass(eq=False)
class StageFiles:
    """The stages, each a method from the ledger before it to the ledger after it."""

    source: SectionSource
    path: Path
    stages: Stages
    how: RunSettings
    progress: Progress | None
    results: list[StageResult] = field(default_factory=list[StageResult])

    def begin(self, shifts: Path | None, given: Path | None) -> Path:
        how = self.how

        def work(out: Path) -> StageResult:
            if given is not None:
                ledger = SliceLedger.read(given, compat=how.compat)
                ledger.save(out / _CONFIG)
                return StageResult("generate", (), {}, (f"begun with {given.name}", *ledger.remarks))
            ids = self.source.slice_ids
            if how.generate_slice_config:
                if shifts is not None:
                    ids = tuple(dict.fromkeys((*ids, *read_shifts(shifts).slice_ids)))
                there = set(self.source.slice_ids)
                # what the shifts have and nobody imaged is missing: not to be used, and to be interpolated
                result = generate(
                    ids,
                    exclude={
                        **dict.fromkeys(how.exclude, "excluded on request"),
                        **dict.fromkeys((i for i in ids if i not in there), _NO_SECTION),
                    },
                    exclude_first=how.exclude_first,
                    depth_planes={i: self.source.shape(i)[0] for i in self.source.slice_ids},
                    galvo=self._galvo(),
                    galvo_threshold=how.galvo_confidence_threshold,
                )
            else:
                result = generate(ids, exclude=how.exclude, exclude_first=0)
            SliceLedger().apply(result).save(out / _CONFIG)
            return replace(result, messages=(*result.messages, *_galvo_words(result)))

        told = {
            "generate": how.generate_slice_config,
            "exclude": how.exclude,
            "exclude_first": how.exclude_first,
            "galvo": [how.detect_galvo, how.galvo_confidence_threshold, how.n_extra],
        }
        inputs = {"shifts": shifts, "slice_config": given, "tiles": how.tiles_dir if how.detect_galvo else None}
        return self._stage("generate", told, inputs, work) / _CONFIG

    def assess(self, ledger: Path) -> Path:
        def work(out: Path) -> StageResult:
            result = assess_quality(
                self.source, min_quality=self.how.min_quality, exclude_first=self.how.exclude_first
            )
            SliceLedger.read(ledger).apply(result).save(out / _CONFIG)
            return result

        told = {"min_quality": self.how.min_quality, "exclude_first": self.how.exclude_first}
        return self._stage("assess", told, {"ledger": ledger}, work) / _CONFIG

    def rehoming(self, ledger: Path, shifts: Path) -> tuple[Path, Path]:
        how = self.how

        def work(out: Path) -> StageResult:
            found = detect_rehoming(
                read_shifts(shifts), max_shift_mm=how.max_shift_mm, tile_fov_mm=how.tile_fov_mm
            )
            write_shifts(out / _SHIFTS, found.shifts)
            known = SliceLedger.read(ledger)
            stamps = tuple(one for one in found.stage.stamps if one.slice_id in known.rows)
            known.apply(stamps, stage=found.stage.stage).save(out / _CONFIG)
            return found.stage

        told = {"max_shift_mm": how.max_shift_mm, "tile_fov_mm": how.tile_fov_mm}
        folder = self._stage("detect-rehoming", told, {"ledger": ledger, "shifts": shifts}, work, pixels=False)
        return folder / _CONFIG, folder / _SHIFTS

    def registered(self, ledger: Path, shifts: Path | None) -> tuple[Path, Path, Path]:
        how = self.how

        def work(out: Path) -> StageResult:
            before = SliceLedger.read(ledger)
            ids, _ = chosen_slices(self.source, before)
            voxel = self.source.voxel_size_um
            known = None if shifts is None else read_shifts(shifts)
            at = {} if known is None else positions_px(known, ids, voxel)[1]
            found = register(
                self.source,
                ids,
                positions_px=at,
                unreliable=unreliable_slices(before, known),
                settings=how.register,
                progress=self._told("register"),
            )
            write_registration(out / _PAIRS, found)
            if known is None:
                steps = measured_shifts(found, voxel)
            else:
                steps = with_verified_steps(known, found, voxel)
            write_shifts(out / _SHIFTS, _with_pixels(steps, voxel))
            before.apply(found.result).save(out / _CONFIG)
            return found.result

        inputs = {"ledger": ledger, "shifts": shifts}
        folder = self._stage("register", asdict(how.register), inputs, work)
        return folder / _CONFIG, folder / _PAIRS, folder / _SHIFTS

    def interpolated(self, ledger: Path, shifts: Path) -> tuple[Path, Path]:
        how = self.how

        def work(out: Path) -> StageResult:
            before = SliceLedger.read(ledger)
            done = interpolate_missing(
                self.source,
                before,
                read_shifts(shifts),
                folder=out / "volumes",
                settings=how.interpolate,
                allow_multiple=how.allow_multiple,
                n_held_out=how.n_held_out,
                progress=self._told("interpolate"),
            )
            before.apply(done.result).save(out / _CONFIG)
            return done.result

        told = {**asdict(how.interpolate), "multiple": how.allow_multiple, "held_out": how.n_held_out}
        folder = self._stage("interpolate", told, {"ledger": ledger, "shifts": shifts}, work)
        return folder / _CONFIG, folder / "volumes"

    def excluded(self, ledger: Path, pairs: Path) -> Path:
        how = self.how

        def work(out: Path) -> StageResult:
            before = SliceLedger.read(ledger)
            result = exclude_noisy_clusters(
                read_registration(pairs).pairs,
                before.rows,
                enter=how.z_corr_threshold,
                leave=max(how.z_corr_threshold, how.z_corr_leave),
                min_run=how.consecutive_threshold,
            )
            before.apply(result).save(out / _CONFIG)
            return result

        told = {"enter": how.z_corr_threshold, "leave": how.z_corr_leave, "run": how.consecutive_threshold}
        folder = self._stage("exclude", told, {"ledger": ledger, "pairs": pairs}, work, pixels=False)
        return folder / _CONFIG

    def aligned(self, ledger: Path, shifts: Path, made: Path | None) -> Path:
        how = self.how

        def work(out: Path) -> StageResult:
            return align(
                self.source,
                read_shifts(shifts),
                SliceLedger.read(ledger),
                path=out / "aligned.ome.zarr",
                made=_made(made),
                sub_pixel=how.sub_pixel,
                keep_gaps=how.keep_gaps,
                progress=self._told("align"),
            ).result

        told = {"sub_pixel": how.sub_pixel, "keep_gaps": how.keep_gaps}
        inputs = {"ledger": ledger, "shifts": shifts, "made": made}
        return self._stage("align", told, inputs, work) / "aligned.ome.zarr"

    def stacked(self, ledger: Path, pairs: Path, shifts: Path, made: Path | None) -> Path:
        how = self.how

        def work(out: Path) -> StageResult:
            return stack(
                self.source,
                read_registration(pairs),
                read_shifts(shifts),
                SliceLedger.read(ledger),
                path=out / "stack.ome.zarr",
                made=_made(made),
                keep_gaps=how.keep_gaps,
                settings=how.register,
                progress=self._told("stack"),
            ).result

        told = {"keep_gaps": how.keep_gaps, **asdict(how.register)}
        inputs = {"ledger": ledger, "pairs": pairs, "shifts": shifts, "made": made}
        return self._stage("stack", told, inputs, work) / "stack.ome.zarr"

    def _stage(
        self,
        name: str,
        told: dict[str, Any],
        inputs: dict[str, Path | None],
        work: Callable[[Path], StageResult],
        *,
        pixels: bool = True,
    ) -> Path:
        given = {key: path for key, path in inputs.items() if path is not None}
        if pixels:
            given["sections"] = self.path
            told = {**told, "voxel_size_um": self.source.voxel_size_um}
        if self.progress is not None:
            self.progress(name, "")
        folder, result = self.stages.run(name, told, given, work)
        self.results.append(result)
        return folder

    def _told(self, stage: str) -> Callable[[str], None] | None:
        return None if self.progress is None else partial(self.progress, stage)

    def _galvo(self) -> dict[str, GalvoReturn] | None:
        if not self.how.detect_galvo or self.how.tiles_dir is None:
            return None
        return galvo_in_tiles(self.how.tiles_dir, self.source.slice_ids, self.how.n_extra)


def _galvo_words(result: StageResult) -> list[str]:
    """Say that nothing is rolled: sections may have been built with the fix, and must not be rolled twice."""
    to_fix = ", ".join(one.slice_id for one in result.stamps if one.column == "galvo_fix" and one.value is True)
    if not to_fix:
        return []
    return [
        f"the galvo's way back is misplaced in the raw tiles of {to_fix}; sections are taken as they are: roll "
        "those that were built without the fix by `parfocal slices fix-galvo` first"
    ]


def _made(folder: Path | None) -> SectionSource | None:
    """Return the sections that were interpolated; None where there is none."""
    if folder is None or not any(folder.glob("*.ome.zarr")):
        return None
    return SectionFolder(folder)


def _with_pixels(shifts: ShiftTable, voxel_size_um: tuple[float, float, float]) -> ShiftTable:
    if shifts.dx_px is not None and shifts.dy_px is not None:
        return shifts
    _, y_um, x_um = voxel_size_um
    return ShiftTable(
        shifts.fixed_id,
        shifts.moving_id,
        shifts.dx_mm,
        shifts.dy_mm,
        1e3 * shifts.dx_mm / x_um,
        1e3 * shifts.dy_mm / y_um,
        shifts.reliable,
    )
