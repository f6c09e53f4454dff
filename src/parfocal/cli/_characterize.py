"""`parfocal characterize`: what a camera and a stage are like, measured, kept, and gone by from then on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from parfocal.callbacks import BenchCharacterization
from parfocal.cli import _focus_options as options
from parfocal.cli._catalog import DataOption, JsonOption
from parfocal.cli._focus_options import BenchOptions
from parfocal.cli._focus_work import drain
from parfocal.devices import Microscope, load_devices
from parfocal.errors import BadInputError, HardwareError
from parfocal.plans import (
    characterize_camera,
    characterize_latency,
    characterize_pixel_size,
    characterize_stage,
)
from parfocal.report import (
    characterization_report,
    characterization_table,
    read_characterization_run,
    write_characterization_report,
)
from parfocal.session import start_session

_KINDS = ("camera", "stage", "latency", "pixel-size")


def add_commands(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("characterize")(characterize_command)


def characterize_command(
    what: Annotated[str, typer.Argument(help="camera, stage, latency, pixel-size, or all.")] = "all",
    devices: Annotated[
        Path | None, typer.Option("--devices", help="A devices.yml with a microscope, in place of the next five.")
    ] = None,
    camera: options.CameraOption = "simulate",
    stage: options.StageOption = "simulate",
    axis: options.AxisOption = "z",
    camera_option: options.CameraValues = None,
    stage_option: options.StageValues = None,
    of: Annotated[
        str, typer.Option("--of", help="Which camera: camera, focus_camera, or auto for the usual one.")
    ] = "auto",
    moving: Annotated[str, typer.Option("--moving", help="Which axis is measured: x, y or z.")] = "z",
    exposure_s: Annotated[float | None, typer.Option("--exposure-s", min=0, help="For what moves.")] = None,
    channel: Annotated[str, typer.Option("--channel", help="Of the light.")] = "",
    over: Annotated[str, typer.Option("--over", help="Levels of light by exposure, or by light.")] = "exposure",
    dark: Annotated[str, typer.Option("--dark", help="auto, light, shutter, or hand: cap the camera.")] = "auto",
    defocus_um: Annotated[
        float, typer.Option("--defocus-um", help="How far out of focus for light levels.")
    ] = 0.0,
    n_dark: Annotated[int, typer.Option("--n-dark", help="Dark frames.")] = 64,
    n_flat: Annotated[int, typer.Option("--n-flat", help="Frames a level of light.")] = 32,
    n_levels: Annotated[int, typer.Option("--n-levels", help="Levels of light.")] = 8,
    longest_exposure_s: Annotated[
        float | None, typer.Option("--longest-exposure-s", help="Of the levels. Default: by how bright it is.")
    ] = None,
    step_um: Annotated[float | None, typer.Option("--step-um", help="Of stage steps.")] = None,
    approach_um: Annotated[float | None, typer.Option("--approach-um", help="For backlash, from how far.")] = None,
    travel_um: Annotated[float | None, typer.Option("--travel-um", help="For the pixel size, how far.")] = None,
    beyond_focus_signal: Annotated[
        str, typer.Option("--beyond-focus-signal", help="positive or negative, as the lens was built.")
    ] = "",
    data: DataOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for reports. Default: characterize/<run> in the data folder."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a camera's noise, a stage's answer and play, latency and pixel size; go by them from then on."""
    if what not in (*_KINDS, "all"):
        raise BadInputError(f"characterize: {what!r} is none of {', '.join(_KINDS)} or all")
    microscope = _open(
        devices, BenchOptions(camera, stage, axis, tuple(camera_option or ()), tuple(stage_option or ()))
    )
    console = Console(stderr=as_json)
    reports: list[dict[str, Any]] = []
    failed: list[str] = []
    try:
        simulated = {
            "camera": bool(microscope.camera.facts.simulated),
            "stage": "simulated" in str(getattr(microscope.backend.stage, "backend", "")),
        }
        session = start_session(data, analyses=[BenchCharacterization], md={"simulated": simulated})
        try:
            session.use(microscope)
            bench: Any = microscope  # the queue wants plans to say that they take a Readable
            plans: dict[str, Any] = {
                "camera": lambda: characterize_camera(
                    bench,
                    "camera" if of == "auto" else of,
                    n_dark,
                    n_flat,
                    n_levels,
                    over,
                    longest_exposure_s=longest_exposure_s,
                    channel=channel,
                    dark=dark,
                    defocus_um=defocus_um,
                ),
                "stage": lambda: characterize_stage(
                    bench,
                    moving,
                    of,
                    step_um,
                    approach_um=approach_um,
                    beyond_focus_signal=beyond_focus_signal,
                    exposure_s=exposure_s,
                    channel=channel,
                ),
                "latency": lambda: characterize_latency(bench, moving, of, exposure_s=exposure_s, channel=channel),
                "pixel-size": lambda: characterize_pixel_size(
                    bench, travel_um, exposure_s=exposure_s, channel=channel
                ),
            }
            for kind in _KINDS if what == "all" else (what,):
                watch = _Watch(kind, console)
                token = session.RE.subscribe(watch.hear)
                try:
                    with watch.progress:
                        session.run(plans[kind]())
                except Exception as error:
                    cause = error.__cause__ if error.__cause__ is not None else error
                    if what != "all" and not watch.uid:
                        raise
                    failed.append(f"{kind}: {' '.join(str(cause).split())}")
                finally:
                    session.RE.unsubscribe(token)
                if not watch.is_done:
                    continue
                drain(session)
                run = read_characterization_run(session.catalog, watch.uid)
                at = out if out is not None else session.catalog.folder.root / "characterize" / watch.uid[:8]
                files = [str(path) for path in write_characterization_report(run, at)]
                reports.append({**characterization_report(run), "files": files})
                _show(console, kind, run.found, files[1])
        finally:
            session.close()
    finally:
        microscope.destroy()
    if as_json:
        typer.echo(json.dumps(reports))
    if failed:
        raise HardwareError("characterize: " + "; ".join(failed))


def _open(devices: Path | None, bench: BenchOptions) -> Microscope:
    if devices is None:
        return bench.open()
    loaded = load_devices(devices)
    found = [device for device in loaded.values() if isinstance(device, Microscope)]
    if len(found) != 1:
        for device in loaded.values():
            device.destroy()
        raise BadInputError(f"{devices}: {len(found)} microscopes, one was expected")
    return found[0]


class _Watch:
    """Progress of one run, from its documents."""

    def __init__(self, kind: str, console: Console) -> None:
        self.uid = ""
        self.is_done = False
        self.progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} frames"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task: TaskID = self.progress.add_task(kind, total=None)
        self._frames: set[str] = set()
        self._results: set[str] = set()

    def hear(self, name: str, doc: Any) -> None:
        """Take a document."""
        if name == "start":
            self.uid = doc["uid"]
        elif name == "descriptor":
            (self._results if doc["name"] == "characterization" else self._frames).add(doc["uid"])
        elif name == "event":
            if doc["descriptor"] in self._results:
                self.is_done = True
            else:
                self.progress.advance(self._task)


def _show(console: Console, kind: str, found: Any, html: str) -> None:
    shown = Table(box=None, show_header=False, title=kind, title_justify="left", title_style="bold")
    for name, value in characterization_table(found):
        shown.add_row(name, value)
    for severity, message in found.issues:
        shown.add_row(severity, message)
    shown.add_row("page", html)
    console.print(shown)
