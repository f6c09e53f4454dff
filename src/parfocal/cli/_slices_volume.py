"""`parfocal slices align` and `stack`: sections into one volume."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from parfocal.cli._slices_options import (
    ConfigOption,
    GapsOption,
    JsonOption,
    MadeOption,
    MetricsOption,
    ReadCompatOption,
    ReplaceOption,
    ReportOption,
    SectionsArgument,
    ShiftsArgument,
    SubPixelOption,
    VoxelOption,
    voxel_of,
)
from parfocal.cli._slices_tell import ledger_in, made_in, progress_of, tell
from parfocal.report import SlicesStory, write_slices_report
from parfocal.slices import SectionSource, SliceLedger, read_shifts
from parfocal.slices.ledger import read_metrics, write_metrics
from parfocal.slices.sections import Aligned, align, open_sections, read_registration, stack

VolumeArgument = Annotated[Path, typer.Argument(help="The new volume, NAME.ome.zarr.", show_default=False)]


def add_commands(slices: typer.Typer) -> None:
    """Add the commands of this module."""
    slices.command("align")(align_command)
    slices.command("stack")(stack_command)


def align_command(
    sections: SectionsArgument,
    shifts: ShiftsArgument,
    out: VolumeArgument,
    slice_config: ConfigOption = None,
    interpolated: MadeOption = None,
    sub_pixel: SubPixelOption = False,
    gaps: GapsOption = True,
    metrics: MetricsOption = None,
    report: ReportOption = None,
    voxel_um: VoxelOption = None,
    compat: ReadCompatOption = None,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Lay the sections into one volume, each where the shifts say, by its id."""
    source, ledger = open_sections(sections, voxel_of(voxel_um)), ledger_in(slice_config, compat)
    with progress_of("align", None, as_json) as done:
        found = align(
            source,
            read_shifts(shifts),
            ledger,
            path=out,
            made=made_in(interpolated),
            sub_pixel=sub_pixel,
            keep_gaps=gaps,
            overwrite=replace,
            progress=done,
        )
    _finish(found, source, ledger, metrics, report, as_json)


def stack_command(
    sections: SectionsArgument,
    shifts: ShiftsArgument,
    out: VolumeArgument,
    registration: Annotated[
        Path, typer.Option("--registration", help="registration.json, or the folder that `register` wrote.")
    ],
    slice_config: ConfigOption = None,
    interpolated: MadeOption = None,
    gaps: GapsOption = True,
    metrics: MetricsOption = None,
    report: ReportOption = None,
    voxel_um: VoxelOption = None,
    compat: ReadCompatOption = None,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Lay the sections into one volume, each corrected by its image; skipped ones by the shifts alone."""
    source, ledger = open_sections(sections, voxel_of(voxel_um)), ledger_in(slice_config, compat)
    pairs = registration / "registration.json" if registration.is_dir() else registration
    with progress_of("stack", None, as_json) as done:
        found = stack(
            source,
            read_registration(pairs),
            read_shifts(shifts),
            ledger,
            path=out,
            made=made_in(interpolated),
            keep_gaps=gaps,
            overwrite=replace,
            progress=done,
        )
    _finish(found, source, ledger, metrics, report, as_json)


def _finish(
    found: Aligned,
    source: SectionSource,
    ledger: SliceLedger | None,
    metrics: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Write what was asked for beside a volume, and say so."""
    written = [found.volume.path]
    if metrics is not None:
        write_metrics(metrics, found.result)
        written.append(metrics)
    if report is not None:
        numbers = {i: {found.result.stage: of} for i, of in found.result.metrics.items()}
        if metrics is not None:
            numbers = read_metrics(metrics)
        said = [(found.result.stage, message) for message in found.result.messages]
        story = SlicesStory(ledger or SliceLedger(), numbers, said, found.volume.path, time.time())
        written += write_slices_report(story, report)
    tell(
        found.result,
        written,
        as_json,
        shape=found.volume.shape,
        voxel_size_um=source.voxel_size_um,
        slices=found.volume.table(),
    )
