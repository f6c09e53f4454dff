"""`parfocal slices register`, `interpolate`, `align`, `stack` and `run`: from sections to a volume."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from parfocal.cli._slices_options import Compat, JsonOption, ReplaceOption, leading_slices, tile_fov
from parfocal.errors import BadInputError
from parfocal.report import SlicesStory, write_slices_report
from parfocal.slices import SliceLedger, StageResult, read_shifts, write_shifts
from parfocal.slices.ledger import read_metrics, write_metrics
from parfocal.slices.sections import (
    Aligned,
    InterpolateSettings,
    RegisterSettings,
    RunSettings,
    SectionFolder,
    SectionSource,
    align,
    chosen_slices,
    interpolate_missing,
    measured_shifts,
    open_sections,
    positions_px,
    read_registration,
    register,
    run_sections,
    stack,
    unreliable_slices,
    with_verified_steps,
    write_registration,
)


class Model(StrEnum):
    """What a pairwise transform may be."""

    rigid = "rigid"
    affine = "affine"
    translation = "translation"


class Method(StrEnum):
    """How a missing section is made."""

    zmorph = "zmorph"
    weighted = "weighted"
    average = "average"


SectionsArgument = Annotated[
    Path, typer.Argument(help="Folder of *z<digits>*.ome.zarr or TIFF sections, or a z-stack.", show_default=False)
]
ShiftsArgument = Annotated[Path, typer.Argument(help="A shifts_xy.csv.", show_default=False)]
ShiftsOption = Annotated[Path | None, typer.Option("--shifts", help="A shifts_xy.csv.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--slice-config", "--slice_config", help="Ledger: who is used. Default: all.")
]
VoxelOption = Annotated[
    str | None, typer.Option("--voxel-um", help="Voxel size z,y,x, um, where the files do not say.")
]
MadeOption = Annotated[Path | None, typer.Option("--interpolated", help="Folder that `interpolate` wrote.")]
GapsOption = Annotated[bool, typer.Option("--gaps/--no-gaps", help="Keep the room of missing sections along z.")]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Folder for the report, HTML and JSON.")]
WindowOption = Annotated[
    int,
    typer.Option("--overlap-search-window", "--overlap_search_window", min=1, help="Planes sought at each cut."),
]
SlabOption = Annotated[
    int, typer.Option("--reference-slab-size", "--reference_slab_size", min=1, help="Planes averaged.")
]
MaxTranslationOption = Annotated[
    float, typer.Option("--max-translation-px", "--max_translation_px", help="Beyond it, no confidence is added.")
]
MaxRotationOption = Annotated[
    float, typer.Option("--max-rotation-deg", "--max_rotation_deg", help="Beyond it, no confidence is added.")
]
HighOption = Annotated[
    float, typer.Option("--confidence-high", "--confidence_high", help="From here, the whole transform is used.")
]
LowOption = Annotated[
    float, typer.Option("--confidence-low", "--confidence_low", help="From here, its rotation alone.")
]
MethodOption = Annotated[Method, typer.Option("--method", help="By registration, or a blend without any.")]
OverlapOption = Annotated[
    float,
    typer.Option("--min-overlap-correlation", "--min_overlap_correlation", help="Gate before registration."),
]
ForegroundOption = Annotated[
    float,
    typer.Option("--min-foreground-fraction", "--min_foreground_fraction", help="Of a plane that counts."),
]
ImprovementOption = Annotated[
    float, typer.Option("--min-ncc-improvement", "--min_ncc_improvement", help="Gate after registration.")
]
FinalOption = Annotated[
    float, typer.Option("--min-final-ncc", "--min_final_ncc", help="Or taken when as alike as this.")
]
IterationsOption = Annotated[
    int, typer.Option("--max-iterations", "--max_iterations", min=1, help="Of the registration, at each level.")
]
MultipleOption = Annotated[
    bool, typer.Option("--allow-multiple", "--allow_multiple", help="Make several missing in a row too.")
]
HeldOutOption = Annotated[
    int, typer.Option("--held-out", "--held_out", min=0, help="Sections there to predict, as a check.")
]
SubPixelOption = Annotated[
    bool, typer.Option("--sub-pixel", "--sub_pixel", help="Resample for shifts between pixels.")
]


def add_commands(slices: typer.Typer) -> None:
    """Add the commands of this module."""
    slices.command("register")(register_command)
    slices.command("interpolate")(interpolate_command)
    slices.command("align")(align_command)
    slices.command("stack")(stack_command)
    slices.command("run")(run_command)


def register_command(
    sections: SectionsArgument,
    out: Annotated[Path, typer.Argument(help="The new folder.", show_default=False)],
    shifts: ShiftsOption = None,
    slice_config: ConfigOption = None,
    model: Annotated[Model, typer.Option(help="What a transform may be.")] = Model.rigid,
    overlap_search_window: WindowOption = 5,
    reference_slab_size: SlabOption = 3,
    max_translation_px: MaxTranslationOption = 20.0,
    max_rotation_deg: MaxRotationOption = 5.0,
    confidence_high: HighOption = 0.6,
    confidence_low: LowOption = 0.3,
    voxel_um: VoxelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register each section to the one before it: registration.json, shifts, one JSON a slice for `exclude`."""
    how = RegisterSettings(
        model=model.value,
        search_window=overlap_search_window,
        slab_planes=reference_slab_size,
        max_translation_px=max_translation_px,
        max_rotation_deg=max_rotation_deg,
        confidence_high=confidence_high,
        confidence_low=confidence_low,
    )
    source, before = open_sections(sections, _voxel(voxel_um)), _ledger(slice_config)
    ids, _ = chosen_slices(source, before)
    known = None if shifts is None else read_shifts(shifts)
    at = {} if known is None else positions_px(known, ids, source.voxel_size_um)[1]
    rows = {} if before is None else before.rows
    doubted = unreliable_slices(before, known)
    made = {i for i, row in rows.items() if row.get("interpolated") is True}
    _new_folder(out)
    with _progress("register", len(ids) - 1, as_json) as done:
        found = register(
            source, ids, positions_px=at, interpolated=made, unreliable=doubted, settings=how, progress=done
        )
    steps = measured_shifts(found, source.voxel_size_um)
    if known is not None:
        steps = with_verified_steps(known, found, source.voxel_size_um)
    write_registration(out / "registration.json", found)
    write_shifts(out / "shifts_xy.csv", steps)
    write_metrics(out / "metrics", found.result)
    written = [out / "registration.json", out / "shifts_xy.csv", out / "metrics"]
    if before is not None:
        written.append(before.apply(found.result).save(out / "slice_config.csv"))
    told = [
        {"moving_id": p.moving_id}
        | {name: _finite(v) if isinstance(v, float) else v for name, v in p.metrics().items()}
        for p in found.pairs
    ]
    _tell(found.result, written, as_json, pairs=told)


