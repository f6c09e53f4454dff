"""`parfocal slices assess`, `detect-rehoming` and `fix-galvo`: judge the sections, mend what the machine did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from parfocal.cli._slices_options import (
    Compat,
    ConfigInOption,
    ConfigOutOption,
    ExcludeFirstOption,
    GalvoThresholdOption,
    JsonOption,
    LenientOption,
    MaxShiftOption,
    MinQualityOption,
    ReadCompatOption,
    ReplaceOption,
    TileStepOption,
    leading_slices,
    min_quality_of,
    tile_fov,
)
from parfocal.errors import BadInputError
from parfocal.slices import SliceLedger, StageResult, read_shifts, write_shifts
from parfocal.slices.ledger import read_metrics, write_metrics
from parfocal.slices.sections import (
    VERIFY_MIN_NCC,
    RolledSections,
    assess_quality,
    decide_galvo_fix,
    detect_rehoming,
    generate,
    open_sections,
    verify_by_image,
)

SourceArgument = Annotated[
    Path, typer.Argument(help="A folder of *z<digits>*.ome.zarr, or one z-stack.", show_default=False)
]
NumbersOption = Annotated[
    Path | None, typer.Option("--metrics", "--diagnostics", help="Folder for the raw numbers, one JSON a slice.")
]


def add_commands(slices: typer.Typer) -> None:
    """Add the commands of this module."""
    slices.command("assess")(assess_command)
    slices.command("detect-rehoming")(detect_rehoming_command)
    slices.command("fix-galvo")(fix_galvo_command)


def assess_command(
    source: SourceArgument,
    out: Annotated[Path, typer.Argument(help="The new slice_config.csv.", show_default=False)],
    min_quality: MinQualityOption = "0",
    exclude_first: ExcludeFirstOption = "auto",
    detect_calibration: Annotated[
        bool,
        typer.Option("--detect-calibration", "--detect_calibration", help="Look at thickness besides a number."),
    ] = False,
    calibration_thickness_ratio: Annotated[
        float,
        typer.Option(
            "--calibration-thickness-ratio", "--calibration_thickness_ratio", help="Thick, by the median."
        ),
    ] = 1.5,
    update_existing: Annotated[
        bool, typer.Option("--update-existing", "--update_existing", help="Go on from a slice_config.csv.")
    ] = False,
    existing_config: Annotated[
        Path | None, typer.Option("--existing-config", "--existing_config", help="Which. Default: OUT.")
    ] = None,
    sample_depth: Annotated[
        int, typer.Option("--sample-depth", "--sample_depth", help="Planes compared; 0 for all.")
    ] = 5,
    roi_size: Annotated[
        int, typer.Option("--roi-size", "--roi_size", help="Side of the middle square compared, px; 0 for all.")
    ] = 0,
    max_shift_px: Annotated[
        int, typer.Option("--max-shift-px", "--max_shift_px", help="Farthest off a neighbour; 0: not registered.")
    ] = 64,
    report_only: Annotated[
        bool, typer.Option("--report-only", "--report_only", help="Write no slice_config.csv.")
    ] = False,
    use_gpu: Annotated[
        bool | None,
        typer.Option("--use-gpu/--no-use-gpu", "--use_gpu/--no-use_gpu", help="Taken; the processor does it."),
    ] = None,
    metrics: NumbersOption = None,
    compat: Annotated[Compat | None, typer.Option(help="Reproduce linumpy's numbers, read its files.")] = None,
    lenient: LenientOption = False,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score every section by its neighbours: 0.5 SSIM + 0.3 edge + 0.2 variance."""
    sections = open_sections(source)
    original = None if compat is None else "linumpy"
    before = _existing(update_existing, existing_config, out, lenient, original)
    result = assess_quality(
        sections,
        min_quality=min_quality_of(min_quality),
        sample_depth=sample_depth,
        roi_size=roi_size,
        max_shift_px=max_shift_px,
        exclude_first=leading_slices(exclude_first),
        detect_calibration=detect_calibration,
        calibration_thickness_ratio=calibration_thickness_ratio,
        compat=original,
    )
    new = [sid for sid in sections.slice_ids if sid not in before.rows]
    after = (before.apply(generate(new, exclude_first=0)) if new else before).apply(result)
    after.filter_slices_to_use()
    messages = (*before.remarks, *result.messages)
    if use_gpu:
        messages = ("there is no GPU path: the processor does it", *messages)
    if not report_only:
        after.save(out, replace=replace)
    if metrics is not None:
        write_metrics(metrics, result)
    scores = {s.slice_id: s.value for s in result.stamps if s.column == "quality_score"}
    _tell(result, messages, {} if report_only else {"slice_config": out}, as_json, {"quality_score": scores})


