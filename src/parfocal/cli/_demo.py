"""`parfocal demo`: the whole path of a frame in under a minute, on a simulated or a recorded microscope."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from useq import MDASequence

from parfocal.callbacks import FocusScores
from parfocal.cli._catalog import DataOption, JsonOption, folder_of, runs_table
from parfocal.cli._demo_picture import draw_picture
from parfocal.cli._demo_puncta import PunctaShown, as_rows, print_puncta, show_puncta
from parfocal.devices import Microscope, recorded_microscope, simulated_microscope
from parfocal.errors import CatalogError
from parfocal.files import AxesUnknownError
from parfocal.plans import acquire, parts_of, time_lapse
from parfocal.session import Session, start_session

POSITIONS_UM = [[0.0, 0.0], [120.0, -60.0], [-150.0, 90.0]]
N_TIME_POINTS = 3
_PATIENCE_AFTER_FAILURE_S = 10.0  # somebody waits to read what went wrong; the log keeps what the catalog lacks


def add_commands(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("demo")(demo_command)


def demo_command(
    data: DataOption = None,
    stack: Annotated[
        str | None, typer.Option(help="Show this recorded stack (TIFF, ND2, HDF5, a folder) instead.")
    ] = None,
    axes: Annotated[
        str | None, typer.Option(help="What the file's axes are, such as ZYX or TZYX, where it does not say.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the simulated sample, its drift and noise.")] = 0,
    puncta: Annotated[bool, typer.Option(help="Show puncta and their calcium too.")] = True,
    picture: Annotated[bool, typer.Option(help="Draw demo.png into the data folder.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Image a drifting sample, score focus live, follow puncta, and keep everything in a catalog."""
    console = Console(stderr=as_json)
    stages = _Stages()
    with stages("microscope"):
        if stack is None:
            microscope = simulated_microscope("microscope", seed=seed)
        else:
            microscope = _recorded(stack, axes, console, interactive=sys.stdin.isatty() and not as_json)
    patience_s = _PATIENCE_AFTER_FAILURE_S
    try:
        with stages("catalog open"):
            session = start_session(folder_of(data).root, md={"purpose": "demo"})
            session.use(microscope)
        try:
            shown: list[PunctaShown] = []
            if puncta and stack is None:
                with stages("puncta"):
                    shown = show_puncta(session, seed)
            session.add(FocusScores(emit=session.writer))
            uids = _acquire(session, microscope, stages, console, stack)
            with stages("catalog complete"):
                if not session.drain(60):
                    raise CatalogError(
                        f"the catalog does not hold the run yet ({session.writer.last_error}): it lies in "
                        "its log, and `parfocal recover` brings it in"
                    )
            _report(session, uids, microscope, stages, console, data, shown, picture=picture, as_json=as_json)
            patience_s = 60.0
        finally:
            session.close(patience_s)
    finally:
        microscope.destroy()


