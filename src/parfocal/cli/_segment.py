"""`parfocal segment`: find the nuclei of a stack; labels, a table of objects, a picture and a page."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
import typer

from parfocal import __version__
from parfocal.cli._catalog import DataOption, folder_of
from parfocal.cli._progress import progress
from parfocal.cli._segment_blocks import segment_in_blocks
from parfocal.cli._segment_folder import in_words, tell, whole_folder, write_objects, write_summary
from parfocal.cli._segment_run import segment_run
from parfocal.errors import BadInputError
from parfocal.files import refuse_input, write_ome_tiff, write_ome_zarr

if TYPE_CHECKING:
    from parfocal.segmentation.volumes import GivenVolume


_OWN_OPTIONS = {
    "diameter_um": "--diameter",
    "weights": "--weights",
    "command": "--command",
    "backend": "--backend",
    "restoration": "--restoration",
    "denoiser": "--denoiser",
    "voxel_size_um": "--voxel-size",
}
"""Options of backends and of `segment_volume` that the command itself has."""


def add_commands(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("segment")(segment_command)


def segment_command(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE|RUN",
            help="TIFF, ND2, HDF5 (file.h5:dataset), OME-Zarr, a folder of planes; or a run, or `newest`.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder to make; NAME.ome.tif: labels in it too. Default: FILE's name and _nuclei."
        ),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="Which; see --list. Default: unet2d+link, watershed without PyTorch.")
    ] = None,
    diameter: Annotated[float | None, typer.Option(help="Of a typical nucleus, um. Default: measured.")] = None,
    restoration: Annotated[
        str, typer.Option(help="none, auto, denoise, deblur or denoise+deblur; kept where it helps.")
    ] = "none",
    denoiser: Annotated[
        str, typer.Option(help="wavelet, nlm, denoise2d, a .safetensors file, or cellpose:PATH.")
    ] = "wavelet",
    voxel_size: Annotated[
        str | None,
        typer.Option("--voxel-size", help="z,y,x in um (of one plane y,x), where the file does not say."),
    ] = None,
    axes: Annotated[
        str | None, typer.Option(help="What its axes are, such as ZYX, where it does not say.")
    ] = None,
    at: Annotated[
        list[str] | None, typer.Option("--at", help="Index of another axis, such as t=0 or p=2. May be repeated.")
    ] = None,
    channel: Annotated[int, typer.Option(min=0, help="The channel of nuclei; all are measured.")] = 0,
    offset: Annotated[
        float, typer.Option(help="What the camera adds to each pixel; taken off intensities.")
    ] = 0.0,
    weights: Annotated[Path | None, typer.Option(help="File of weights, for backends that take one.")] = None,
    model: Annotated[
        str, typer.Option(help="Name, version or hash of one of ours. Default: the one that is promoted.")
    ] = "",
    data: DataOption = None,
    command: Annotated[
        str | None, typer.Option(help="For external: the program, with {input} and {output}.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="NAME=VALUE of the backend's settings. May be repeated.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Block by block: a Dask scheduler, tcp://..., or `threads`. OME-Zarr; unet3d."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder that is there.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the backends and end.", is_eager=True)] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the nuclei of a stack: labels, a table of objects, a picture, a page. Of a run: a derived run."""
    from parfocal.segmentation.backends import (
        BACKENDS,
        default_backend,
        measure_objects,
        model_options,
        segment_volume,
    )
    from parfocal.segmentation.restoration import open_denoiser
    from parfocal.segmentation.volumes import open_given

    if show_list:
        typer.echo("\n".join(BACKENDS))
        return
    if file is None:
        raise BadInputError("segment: name a FILE or a RUN; --list lists the backends")
    if is_run(file):
        folder_for_run = out if out is not None and not is_tiff(out) else None
        for_files = {
            "--out FOLDER": folder_for_run,
            "--voxel-size": voxel_size,
            "--axes": axes,
            "--at": at,
            "--weights": weights,
        }
        for_files |= {"--command": command, "--channel": channel, "--offset": offset, "--scheduler": scheduler}
        for_files |= {"--denoiser": denoiser != "wavelet"}
        parameters = {
            "backend": backend or "",
            "model": model,
            "diameter_um": diameter or 0.0,
            "restoration": restoration,
        }
        if backend == "cellpose" and weights is not None and not model:
            parameters["model"] = str(weights.expanduser().absolute())
            del for_files["--weights"]
        segment_run(
            file,
            data,
            parameters,
            _options(option or []),
            again=overwrite,
            as_json=as_json,
            tiff=out,
            not_for_runs=[name for name, value in for_files.items() if value],
        )
        return
    tiff = out if out is not None and is_tiff(out) else None
    target = (
        Path(f"{_stem(file)}_nuclei") if out is None else out if tiff is None else out.with_name(_stem(out.name))
    )
    for path in (target, tiff):
        if path is not None and path.exists() and not overwrite:
            raise BadInputError(f"{path}: exists already; name another with --out, or replace it with --overwrite")
    if tiff is not None:
        refuse_input(tiff, file)
    if scheduler is not None:
        unfit = {
            "--backend": (backend or "unet3d") != "unet3d",
            "--restoration": restoration != "none",
            "--command": command is not None,
            "--out NAME.ome.tif": tiff is not None,
        }
        if others := [name for name, is_so in unfit.items() if is_so]:
            raise BadInputError(f"--scheduler segments block by block, by unet3d: leave out {', '.join(others)}")
        segment_in_blocks(
            file,
            target,
            lambda: open_given(file, axes, at or [], channel, _voxel_size(voxel_size)),
            scheduler=scheduler,
            voxel_size_um=_voxel_size(voxel_size),
            diameter_um=diameter,
            offset=offset,
            weights=weights or model_options("unet3d", folder_of(data).models, model)["weights"],
            settings=_options(option or []),
            as_json=as_json,
        )
        return
    given = open_given(file, axes, at or [], channel, _voxel_size(voxel_size))
    if voxel_size is not None and voxel_size.count(",") == 1 and given.images[given.nuclei].shape[0] > 1:
        raise BadInputError(f"--voxel-size {voxel_size}: {file} has several planes; expected z,y,x in um")
    told: dict[str, Any] = {**_options(option or []), "weights": weights, "command": command}
    if weights is None:
        told |= model_options(backend or default_backend(), folder_of(data).models, model)
    with progress(as_json) as said, whole_folder(target) as folder:
        said("segmenting")
        began = time.monotonic()
        found = segment_volume(
            given.images[given.nuclei],
            given.voxel_size_um,
            backend,
            restoration=cast(Any, restoration),
            denoiser=open_denoiser(denoiser) if restoration != "none" else None,
            diameter_um=diameter,
            on_progress=lambda done, n: said("segmenting", f"{done} of {n}"),
            **{name: value for name, value in told.items() if value is not None},
        )
        seconds = time.monotonic() - began
        said("measuring")
        objects = measure_objects(found, given.images, offset=offset)
        said("writing")
        facts: dict[str, Any] = {
            "source": given.source,
            "backend": found.backend,
            "model_hash": found.model_hash,
            "restoration": found.restoration,
            "restoration_record": None if found.restoration_record is None else found.restoration_record.as_dict(),
            "linked": found.linked,
            "voxel_size_um": list(found.voxel_size_um),
            "shape": list(found.labels.shape),
            "n_objects": len(objects),
            "seconds": round(seconds, 3),
            "remarks": [*found.remarks, *given.warnings],
            "parfocal": __version__,
        }
        _write(folder, given, found, objects, facts)
    if tiff is not None:
        write_ome_tiff(tiff, found.labels, found.voxel_size_um)
    tell(facts, target, tiff, as_json=as_json)


