"""`parfocal simulate puncta`: folders of simulated samples with their truth, to train and to test on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from parfocal.errors import BadInputError
from parfocal.puncta.simulation import (
    Calcium,
    CameraChain,
    Psf,
    PunctaScene,
    PunctaSimulation,
    read_metadata,
    sample_name,
    scene_of,
    write_sample,
)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group."""
    simulate = typer.Typer(help="Recordings that are simulated, and say so.", no_args_is_help=True)
    simulate.callback()(lambda: None)  # or the one command would be the group
    simulate.command("puncta")(puncta_command)
    app.add_typer(simulate, name="simulate")


def puncta_command(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of samples; made, or gone on with.")],
    num_samples: Annotated[int, typer.Option("--num-samples", "--num_samples", min=1)] = 100,
    frames_per_sample: Annotated[int, typer.Option("--frames-per-sample", "--frames_per_sample", min=1)] = 50,
    image_size: Annotated[
        tuple[int, int], typer.Option("--image-size", "--image_size", metavar="H W", help="Pixels.")
    ] = (512, 512),
    num_puncta_mean: Annotated[
        float, typer.Option("--num-puncta-mean", "--num_puncta_mean", min=0, help="Per image, Poisson.")
    ] = 20.0,
    psf_type: Annotated[Literal["gaussian", "airy", "diffraction"], typer.Option("--psf-type", "--psf_type")] = (
        "gaussian"
    ),
    sigma_nm: Annotated[
        float | None,
        typer.Option("--sigma-nm", "--sigma_nm", help="Of the Gaussian. Default: 0.21 wavelength / NA."),
    ] = None,
    na: Annotated[float, typer.Option("--na", help="Numerical aperture.")] = 1.49,
    wavelength_nm: Annotated[
        float, typer.Option("--wavelength-nm", "--wavelength_nm", help="Of the emission.")
    ] = 664.0,
    pixel_size_nm: Annotated[
        float, typer.Option("--pixel-size-nm", "--pixel_size_nm", help="At the sample.")
    ] = 130.0,
    photons: Annotated[float, typer.Option(help="Of a punctum in a frame, median.")] = 1000.0,
    camera: Annotated[Literal["emccd", "scmos", "uniform", "ideal"], typer.Option()] = "scmos",
    calcium: Annotated[bool, typer.Option("--calcium/--no-calcium", help="The second channel.")] = True,
    confounders: Annotated[
        bool, typer.Option("--confounders", help="Waves, events without puncta, bleed-through in it.")
    ] = False,
    scene: Annotated[
        Path | None,
        typer.Option(help="YAML or JSON of a scene, or a sample's metadata.json. What options say counts more."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    ome_zarr: Annotated[bool, typer.Option("--ome-zarr", "--ome_zarr", help="Write OME-Zarr besides.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make samples anew that are there.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Draw the first sample here (.png).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Simulate recordings of puncta and calcium with their truth; samples that are finished are skipped."""
    if picture is not None and (picture.suffix.lower() != ".png" or not picture.absolute().parent.is_dir()):
        raise BadInputError(f"{picture}: expected a name that ends in .png, in a folder that is there")
    base = _given(scene)
    given = {name for name in context.params if scene is None or _was_given(context, name)}
    told: dict[str, Any] = {}
    if "frames_per_sample" in given:
        told["n_frames"] = frames_per_sample
    if "image_size" in given:
        told["shape_px"] = image_size
    if "num_puncta_mean" in given:
        told["n_puncta"] = num_puncta_mean
    if "pixel_size_nm" in given:
        told["pixel_size_um"] = (pixel_size_nm / 1e3, pixel_size_nm / 1e3)
    if "photons" in given:
        told["photons"] = photons
    if "camera" in given:
        told["camera"] = CameraChain(camera) if scene is None else replace(base.camera, kind=camera)
    psf: dict[str, Any] = {"kind": psf_type} if "psf_type" in given else {}
    psf |= {"na": na} if "na" in given else {}
    psf |= {"wavelength_um": wavelength_nm / 1e3} if "wavelength_nm" in given else {}
    psf |= {"sigma_um": sigma_nm / 1e3} if sigma_nm is not None else {}
    told["psf"] = replace(base.psf, **psf)
    if "calcium" in given or confounders:
        told["calcium"] = (base.calcium or Calcium()) if calcium else None
    if confounders:
        if told["calcium"] is None:
            raise BadInputError("--confounders are of the calcium channel, and --no-calcium leaves it out")
        told["calcium"] = replace(told["calcium"], waves_per_min=10.0, stray_per_s=1.0, bleed_through=0.02)
    made = replace(base, **told)
    output.mkdir(parents=True, exist_ok=True)
    n_made, n_skipped, seconds = _write_all(output, made, seed, num_samples, ome_zarr, overwrite, as_json)
    drawn = None
    if picture is not None:
        from parfocal.cli._simulate_picture import draw_sample

        drawn = draw_sample(picture, output / sample_name(0))
    frames_per_s = n_made * made.n_frames / seconds if n_made else None
    if as_json:
        said = {
            "output": str(output),
            "samples": num_samples,
            "made": n_made,
            "skipped": n_skipped,
            "frames_per_s": frames_per_s,
            "seconds": seconds,
            "picture": None if drawn is None else str(drawn),
        }
        typer.echo(json.dumps(said))
        return
    speed = f", {frames_per_s:.0f} frames/s" if frames_per_s else ""
    typer.echo(f"{output}: {n_made} samples made, {n_skipped} were there{speed}")
    if drawn is not None:
        typer.echo(f"written: {drawn}")


def _write_all(
    output: Path, scene: PunctaScene, seed: int, n: int, ome_zarr: bool, overwrite: bool, quiet: bool
) -> tuple[int, int, float]:
    """Make the samples that are not there; return how many were made, how many skipped, and seconds."""
    n_made, began = 0, time.monotonic()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        task = bar.add_task("samples", total=n)
        for k in range(n):
            one = replace(scene, seed=_seed_of(seed, k))
            target = output / sample_name(k)
            if overwrite or not _is_finished(target, one):
                write_sample(target, PunctaSimulation(one), ome_zarr=ome_zarr, overwrite=overwrite)
                n_made += 1
            bar.update(task, advance=1)
    return n_made, n - n_made, time.monotonic() - began


def _seed_of(seed: int, k: int) -> int:
    """Return the seed of a sample, the same however many are asked for."""
    return int(np.random.SeedSequence([seed, k]).generate_state(1)[0])


def _is_finished(target: Path, scene: PunctaScene) -> bool:
    """Say whether a sample is there; refuse one that was made with other settings."""
    if not target.exists():
        return False
    told = read_metadata(target).get("scene")
    if not told or scene_of(told, str(target)) != scene:
        raise BadInputError(f"{target}: was made with other settings; name another folder, or give --overwrite")
    return True


def _given(path: Path | None) -> PunctaScene:
    """Return the scene of a file, or the default of one."""
    if path is None:
        return PunctaScene(psf=Psf())
    try:
        told: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInputError(f"{path}: there is no such file") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInputError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(told, Mapping):
        raise BadInputError(f"{path}: expected settings of a scene by name")
    whole: Any = told
    return scene_of(whole.get("scene", whole), str(path))


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
