"""`parfocal slices register` and `interpolate`: what images say of the steps, and of what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parfocal.cli._slices_options import (
    Compat,
    ConfigInOption,
    ConfigOption,
    ConfigOutOption,
    FinalOption,
    ForegroundOption,
    HeldOutOption,
    HighOption,
    ImprovementOption,
    IterationsOption,
    JsonOption,
    LenientOption,
    LowOption,
    MaxRotationOption,
    MaxTranslationOption,
    Method,
    MethodOption,
    Model,
    ModelOption,
    MultipleOption,
    OverlapOption,
    ReadCompatOption,
    SectionsArgument,
    ShiftsOption,
    SlabOption,
    VoxelOption,
    WindowOption,
    voxel_of,
)
from parfocal.cli._slices_tell import finite, ledger_in, new_folder, progress_of, tell
from parfocal.errors import BadInputError
from parfocal.slices import SliceLedger, StageResult, read_shifts, write_shifts
from parfocal.slices.ledger import write_metrics
from parfocal.slices.sections import (
    InterpolateSettings,
    RegisterSettings,
    chosen_slices,
    interpolate_missing,
    measured_shifts,
    open_sections,
    positions_px,
    register,
    unreliable_slices,
    with_verified_steps,
    write_registration,
)


def add_commands(slices: typer.Typer) -> None:
    """Add the commands of this module."""
    slices.command("register")(register_command)
    slices.command("interpolate")(interpolate_command)


def register_command(
    sections: SectionsArgument,
    out: Annotated[Path, typer.Argument(help="The new folder.", show_default=False)],
    shifts: ShiftsOption = None,
    slice_config: ConfigOption = None,
    model: ModelOption = Model.rigid,
    overlap_search_window: WindowOption = 5,
    reference_slab_size: SlabOption = 3,
    max_translation_px: MaxTranslationOption = 20.0,
    max_rotation_deg: MaxRotationOption = 5.0,
    confidence_high: HighOption = 0.6,
    confidence_low: LowOption = 0.3,
    voxel_um: VoxelOption = None,
    compat: ReadCompatOption = None,
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
    source, before = open_sections(sections, voxel_of(voxel_um)), ledger_in(slice_config, compat)
    ids, _ = chosen_slices(source, before)
    known = None if shifts is None else read_shifts(shifts)
    at = {} if known is None else positions_px(known, ids, source.voxel_size_um)[1]
    rows = {} if before is None else before.rows
    doubted = unreliable_slices(before, known)
    made = {i for i, row in rows.items() if row.get("interpolated") is True}
    new_folder(out)
    with progress_of("register", len(ids) - 1, as_json) as done:
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
        | {name: finite(v) if isinstance(v, float) else v for name, v in p.metrics().items()}
        for p in found.pairs
    ]
    tell(found.result, written, as_json, pairs=told)


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
    compat: Annotated[
        Compat | None, typer.Option(help="Use linumpy's gates, and read its slice_config.csv.")
    ] = None,
    lenient: LenientOption = False,
    slice_config_out: ConfigOutOption = None,
    finalise: Annotated[
        bool, typer.Option("--finalise", help="Only merge --fragments into --slice-config-in.")
    ] = False,
    slice_config_in: ConfigInOption = None,
    fragments: Annotated[Path | None, typer.Option("--fragments", help="Folder of fragments.")] = None,
    voxel_um: VoxelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the sections that are missing from their neighbours, or say why not. Never made up."""
    original = None if compat is None else "linumpy"
    if finalise:
        if slice_config_in is None or slice_config_out is None or fragments is None:
            raise BadInputError("interpolate: --finalise needs --slice-config-in, --slice-config-out, --fragments")
        merged = SliceLedger.read(slice_config_in, lenient=lenient, compat=original).merge_fragments(fragments)
        merged.save(slice_config_out)
        tell(StageResult("interpolate"), [slice_config_out], as_json)
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
        compat=original,
    )
    before = SliceLedger.read(slice_config, lenient=lenient, compat=original)
    new_folder(out)
    target = slice_config_out or out / "slice_config.csv"
    with progress_of("interpolate", None, as_json) as done:
        found = interpolate_missing(
            open_sections(sections, voxel_of(voxel_um)),
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
    held = [{"slice_id": o.slice_id, "ssim": finite(o.ssim), "reason": o.reason} for o in found.held_out]
    tell(
        found.result,
        [target, out],
        as_json,
        made=found.made,
        refused=found.refused,
        held_out=held,
        expected_ssim=finite(found.expected_ssim),
    )