def is_run(name: str) -> bool:
    """Say whether what was named is a run rather than a file: nothing lies there, and it looks like a uid."""
    there = Path(name.rpartition(":")[0] or name)
    return not there.exists() and (name == "newest" or re.fullmatch(r"[0-9a-f-]{4,36}", name) is not None)


def is_tiff(path: Path) -> bool:
    """Say whether a name is that of a TIFF."""
    return path.suffix.lower() in (".tif", ".tiff")


def _voxel_size(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        sizes = [float(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) == 2:  # how far the next plane would be, of a single one, is all the same
        sizes.insert(0, sizes[0])
    if len(sizes) != 3 or not all(0 < size < float("inf") for size in sizes):
        raise BadInputError(f"--voxel-size {text!r}: expected z,y,x in um, such as 2,0.5,0.5")
    return sizes[0], sizes[1], sizes[2]


def _options(given: list[str]) -> dict[str, Any]:
    """Return options as JSON values where they are such, else as text."""
    told: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise BadInputError(f"--option {text}: expected NAME=VALUE, such as do_3d=true")
        if name in _OWN_OPTIONS:
            raise BadInputError(f"--option {text}: say it by {_OWN_OPTIONS[name]}")
        try:
            told[name] = json.loads(value)
        except ValueError:
            told[name] = value
    return told


def _stem(file: str) -> str:
    name = Path(file.split(":")[0] if ".h5:" in file or ".hdf5:" in file else file).name
    return re.sub(r"(\.ome)?\.[A-Za-z0-9]+$", "", name) or "stack"


def _write(folder: Path, given: GivenVolume, found: Any, objects: Any, facts: Mapping[str, Any]) -> None:
    from parfocal.report import draw_segmentation, write_segmentation_page
    from parfocal.segmentation.uncertainty import object_doubts

    write_ome_zarr(
        folder / "labels.ome.zarr",
        found.labels,
        found.voxel_size_um,
        attributes={"parfocal": dict(facts), "ome": {"image-label": {"version": "0.5"}}},
    )
    doubts = object_doubts(found, given.images[given.nuclei])
    row = {int(one): k for k, one in enumerate(doubts.ids)}
    order = [row[int(one)] for one in objects.ids]
    columns = objects.columns()
    columns["doubt"] = doubts.score[order]
    columns["reasons"] = np.array(["; ".join(doubts.reasons[k]) for k in order], dtype=object)
    write_objects(folder, columns)
    title = f"{Path(given.source).name}: {len(objects)} nuclei by {found.backend}"
    picture = draw_segmentation(folder / "picture.png", given.images[given.nuclei], found, title)
    told = {
        **facts,
        "labels_sha256": hashlib.sha256(np.ascontiguousarray(found.labels).tobytes()).hexdigest(),
        "channels": list(given.images),
        "asked": dict(given.asked),
    }
    write_summary(folder, told)
    write_segmentation_page(folder / "summary.html", found, objects, in_words(facts), picture, time_s=time.time())