def detect_rehoming_command(
    shifts: Annotated[Path, typer.Argument(help="A shifts_xy.csv.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The corrected shifts_xy.csv.", show_default=False)],
    slice_config_in: ConfigInOption = None,
    slice_config_out: ConfigOutOption = None,
    max_shift_mm: MaxShiftOption = 0.5,
    return_fraction: Annotated[
        float,
        typer.Option("--return-fraction", "--return_fraction", help="A glitch leads back to within this share."),
    ] = 0.4,
    tile_fov_mm: TileStepOption = "",
    tile_fov_tolerance: Annotated[
        float, typer.Option("--tile-fov-tolerance", "--tile_fov_tolerance", help="As a share of the step.")
    ] = 0.05,
    max_glitch_slices: Annotated[
        int, typer.Option("--max-glitch-slices", "--max_glitch_slices", help="Sections in a row of one glitch.")
    ] = 1,
    verify: Annotated[
        Path | None, typer.Option("--verify", help="Sections to ask where the stage is not reliable.")
    ] = None,
    min_ncc: Annotated[
        float, typer.Option("--min-ncc", "--min_ncc", help="Least correlation to believe an image.")
    ] = VERIFY_MIN_NCC,
    max_discrepancy_px: Annotated[
        float, typer.Option("--max-discrepancy-px", "--max_discrepancy_px", help="From the stage; 0 for any.")
    ] = 0.0,
    metrics: NumbersOption = None,
    compat: Annotated[Compat | None, typer.Option(help="Reproduce linumpy's numbers, read its files.")] = None,
    lenient: LenientOption = False,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take glitches and tile steps out of the shifts between sections; say which steps an image must tell."""
    if (slice_config_in is None) != (slice_config_out is None):
        raise BadInputError("detect-rehoming: --slice-config-in and --slice-config-out go together")
    original = None if compat is None else "linumpy"
    before = None
    if slice_config_in is not None:
        before = SliceLedger.read(slice_config_in, lenient=lenient, compat=original)
    _refuse_what_is_there([out, slice_config_out], replace)
    found = detect_rehoming(
        read_shifts(shifts),
        max_shift_mm=max_shift_mm,
        return_fraction=return_fraction,
        tile_fov_mm=tile_fov(tile_fov_mm),
        tile_fov_tolerance=tile_fov_tolerance,
        max_glitch_slices=max_glitch_slices,
        compat=original,
    )
    stages = [found.stage]
    if verify is not None:
        found = verify_by_image(
            found,
            open_sections(verify),
            min_ncc=min_ncc,
            max_discrepancy_px=max_discrepancy_px,
            max_shift_mm=max_shift_mm,
        )
        stages.append(found.stage)
    after = before
    unknown: list[str] = []
    if after is not None:
        # A slice that only the shifts know was never imaged: its step is mended, there is no row to stamp.
        unknown = [sid for sid in found.shifts.slice_ids if sid not in after.rows]
        for stage in stages:
            stamps = tuple(one for one in stage.stamps if one.slice_id in after.rows)
            after = after.apply(stamps, stage=stage.stage)
    write_shifts(out, found.shifts, replace=replace)
    written = {"shifts": out}
    if after is not None and slice_config_out is not None:
        after.save(slice_config_out, replace=replace)
        written["slice_config"] = slice_config_out
    if metrics is not None:
        for stage in stages:
            write_metrics(metrics, stage)
    steps = {moving: label for moving, label in zip(found.shifts.moving_id, found.labels) if label != "drift"}
    messages = (*(before.remarks if before is not None else ()), *(m for stage in stages for m in stage.messages))
    if unknown:
        messages = (*messages, f"in the shifts alone, not in the ledger: {', '.join(unknown)}")
    _tell(found.stage, messages, written, as_json, {"steps": steps, "tile_step_mm": found.tile_step_mm})


def fix_galvo_command(
    source: SourceArgument,
    out: Annotated[Path, typer.Argument(help="The new folder of sections.", show_default=False)],
    slice_config_in: Annotated[
        Path, typer.Option("--slice-config-in", "--slice_config_in", help="The ledger, with galvo_confidence.")
    ],
    slice_config_out: Annotated[
        Path, typer.Option("--slice-config-out", "--slice_config_out", help="Where it goes, stamped.")
    ],
    metrics: Annotated[
        Path, typer.Option("--metrics", "--diagnostics", help="Where `generate --metrics` stored the shifts.")
    ],
    galvo_threshold: GalvoThresholdOption = 0.6,
    tile_lines: Annotated[
        int | None, typer.Option("--tile-lines", "--tile_lines", help="Lines of one tile. Default: all are one.")
    ] = None,
    mode: Annotated[str, typer.Option(help="fix, or undo.")] = "fix",
    compat: ReadCompatOption = None,
    lenient: LenientOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring misplaced galvo returns to the end of their tiles, by the shifts that were stored."""
    if mode not in ("fix", "undo"):
        raise BadInputError(f"--mode {mode!r}: expected fix or undo")
    sections = open_sections(source)
    before = SliceLedger.read(slice_config_in, lenient=lenient, compat=None if compat is None else "linumpy")
    _refuse_what_is_there([out, slice_config_out], replace=False)
    fix = decide_galvo_fix(before.rows, read_metrics(metrics), threshold=galvo_threshold, undo=mode == "undo")
    missing = [sid for sid in fix.shifts_lines if sid not in sections.slice_ids]
    if missing:
        raise BadInputError(f"{source}: no section {', '.join(missing)}, which is to be rolled")
    after = before.apply(fix.stage)
    RolledSections(sections, fix.shifts_lines, tile_lines).write(out, sections.slice_ids)
    after.save(slice_config_out)
    write_metrics(metrics, fix.stage)
    written = {"sections": out, "slice_config": slice_config_out}
    messages = (*before.remarks, *fix.stage.messages)
    _tell(fix.stage, messages, written, as_json, {"shifts_lines": dict(fix.shifts_lines)})


def _existing(
    update: bool, existing: Path | None, out: Path, lenient: bool, compat: Literal["linumpy"] | None
) -> SliceLedger:
    if existing is not None and not update:
        raise BadInputError("assess: --existing-config goes with --update-existing")
    return SliceLedger.read(existing or out, lenient=lenient, compat=compat) if update else SliceLedger()


def _refuse_what_is_there(paths: list[Path | None], replace: bool) -> None:
    """Refuse before anything is computed or written."""
    for path in paths:
        if path is not None and path.exists() and not replace:
            raise BadInputError(f"{path}: is there already; a new file is written each time")


def _tell(
    result: StageResult, messages: tuple[str, ...], written: dict[str, Path], as_json: bool, more: dict[str, Any]
) -> None:
    if as_json:
        document = {name: str(path) for name, path in written.items()} | more | {"messages": messages}
        typer.echo(json.dumps({"stage": result.stage, **document}, ensure_ascii=False))
        return
    for message in messages:
        typer.echo(message)
    for sid, score in more.get("quality_score", {}).items():
        typer.echo(f"  {sid}  {'-' if score is None else f'{score:.3f}'}")
    for path in written.values():
        typer.echo(f"written: {path}")
