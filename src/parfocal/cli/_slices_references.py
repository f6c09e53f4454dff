"""`parfocal slices calibrate`: rank metrics and thresholds by frames that a person has labelled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from parfocal.callbacks import emit_reference_calibration
from parfocal.catalog import CatalogWriter, open_catalog
from parfocal.cli._catalog import DataOption, JsonOption
from parfocal.errors import BadInputError, CatalogError
from parfocal.report import references_report, write_references_report
from parfocal.slices.references import (
    LabelledStack,
    ReferenceCalibration,
    calibrate_references,
    labelled_images,
    labelled_nd2,
    locate,
    map_to_nd2,
    read_gallery,
    read_labelled_folder,
    read_metadata,
    read_series_map,
    save_thresholds,
)

_DRAIN_S = 60.0


def add_commands(slices: typer.Typer) -> None:
    """Add the command of this module."""
    slices.command("calibrate")(calibrate_command)


def calibrate_command(
    gallery: Annotated[
        Path,
        typer.Argument(help="A gallery (.md), or a folder with folders bad, okay and great of stacks or images."),
    ],
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder from which the gallery's paths start.")
    ] = None,
    nd2: Annotated[
        Path | None, typer.Option("--nd2", help="An ND2 file or a folder of them, with the true z-stacks.")
    ] = None,
    metadata: Annotated[
        list[Path] | None,
        typer.Option("--metadata", help="CSV with well, time_int, nd2_series_num; may be given more than once."),
    ] = None,
    plate: Annotated[
        Path | None,
        typer.Option("--plate", help="Workbook with the sheet series_number_map, or that grid as CSV."),
    ] = None,
    channel: Annotated[
        int | None, typer.Option("--channel", min=0, help="Channel of the ND2. Default: as images are named.")
    ] = None,
    axes: Annotated[
        str | None, typer.Option("--axes", help="What the axes of files in a folder are, such as ZYX.")
    ] = None,
    metric: Annotated[str, typer.Option("--metric", help="Go by this metric, whichever ranks first.")] = "",
    confidence: Annotated[float, typer.Option("--confidence", help="Of all intervals.")] = 0.95,
    samples: Annotated[int, typer.Option("--samples", help="Bootstrap samples.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap samples.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the thresholds to this JSON file, for `slices select`.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write an HTML report.")] = None,
    sample: Annotated[str, typer.Option("--sample", help="Name of the sample, to find the run by.")] = "",
    keep: Annotated[bool, typer.Option("--catalog/--no-catalog", help="Keep the numbers as a run.")] = True,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank focus and motion metrics, their thresholds and selection rules by labelled references."""
    console = Console(stderr=as_json)
    sources = _Sources(images, nd2, tuple(metadata or ()), plate, channel, axes)
    for path in (out, report):
        if path is not None and not path.absolute().parent.is_dir():
            raise BadInputError(f"{path}: cannot be written, there is no folder {path.parent}")
    stacks, warnings = sources.stacks(gallery)
    for warning in warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    with console.status("scoring") as status:

        def say(scored: Any) -> None:
            status.update(f"scored {scored.category}: {scored.name}")

        done = calibrate_references(
            stacks, metric=metric, confidence=confidence, n_bootstrap=samples, seed=seed, scored=say
        )
    uid = _kept(done, data, str(gallery), warnings, {"sample": sample} if sample else {}) if keep else ""
    told = references_report(done, warnings, uid)
    files: dict[str, str] = {}
    if out is not None:
        files["thresholds"] = str(save_thresholds(out, done.thresholds))
    if report is not None:
        files["report"] = str(write_references_report(done, report, warnings=warnings, run_uid=uid))
    if as_json:
        typer.echo(json.dumps({**told, "files": files}))
    else:
        _show(console, done, uid, files)


@dataclass(frozen=True)
class _Sources:
    """Where labels and pixels come from."""

    images: Path | None
    nd2: Path | None
    metadata: Sequence[Path] = field(default=())
    plate: Path | None = None
    channel: int | None = None
    axes: str | None = None

    def stacks(self, gallery: Path) -> tuple[tuple[LabelledStack, ...], tuple[str, ...]]:
        """Return the labelled stacks, and what to warn of."""
        of_nd2 = [name for name, value in vars(self).items() if value and name in ("metadata", "plate")]
        if gallery.is_dir():
            if self.nd2 is not None or self.images is not None or of_nd2:
                raise BadInputError(
                    f"{gallery}: is a folder of categories, which needs no --images, --nd2, --metadata or --plate"
                )
            return read_labelled_folder(gallery, self.axes), ()
        if self.axes is not None:
            raise BadInputError("--axes is for a folder of categories; ND2 files say what their axes are")
        page = read_gallery(gallery)
        if self.nd2 is None:
            if of_nd2:
                raise BadInputError(
                    f"--{of_nd2[0]} is of no use without --nd2; expected the folder of the ND2 files"
                )
            if self.images is None:
                raise BadInputError(
                    f"{gallery}: expected --nd2 with the z-stacks, or --images with the images alone"
                )
            return labelled_images(page, self.images), (
                "without --nd2 the images themselves are scored, which were made of stacks already: "
                "nothing is learnt of motion",
            )
        if self.images is not None:
            for reference in page.references:
                locate(reference, self.images)  # a typo in a path must not label another frame
        tables = [read_metadata(path) for path in self.metadata]
        plate = None if self.plate is None else read_series_map(self.plate)
        mapped = map_to_nd2(page, self.nd2, tables, plate, channel=self.channel)
        return labelled_nd2(mapped.frames), mapped.warnings


def _kept(
    done: ReferenceCalibration, data: Path | None, gallery: str, warnings: Sequence[str], md: dict[str, Any]
) -> str:
    """Write the calibration into the catalog as a run, and return its uid."""
    with open_catalog(data) as catalog:
        writer = CatalogWriter(catalog)
        try:
            uid = emit_reference_calibration(writer, done, gallery=gallery, warnings=warnings, md=md)
            if not writer.drain(_DRAIN_S):
                raise CatalogError(
                    f"the catalog does not hold the run yet ({writer.last_error}): it lies in its log, "
                    "and `parfocal recover` brings it in"
                )
        finally:
            writer.close(_DRAIN_S)
    return uid


def _show(console: Console, done: ReferenceCalibration, uid: str, files: dict[str, str]) -> None:
    shown = Table(box=None, header_style="bold")
    for column in ("metric", "AUC", "tau", "threshold", "left out", "kept: bad, okay, great"):
        shown.add_column(column, no_wrap=True, overflow="fold")
    for rank in done.metrics.metrics:
        low, high = rank.auc_interval
        sign = ">=" if rank.higher_is_better else "<="
        shown.add_row(
            rank.name,
            f"{rank.auc:.3f} ({low:.2f} to {high:.2f})",
            f"{rank.kendall_tau:+.2f}",
            f"{sign} {rank.threshold:.4g}",
            f"{rank.loo_correct} of {rank.loo_n}",
            ", ".join(f"{kept} of {n}" for kept, n in zip(rank.kept, rank.n, strict=True)),
        )
    console.print(shown)
    kept = done.thresholds
    for line in (
        kept.why,
        f"rules: {done.rules.why}",
        f"chosen: {kept.chosen or 'none; say which with --metric'}",
    ):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if uid:
        console.print(f"run {uid[:8]}", markup=False, highlight=False)
    for path in files.values():
        console.print(path, soft_wrap=True, markup=False, highlight=False)