class _Stages:
    """How long each stage took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Generator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def _recorded(stack: str, axes: str | None, console: Console, *, interactive: bool) -> Microscope:
    try:
        return recorded_microscope("microscope", stack, axes or "")
    except AxesUnknownError as error:
        if not interactive:
            raise
        console.print(str(error), markup=False)
        return recorded_microscope("microscope", stack, typer.prompt("axes").strip().upper())


def _acquire(
    session: Session, microscope: Microscope, stages: _Stages, console: Console, stack: str | None
) -> list[str]:
    with _Watch(console) as watch:
        session.RE.subscribe(watch.raw)
        session.analyses[0].subscribe(watch.derived)
        with stages("imaging"):
            if stack is None:
                plan = time_lapse(
                    cast(Any, microscope),  # ophyd's own types do not fit bluesky's protocols
                    N_TIME_POINTS,
                    0.0,
                    6.0,
                    1.0,
                    positions_um=POSITIONS_UM,
                    md={"sample": "simulated nuclei"},
                )
                session.run(plan)
            else:
                for plan in _recorded_plans(microscope, Path(stack).name):
                    session.run(plan)
        with stages("focus scores finished"):
            session.analyses[0].drain(60)
        return watch.uids


def _recorded_plans(microscope: Microscope, sample: str) -> Generator[Any]:
    """Yield one plan for each way the recording has to be looked at: all planes, channels, times, sites."""
    view: Any = microscope.backend.camera.view  # pyright: ignore[reportAttributeAccessIssue]
    recorded = view.stack
    sites = [list(xy) for xy in recorded.xy_um or []]
    for site in range(1 if sites else recorded.size("P")):
        if not sites:
            view.look("P", site)
        planes = [float(z) for z in np.sort(view.planes_z_um())]
        fields: dict[str, Any] = {"axis_order": "tpgcz"}
        if len(planes) > 1:
            fields["z_plan"] = {"absolute": planes}
        if recorded.size("T") > 1:
            fields["time_plan"] = {"interval": 0, "loops": recorded.size("T")}
        if not {"z_plan", "time_plan"} & set(fields):
            fields["stage_positions"] = [{}]  # one image: a sequence of nothing but where the stage stands
        if sites:
            fields["stage_positions"] = [{"x": x, "y": y, "name": f"p{n}"} for n, (x, y) in enumerate(sites)]
        if recorded.size("C") > 1:
            fields["channels"] = [{"config": name} for name in microscope.light.driver.channels]
        yield acquire(
            parts_of(microscope),
            MDASequence.model_validate({**fields, "metadata": {"recorded": sample}}),
            plan_name="recorded_stack",
            plan_args={"site": site},
            md={"sample": sample},
        )


class _Watch:
    """Progress of frames and scores, from the documents themselves."""

    def __init__(self, console: Console) -> None:
        self.uids: list[str] = []
        self._progress = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._frames = self._progress.add_task("frames", total=0)
        self._scores = self._progress.add_task("focus scores", total=0)
        self._total = 0

    def __enter__(self) -> _Watch:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def raw(self, name: str, doc: dict[str, Any]) -> None:
        if name == "start":
            self.uids.append(doc["uid"])
            self._total += doc["num_points"]
            for task in (self._frames, self._scores):
                self._progress.update(task, total=self._total)
        elif name == "event":
            z_um = doc["data"].get("stage_z")
            where = f"frames  z {z_um:+.2f} um" if z_um is not None else "frames"
            self._progress.update(self._frames, advance=1, description=where)

    def derived(self, name: str, doc: dict[str, Any]) -> None:
        if name == "event" and "tenengrad" in doc["data"]:
            self._progress.update(self._scores, advance=1)


def _report(
    session: Session,
    uids: list[str],
    microscope: Microscope,
    stages: _Stages,
    console: Console,
    data: Path | None,
    shown: list[PunctaShown],
    *,
    picture: bool,
    as_json: bool,
) -> None:
    catalog = session.catalog
    stacks: list[dict[str, Any]] = []
    with stages("results read back"):
        for uid in uids:
            for analysis in catalog.analyses_of(uid):
                stacks.extend(_rows(analysis, "stacks"))
    drawn: Path | None = None
    if picture:
        with stages("picture"):
            drawn = draw_picture(catalog, uids[-1], catalog.folder.root / "demo.png")
    table = catalog.runs(limit=10)
    option = f" --data {shlex.quote(str(data))}" if data is not None else ""
    newest = uids[-1][:8]
    # Called as `.venv/bin/parfocal` it is not on the PATH, and its neighbours would not be found.
    called = Path(sys.argv[0])
    program = (
        shlex.quote(str(called)) if called.name == "parfocal" and not shutil.which("parfocal") else "parfocal"
    )
    commands = [
        f"{program} runs{option} --analysis focus_scores",
        f"{program} replay{option} {newest} -p score=brenner",
        f"{program} view{option} {newest}",
    ]
    if as_json:
        about = {
            "data": str(catalog.folder.root),
            "runs": uids,
            "stacks": stacks,
            "puncta": as_rows(shown),
            "seconds": stages.seconds,
            "picture": str(drawn) if drawn else None,
            "next": commands,
            "warnings": list(_warnings(microscope)),
        }
        typer.echo(json.dumps(about, default=str))
        return
    for warning in _warnings(microscope):
        console.print(f"note: {warning}", markup=False, soft_wrap=True)
    console.print(f"\n[bold]Runs[/bold] of a {microscope.backend.name} microscope")
    console.print(runs_table(table))
    console.print("\n[bold]Best plane of each stack[/bold]")
    console.print(_stacks_table(stacks) if stacks else "no stack: one plane a position has no best one")
    if shown:
        print_puncta(console, shown)
    console.print("\n[bold]Time[/bold]")
    for name, seconds in stages.seconds.items():
        console.print(f"  {name:<24}{seconds:6.2f} s")
    if drawn:
        console.print(f"\nPicture: {drawn}", soft_wrap=True)
    console.print("\n[bold]Next[/bold]")
    for what, command in zip(("query", "replay", "open in napari"), commands, strict=True):
        console.print(f"  {command}    [dim]# {what}[/dim]", soft_wrap=True)


def _warnings(microscope: Microscope) -> tuple[str, ...]:
    """Return what a reader of the recorded file must know."""
    view: Any = getattr(microscope.backend.camera, "view", None)
    return view.stack.warnings if view is not None else ()


def _rows(run: Any, stream: str) -> list[dict[str, Any]]:
    if stream not in run:
        return []
    table = run[stream].read()
    columns = {str(key): np.asarray(table[key]).tolist() for key in table if table[key].ndim == 1}
    n = len(next(iter(columns.values()), []))
    return [{key: values[i] for key, values in columns.items()} for i in range(n)]


def _stacks_table(stacks: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("time point", "position", "channel", "best z (um)", "frame", "planes", ""):
        table.add_column(column, justify="right" if column != "channel" else "left")
    for row in stacks:
        found = not row["reason"]
        table.add_row(
            str(row["time_point"]),
            str(row["position"]),
            row["channel"],
            f"{row['best_z_um']:.2f} ± {row['sigma_z_um']:.2f}" if found else f"{row['best_z_um']:.2f}",
            str(row["best_frame"]),
            str(row["n_planes"]),
            "" if found else f"not bracketed: {row['reason']}",
        )
    return table
