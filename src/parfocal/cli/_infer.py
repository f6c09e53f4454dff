"""`parfocal infer`: from movies to puncta, tracks and calcium events, a folder of results each."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from parfocal import __version__
from parfocal.cli._camera_options import camera_of, camera_told, known_interval_s, known_pixel_size
from parfocal.cli._catalog import JsonOption
from parfocal.cli._infer_finder import Finder, find_by
from parfocal.cli._infer_source import Recording, recordings_in
from parfocal.cli._progress import progress
from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.optics import CameraModel
from parfocal.puncta import Localizations


class Detector(StrEnum):
    """What finds puncta."""

    auto = "auto"
    hybrid = "hybrid"
    network = "network"
    classical = "classical"


def add_commands(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("infer")(infer_command)


def infer_command(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER|FILE", help="Movies (TIFF, ND2, OME-Zarr), or sample folders.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to make. Default: FOLDER's name and _results.")
    ] = None,
    detector: Annotated[
        Detector,
        typer.Option(
            help="hybrid (network, what it finds fitted again), network, classical; auto is the first had."
        ),
    ] = Detector.auto,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A .safetensors file, or the name or hash of one of ours; several: an ensemble."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda. Default: cuda where there is one.")] = None,
    save_tracks: Annotated[
        bool, typer.Option("--save-tracks", "--save_tracks", help="Write trajectories.csv and mobility.csv.")
    ] = False,
    save_calcium_events: Annotated[
        bool, typer.Option("--save-calcium-events", "--save_calcium_events", help="Write calcium_events.csv.")
    ] = False,
    channel: Annotated[int, typer.Option(min=0, help="The channel of puncta.")] = 0,
    calcium_channel: Annotated[
        int, typer.Option("--calcium-channel", min=0, help="That of calcium, where there are several.")
    ] = 1,
    max_step: Annotated[float, typer.Option("--max-step", help="Longest step between frames, um.")] = 0.5,
    max_missing: Annotated[int, typer.Option("--max-missing", help="Frames that a punctum may be dark.")] = 2,
    threshold: Annotated[
        str | None, typer.Option(help="classical: an expression; network: least probability. Default: its own.")
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option("--pixel-size", help="um, where the source does not say.")
    ] = None,
    frame_interval: Annotated[
        float | None, typer.Option("--frame-interval", help="s, where the source does not say.")
    ] = None,
    offset: Annotated[float | None, typer.Option(help="What the camera adds to each pixel. Default: 100.")] = None,
    electrons_per_adu: Annotated[
        float | None, typer.Option("--electrons-per-adu", help="Default: guessed from the noise.")
    ] = None,
    axes: Annotated[
        str | None, typer.Option(help="What a file's axes are, such as TCYX, where it does not say.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do again what is done.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find puncta, follow them, and read their calcium; recordings that are done are left as they are."""
    asked = _Asked(
        find_by(detector.value, model or [], device, threshold),
        pixel_size,
        frame_interval,
        offset,
        electrons_per_adu,
        max_step,
        max_missing,
        save_tracks,
        save_calcium_events,
        threshold,
        (channel, calcium_channel),
    )
    source = folder.expanduser()
    opened = list(recordings_in(source, channel, calcium_channel, axes))
    target = output or Path(f"{source.resolve().name}_results")
    target.mkdir(parents=True, exist_ok=True)
    facts: list[dict[str, Any]] = []
    with progress(as_json, "opening") as said:
        for number, open_one in enumerate(opened, 1):
            recording = open_one()
            said(f"{number} of {len(opened)}: {recording.name}")
            facts.append(_one(recording, target / recording.name, asked, overwrite, said))
    summary = {"detector": asked.finder.name, "model_hash": asked.finder.model_hash, "recordings": facts}
    with write_atomically(target / "summary.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(summary))
        return
    console = Console(highlight=False)
    for one in facts:
        console.print(_line(one), markup=False, soft_wrap=True)
    console.print(str(target), markup=False, soft_wrap=True)


@dataclass(frozen=True)
class _Asked:
    finder: Finder
    pixel_size_um: float | None
    frame_interval_s: float | None
    offset_adu: float | None
    e_per_adu: float | None
    max_step_um: float
    max_missing: int
    save_tracks: bool
    save_events: bool
    threshold: str | None
    channels: tuple[int, int]

    def as_dict(self) -> dict[str, Any]:
        """Return what the results depend on, in JSON's own kinds: other options do not go on from them."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("finder", "channels")}
        by = {"detector": self.finder.name, "model_hash": self.finder.model_hash, "channels": list(self.channels)}
        return own | by


def _one(it: Recording, target: Path, asked: _Asked, overwrite: bool, said: Callable[..., None]) -> dict[str, Any]:
    """Do one recording; its folder is made whole or not at all."""
    from parfocal.puncta.following import FollowSettings, follow_puncta
    from parfocal.puncta.tables import write_results
    from parfocal.puncta.tracking import TrackSettings, write_mobility_csv

    done = target / "statistics.json"
    if done.is_file() and not overwrite:
        before = json.loads(done.read_text(encoding="utf-8"))
        theirs, ours = before.get("options", {}), asked.as_dict()
        if other := [name for name in ours if theirs.get(name) != ours[name]]:
            raise BadInputError(
                f"{target}: was made with another {', '.join(other)}; name another --output, or replace it with "
                "--overwrite"
            )
        return {**before, "skipped": True}
    told = asked.pixel_size_um
    size = known_pixel_size(it.puncta, None if told is None else (told, told))
    interval_s = known_interval_s(it.puncta, asked.frame_interval_s)
    camera, remarks = _camera(it, asked)
    began = time.monotonic()
    n_frames = it.puncta.n_frames
    spots = asked.finder.find(it, camera, size, lambda done: said(it.name, f"{done} of {n_frames} frames"))
    said(f"{it.name}: {len(spots)} puncta, following them")
    settings = FollowSettings(
        tracks=TrackSettings(max_step_um=asked.max_step_um, max_missing_frames=asked.max_missing, min_frames=3)
    )
    calcium_camera = it.calcium_camera or camera
    followed = follow_puncta(spots, interval_s, it.calcium, calcium_camera=calcium_camera, settings=settings)
    results, judged = followed.results, followed.mobility.is_judged
    facts: dict[str, Any] = {
        "name": it.name,
        "source": it.puncta.source,
        "detector": asked.finder.name,
        "model_hash": asked.finder.model_hash,
        "options": asked.as_dict(),
        "n_frames": it.puncta.n_frames,
        "n_puncta": len(spots),
        "n_tracks": results.tracks.n_tracks,
        "n_mobile": int((followed.mobility.is_mobile & judged).sum()),
        "n_immobile": int((~followed.mobility.is_mobile & judged).sum()),
        "n_calcium_events": None if results.events is None else len(results.events.track),
        "n_own_events": None if results.is_own is None else int(results.is_own.sum()),
        "association": None if followed.association is None else followed.association.as_dict(),
        "seconds": round(time.monotonic() - began, 3),
        "warnings": [*it.puncta.warnings, *remarks],
        "parfocal": __version__,
    }
    draft = target.with_name(f".{target.name}.making")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    write_results(draft, results)
    for name, wanted in (
        ("trajectories.csv", asked.save_tracks),
        ("calcium_events.csv", asked.save_events),
    ):
        if not wanted:
            (draft / name).unlink(missing_ok=True)
    if asked.save_tracks:
        write_mobility_csv(draft / "mobility.csv", followed.mobility)
    _draw(draft / "overlay.png", it, spots, facts)
    (draft / "statistics.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if target.exists():
        shutil.rmtree(target)
    draft.rename(target)
    return facts


def _draw(path: Path, it: Recording, spots: Localizations, facts: dict[str, Any]) -> None:
    from parfocal.cli._localize_picture import draw_localizations

    draw_localizations(path, it.puncta, spots, {**facts, "source": it.name})


def _camera(it: Recording, asked: _Asked) -> tuple[CameraModel, tuple[str, ...]]:
    # An offset by itself leaves photoelectrons to be guessed here, and the guess has an offset of its own.
    if asked.offset_adu is not None and asked.e_per_adu is None:
        raise BadInputError("--offset is told with --electrons-per-adu, or neither is")
    return camera_of(it.puncta, camera_told(asked.offset_adu, asked.e_per_adu))


def _line(one: dict[str, Any]) -> str:
    if one.get("skipped"):
        return f"{one['name']}: done before"
    calcium = "" if one["n_calcium_events"] is None else f", {one['n_calcium_events']} calcium events"
    return (
        f"{one['name']}: {one['n_puncta']} puncta in {one['n_frames']} frames, {one['n_tracks']} tracks "
        f"({one['n_mobile']} mobile, {one['n_immobile']} immobile){calcium}, {one['seconds']:.1f} s"
    )
