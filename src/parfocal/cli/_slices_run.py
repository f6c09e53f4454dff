"""`parfocal slices run`: the whole chain, from sections to volumes, ledger and report."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from parfocal.cli._slices_options import (
    ConsecutiveOption,
    CorrelationOption,
    DetectGalvoOption,
    ExcludeFirstOption,
    ExcludeOption,
    ExtraLinesOption,
    FinalOption,
    GapsOption,
    HeldOutOption,
    HighOption,
    ImprovementOption,
    JsonOption,
    LowOption,
    ManyValues,
    MaxRotationOption,
    MaxShiftOption,
    MaxTranslationOption,
    Method,
    MethodOption,
    MinQualityOption,
    Model,
    ModelOption,
    MultipleOption,
    OverlapOption,
    ReadCompatOption,
    SectionsArgument,
    ShiftsOption,
    SubPixelOption,
    TilesOption,
    TileStepOption,
    VoxelOption,
    leading_slices,
    min_quality_of,
    tile_fov,
    voxel_of,
)
from parfocal.cli._slices_tell import progress_of
from parfocal.report import SlicesStory, write_slices_report
from parfocal.slices import SliceLedger
from parfocal.slices.ledger import read_metrics
from parfocal.slices.sections import InterpolateSettings, RegisterSettings, RunSettings, run_sections


def add_commands(slices: typer.Typer) -> None:
    """Add the command of this module."""
    slices.command("run", cls=ManyValues)(run_command)


def run_command(
    sections: SectionsArgument,
    out: Annotated[Path, typer.Argument(help="Folder for everything; resumed when it is there.")],
    shifts: ShiftsOption = None,
    slice_config: Annotated[
        Path | None, typer.Option("--slice-config", "--slice_config", help="A ledger to begin with.")
    ] = None,
    generate_slice_config: Annotated[
        bool,
        typer.Option(
            "--generate-slice-config/--no-generate-slice-config",
            "--generate_slice_config/--no-generate_slice_config",
            help="Begin a ledger where none is given; else all are used.",
        ),
    ] = True,
    detect_galvo: DetectGalvoOption = False,
    galvo_confidence_threshold: Annotated[
        float,
        typer.Option("--galvo-confidence-threshold", "--galvo_confidence_threshold", help="From which to mend."),
    ] = 0.6,
    tiles_dir: TilesOption = None,
    n_extra: ExtraLinesOption = None,
    detect_rehoming: Annotated[
        bool,
        typer.Option(
            "--detect-rehoming/--no-detect-rehoming",
            "--detect_rehoming/--no-detect_rehoming",
            help="Mend the shifts.",
        ),
    ] = True,
    max_shift_mm: MaxShiftOption = 0.5,
    tile_fov_mm: TileStepOption = "",
    auto_assess_quality: Annotated[
        bool, typer.Option("--auto-assess-quality", "--auto_assess_quality", help="Score every section.")
    ] = False,
    min_quality: MinQualityOption = "0.3",
    exclude: ExcludeOption = None,
    exclude_first: ExcludeFirstOption = "auto",
    interpolate: Annotated[
        bool,
        typer.Option(
            "--interpolate-missing-slices/--no-interpolate-missing-slices",
            "--interpolate_missing_slices/--no-interpolate_missing_slices",
            help="Make missing sections.",
        ),
    ] = True,
    method: MethodOption = Method.zmorph,
    min_overlap_correlation: OverlapOption = 0.3,
    min_ncc_improvement: ImprovementOption = 0.05,
    min_final_ncc: FinalOption = 0.9,
    allow_multiple: MultipleOption = False,
    held_out: HeldOutOption = 3,
    model: ModelOption = Model.rigid,
    max_translation_px: MaxTranslationOption = 20.0,
    max_rotation_deg: MaxRotationOption = 5.0,
    confidence_high: HighOption = 0.6,
    confidence_low: LowOption = 0.3,
    z_corr_threshold: CorrelationOption = 0.4,
    consecutive_threshold: ConsecutiveOption = 3,
    sub_pixel: SubPixelOption = False,
    gaps: GapsOption = True,
    voxel_um: VoxelOption = None,
    compat: ReadCompatOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do the whole chain, from sections to volumes, slice_config_final.csv and the report; resumable."""
    how = RunSettings(
        generate_slice_config=generate_slice_config,
        detect_galvo=detect_galvo,
        galvo_confidence_threshold=galvo_confidence_threshold,
        tiles_dir=tiles_dir,
        n_extra=n_extra,
        detect_rehoming=detect_rehoming,
        max_shift_mm=max_shift_mm,
        tile_fov_mm=tile_fov(tile_fov_mm),
        auto_assess_quality=auto_assess_quality,
        min_quality=min_quality_of(min_quality),
        exclude=tuple(i.strip() for given in exclude or () for i in given.split(",") if i.strip()),
        exclude_first=leading_slices(exclude_first),
        interpolate_missing_slices=interpolate,
        allow_multiple=allow_multiple,
        n_held_out=held_out,
        z_corr_threshold=z_corr_threshold,
        consecutive_threshold=consecutive_threshold,
        sub_pixel=sub_pixel,
        keep_gaps=gaps,
        voxel_size_um=voxel_of(voxel_um),
        compat=None if compat is None else "linumpy",
        register=RegisterSettings(
            model=model.value,
            max_translation_px=max_translation_px,
            max_rotation_deg=max_rotation_deg,
            confidence_high=confidence_high,
            confidence_low=confidence_low,
        ),
        interpolate=InterpolateSettings(
            method=method.value,
            min_overlap_correlation=min_overlap_correlation,
            min_ncc_improvement=min_ncc_improvement,
            min_final_ncc=min_final_ncc,
        ),
    )
    with progress_of("run", None, as_json) as done:
        found = run_sections(
            sections, out, shifts, slice_config, how, progress=lambda stage, i: done(f"{stage} {i}".strip())
        )
    story = SlicesStory(
        SliceLedger.read(found.slice_config),
        read_metrics(found.metrics),
        found.messages,
        found.stacked,
        time.time(),
    )
    files = [found.slice_config, found.aligned, found.stacked, *write_slices_report(story, out / "report")]
    if as_json:
        told = {
            "done": found.done,
            "skipped": found.skipped,
            "messages": [list(one) for one in found.messages],
            "files": [str(path) for path in files],
        }
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    for stage, message in found.messages:
        typer.echo(f"{stage}: {message.removeprefix(f'{stage}: ')}")
    if found.skipped:
        typer.echo(f"done before: {', '.join(found.skipped)}")
    for path in files:
        typer.echo(f"written: {path}")