def interpolate_command(
    sections: Annotated[
        Path | None, typer.Argument(help="Folder of sections; none with --finalise.", show_default=False)
    ] = None,
    slice_config: Annotated[
        Path | None,
        typer.Argument(help="Ledger: use = false asks for a slice to be made.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Argument(help="Folder for volumes, fragments, numbers.", show_default=False)
    ] = None,
    shifts: ShiftsOption = None,
    method: MethodOption = Method.zmorph,
    overlap_search_window: WindowOption = 5,
    min_overlap_correlation: OverlapOption = 0.3,
    reference_slab_size: SlabOption = 3,
    min_foreground_fraction: ForegroundOption = 0.1,
    min_ncc_improvement: ImprovementOption = 0.05,
    min_final_ncc: FinalOption = 0.9,
    max_iterations: IterationsOption = 50,
    allow_multiple: MultipleOption = False,
    held_out: HeldOutOption = 3,
    compat: Annotated[Compat | None, typer.Option(help="Use linumpy's gates.")] = None,
    slice_config_out: Annotated[
        Path | None,
        typer.Option(
            "--slice-config-out", "--slice_config_out", help="New ledger. Default: slice_config.csv in OUT."
        ),
    ] = None,
    finalise: Annotated[
        bool, typer.Option("--finalise", help="Only merge --fragments into --slice-config-in.")
    ] = False,
    slice_config_in: Annotated[
        Path | None, typer.Option("--slice-config-in", "--slice_config_in", help="Ledger for --finalise.")
    ] = None,
    fragments: Annotated[Path | None, typer.Option("--fragments", help="Folder of fragments.")] = None,
    voxel_um: VoxelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the sections that are missing from their neighbours, or say why not. Never made up."""
    if finalise:
        if slice_config_in is None or slice_config_out is None or fragments is None:
            raise BadInputError("interpolate: --finalise needs --slice-config-in, --slice-config-out, --fragments")
        merged = SliceLedger.read(slice_config_in).merge_fragments(fragments)
        merged.save(slice_config_out)
        _tell(StageResult("interpolate"), [slice_config_out], as_json)
        return
    if sections is None or slice_config is None or out is None:
        raise BadInputError("interpolate: SECTIONS, SLICE_CONFIG and OUT were expected (or --finalise)")
    how = InterpolateSettings(
        method=method.value,
        overlap_search_window=overlap_search_window,
        min_overlap_correlation=min_overlap_correlation,
        reference_slab_size=reference_slab_size,
        min_foreground_fraction=min_foreground_fraction,
        min_ncc_improvement=min_ncc_improvement,
        min_final_ncc=min_final_ncc,
        max_iterations=max_iterations,
        compat=None if compat is None else "linumpy",
    )
    before = SliceLedger.read(slice_config)
    _new_folder(out)
    target = slice_config_out or out / "slice_config.csv"
    with _progress("interpolate", None, as_json) as done:
        found = interpolate_missing(
            open_sections(sections, _voxel(voxel_um)),
            before,
            None if shifts is None else read_shifts(shifts),
            folder=out,
            settings=how,
            allow_multiple=allow_multiple,
            n_held_out=held_out,
            progress=done,
        )
    write_metrics(out / "metrics", found.result)
    before.apply(found.result).save(target)
    held = [{"slice_id": o.slice_id, "ssim": _finite(o.ssim), "reason": o.reason} for o in found.held_out]
    _tell(
        found.result,
        [target, out],
        as_json,
        made=found.made,
        refused=found.refused,
        held_out=held,
        expected_ssim=_finite(found.expected_ssim),
    )


def align_command(
    sections: SectionsArgument,
    shifts: ShiftsArgument,
    out: Annotated[Path, typer.Argument(help="The new volume, NAME.ome.zarr.", show_default=False)],
    slice_config: ConfigOption = None,
    interpolated: MadeOption = None,
    sub_pixel: SubPixelOption = False,
    gaps: GapsOption = True,
    metrics: Annotated[Path | None, typer.Option(help="Folder for the raw numbers, one JSON a slice.")] = None,
    report: ReportOption = None,
    voxel_um: VoxelOption = None,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Lay the sections into one volume, each where the shifts say, by its id."""
    source, ledger = open_sections(sections, _voxel(voxel_um)), _ledger(slice_config)
    with _progress("align", None, as_json) as done:
        found = align(
            source,
            read_shifts(shifts),
            ledger,
            path=out,
            made=_made(interpolated),
            sub_pixel=sub_pixel,
            keep_gaps=gaps,
            overwrite=replace,
            progress=done,
        )
    _finish(found, source, ledger, metrics, report, as_json)


def stack_command(
    sections: SectionsArgument,
    shifts: ShiftsArgument,
    out: Annotated[Path, typer.Argument(help="The new volume, NAME.ome.zarr.", show_default=False)],
    registration: Annotated[
        Path, typer.Option("--registration", help="registration.json, or the folder that `register` wrote.")
    ],
    slice_config: ConfigOption = None,
    interpolated: MadeOption = None,
    gaps: GapsOption = True,
    metrics: Annotated[Path | None, typer.Option(help="Folder for the raw numbers, one JSON a slice.")] = None,
    report: ReportOption = None,
    voxel_um: VoxelOption = None,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Lay the sections into one volume, each corrected by its image; skipped ones by the shifts alone."""
    source, ledger = open_sections(sections, _voxel(voxel_um)), _ledger(slice_config)
    pairs = registration / "registration.json" if registration.is_dir() else registration
    with _progress("stack", None, as_json) as done:
        found = stack(
            source,
            read_registration(pairs),
            read_shifts(shifts),
            ledger,
            path=out,
            made=_made(interpolated),
            keep_gaps=gaps,
            overwrite=replace,
            progress=done,
        )
    _finish(found, source, ledger, metrics, report, as_json)


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
    detect_galvo: Annotated[
        bool, typer.Option("--detect-galvo", "--detect_galvo", help="Look for a misplaced galvo return.")
    ] = False,
    galvo_confidence_threshold: Annotated[
        float,
        typer.Option("--galvo-confidence-threshold", "--galvo_confidence_threshold", help="From which to mend."),
    ] = 0.6,
    tiles_dir: Annotated[
        Path | None, typer.Option("--tiles-dir", "--tiles_dir", help="Raw tiles for --detect-galvo.")
    ] = None,
    n_extra: Annotated[
        int | None, typer.Option("--n-extra", "--n_extra", help="Lines of the galvo's way back.")
    ] = None,
    detect_rehoming: Annotated[
        bool,
        typer.Option(
            "--detect-rehoming/--no-detect-rehoming",
            "--detect_rehoming/--no-detect_rehoming",
            help="Mend the shifts.",
        ),
    ] = True,
    max_shift_mm: Annotated[
        float, typer.Option("--max-shift-mm", "--max_shift_mm", help="Longest step that is not doubted.")
    ] = 0.5,
    tile_fov_mm: Annotated[
        str | None, typer.Option("--tile-fov-mm", "--tile_fov_mm", help="Tile step to take out, mm, x,y or auto.")
    ] = None,
    auto_assess_quality: Annotated[
        bool, typer.Option("--auto-assess-quality", "--auto_assess_quality", help="Score every section.")
    ] = False,
    min_quality: Annotated[
        float, typer.Option("--min-quality", "--min_quality", help="Below it, a section is left out.")
    ] = 0.3,
    exclude: Annotated[list[str] | None, typer.Option("--exclude", help="Slices not to use: 2,5.")] = None,
    exclude_first: Annotated[
        str, typer.Option("--exclude-first", "--exclude_first", help="How many, or auto.")
    ] = "auto",
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
    model: Annotated[Model, typer.Option(help="What a pairwise transform may be.")] = Model.rigid,
    max_translation_px: MaxTranslationOption = 20.0,
    max_rotation_deg: MaxRotationOption = 5.0,
    confidence_high: HighOption = 0.6,
    confidence_low: LowOption = 0.3,
    z_corr_threshold: Annotated[
        float, typer.Option("--z-corr-threshold", "--z_corr_threshold", help="A noisy cluster begins below it.")
    ] = 0.4,
    consecutive_threshold: Annotated[
        int,
        typer.Option("--consecutive-threshold", "--consecutive_threshold", min=1, help="Fewest of a cluster."),
    ] = 3,
    sub_pixel: SubPixelOption = False,
    gaps: GapsOption = True,
    voxel_um: VoxelOption = None,
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
        tile_fov_mm=tile_fov(tile_fov_mm or ""),
        auto_assess_quality=auto_assess_quality,
        min_quality=min_quality,
        exclude=tuple(i.strip() for given in exclude or () for i in given.split(",") if i.strip()),
        exclude_first=leading_slices(exclude_first),
        interpolate_missing_slices=interpolate,
        allow_multiple=allow_multiple,
        n_held_out=held_out,
        z_corr_threshold=z_corr_threshold,
        consecutive_threshold=consecutive_threshold,
        sub_pixel=sub_pixel,
        keep_gaps=gaps,
        voxel_size_um=_voxel(voxel_um),
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
    with _progress("run", None, as_json) as done:
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
    _tell(
        found.result,
        written,
        as_json,
        shape=found.volume.shape,
        voxel_size_um=source.voxel_size_um,
        slices=found.volume.table(),
    )


def _tell(result: StageResult, written: Sequence[Path], as_json: bool, **more: Any) -> None:
    if as_json:
        told = {"stage": result.stage, **more, "messages": result.messages, "files": [str(p) for p in written]}
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    for message in result.messages:
        typer.echo(message)
    for path in written:
        typer.echo(f"written: {path}")


@contextmanager
def _progress(what: str, total: int | None, quiet: bool) -> Generator[Callable[[str], None], None, None]:
    """Show how far a stage is, on stderr; hand out what to call with each id."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)

        def done(slice_id: str) -> None:
            bar.update(task, advance=1, description=f"{what} {slice_id}")

        yield done


def _ledger(path: Path | None) -> SliceLedger | None:
    return None if path is None else SliceLedger.read(path)


def _made(folder: Path | None) -> SectionSource | None:
    """Return the sections that were interpolated; a folder in which all were refused holds none."""
    if folder is None:
        return None
    if not folder.is_dir():
        raise BadInputError(f"{folder}: no such folder of interpolated sections")
    return SectionFolder(folder) if any(folder.glob("*.ome.zarr")) else None


def _new_folder(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BadInputError(f"{path}: is there already; name a new folder")
    path.mkdir(parents=True, exist_ok=True)


def _voxel(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        z, y, x = (float(part) for part in text.split(","))
    except ValueError:
        raise BadInputError(f"--voxel-um {text}: three numbers z,y,x were expected, um") from None
    if not all(0 < v < float("inf") for v in (z, y, x)):
        raise BadInputError(f"--voxel-um {text}: three positive numbers were expected")
    return z, y, x


def _finite(value: float) -> float | None:
    """Return a number that JSON has, null for any other."""
    return float(value) if value == value and abs(value) != float("inf") else None
