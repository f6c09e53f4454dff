"""`parfocal review`: the objects to doubt, one key each; or by options, for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import click
import typer
from rich.console import Console
from rich.table import Table

from parfocal.cli._catalog import DataOption, JsonOption, folder_of
from parfocal.cli._review_picture import half_blocks, picture_of, save_picture, terminal_side_px
from parfocal.cli._review_source import Opened, open_folder, open_run
from parfocal.cli._segment import is_run
from parfocal.errors import BadInputError
from parfocal.segmentation.corrections import Correction, ReviewItem, ReviewSession

_KEYS = "a accept  s split  m merge  d delete  n add  r redraw  k skip  u undo  q quit"
_REDRAW = "redraw needs a brush: open it in napari (`parfocal view ... --review`, extra parfocal[napari])"


def add_commands(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("review")(review_command)


def review_command(
    what: Annotated[str, typer.Argument(help="Folder of `parfocal segment`; or a run: uid, newest.")],
    accept: Annotated[list[int] | None, typer.Option("--accept", help="Object that is right.")] = None,
    split: Annotated[list[int] | None, typer.Option("--split", help="Object to split in --parts.")] = None,
    merge: Annotated[list[str] | None, typer.Option("--merge", help="Objects that are one, such as 3,4.")] = None,
    delete: Annotated[list[int] | None, typer.Option("--delete", help="Object that is none.")] = None,
    add: Annotated[list[str] | None, typer.Option("--add", help="z,y,x (voxels) in a missed nucleus.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="First take back the last correction.")] = False,
    parts: Annotated[int, typer.Option("--parts", min=2, help="For --split.")] = 2,
    show_list: Annotated[bool, typer.Option("--list", help="List what to look at, and end.")] = False,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many to look at.")] = 20,
    pictures: Annotated[Path | None, typer.Option("--pictures", help="Folder for a PNG of each.")] = None,
    image: Annotated[str | None, typer.Option("--image", help="The raw file, where it was moved.")] = None,
    labels: Annotated[str, typer.Option("--labels", help="Of a run: which stack, such as labels_0.")] = "",
    user: Annotated[str, typer.Option("--user", help="Who reviews, for the journal.")] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Review the objects to doubt. Edits go to the journal; labels_corrected.ome.zarr follows."""
    folder = folder_of(data)
    is_folder = Path(what).expanduser().is_dir()
    if not is_folder and not is_run(what):
        raise BadInputError(f"{what}: expected a folder that `parfocal segment` made, a run, or `newest`")
    opened = (
        open_folder(Path(what).expanduser(), folder, image, user)
        if is_folder
        else open_run(what, data, labels, user)
    )
    session = opened.session
    asked = [*(accept or []), *(split or []), *(merge or []), *(delete or []), *(add or [])]
    if not asked and not undo and not show_list and not as_json and sys.stdin.isatty():
        try:
            _interactive(opened, number)
        finally:
            session.save(opened.corrected)
        return
    made: list[tuple[str, Correction]] = []
    try:
        if undo:
            made.append(("undone", session.undo()))
        for verb, correct in _told(session, accept, split, merge, delete, add, parts):
            made.append((verb, correct()))
    except BadInputError as error:
        if not made:
            raise
        done = ", ".join(f"{verb} {_line(correction)}" for verb, correction in made)
        raise BadInputError(f"{error}; done before it, and standing: {done}") from error
    finally:  # what was done before one was refused stands
        if made:
            session.save(opened.corrected)
    queue = session.queue(number)
    written = [str(save_picture(session, item, pictures)) for item in queue] if pictures is not None else []
    if as_json:
        typer.echo(json.dumps(_as_dict(opened, made, queue, written), ensure_ascii=False))
        return
    console = Console(highlight=False)
    for verb, correction in made:
        console.print(f"{verb}: {_line(correction)}", markup=False)
    for remark in session.remarks:
        console.print(remark, markup=False, soft_wrap=True)
    if not made or show_list:
        _print_queue(console, session, queue)
    if made:
        console.print(str(opened.corrected), markup=False, soft_wrap=True)


def _told(
    session: ReviewSession,
    accept: list[int] | None,
    split: list[int] | None,
    merge: list[str] | None,
    delete: list[int] | None,
    add: list[str] | None,
    parts: int,
) -> list[tuple[str, Callable[[], Correction]]]:
    """Return what the options ask for; texts that cannot be read are refused before anything is done."""
    asked: list[tuple[str, Callable[[], Correction]]] = []
    asked += [("accepted", partial(session.accept, one)) for one in accept or []]
    asked += [("split", partial(session.split, one, n_parts=parts)) for one in split or []]
    asked += [("merged", partial(session.merge, _ids_in(text))) for text in merge or []]
    asked += [("deleted", partial(session.delete, one)) for one in delete or []]
    asked += [("added", partial(session.add_at, _point(text))) for text in add or []]
    return asked


def _point(text: str) -> tuple[float, float, float]:
    try:
        z, y, x = (float(part) for part in text.split(","))
    except ValueError as error:
        raise BadInputError(f"--add {text!r}: expected z,y,x in voxels, such as 4,120,88") from error
    return z, y, x


def _interactive(opened: Opened, number: int) -> None:
    """Show one object after the other, and do what a key says."""
    session, console = opened.session, Console(highlight=False)
    n_done, last = 0, list[str]()
    while queue := session.queue(number):
        item = queue[0]
        console.clear()
        side = terminal_side_px(console.width, console.height)
        console.print(half_blocks(picture_of(session, item, side)), end="")
        console.print(_describe(item), markup=False)
        for line in last:
            console.print(line, markup=False, soft_wrap=True)
        seen = f"{n_done} of {min(number, n_done + len(queue))} looked at"
        console.print(f"{seen}   {_KEYS}", style="dim", markup=False)
        n_remarks = len(session.remarks)
        done = _on_key(session, item, console)
        if done is None:
            break
        key, said = done
        last = [said, *session.remarks[n_remarks:]]
        n_done = max(0, n_done + {"u": -1, "n": 0}.get(key, 1))  # to add one looks at no object of the queue
        if n_done >= number:
            break
    console.print(
        f"{len(session.corrections())} corrections stand; {opened.corrected}", markup=False, soft_wrap=True
    )


def _on_key(session: ReviewSession, item: ReviewItem, console: Console) -> tuple[str, str] | None:
    """Wait for keys until the object is done with; return the key and what it did, None: quit."""
    one = item.object_id
    actions: dict[str, Callable[[], object]] = {
        "a": lambda: session.accept(one),
        "s": lambda: session.split(one),
        "m": lambda: session.merge([one, *_ids_in(typer.prompt("with object(s)"))]),
        "d": lambda: session.delete(one),
        "n": lambda: session.add_at(_point(typer.prompt("voxel of the missed nucleus, z,y,x"))),
        "k": lambda: session.skip(one),
        "u": session.undo,
    }
    while True:
        key = click.getchar().lower()
        if key in ("q", "\x1b"):
            return None
        if key == "r":
            console.print(_REDRAW, markup=False)
            continue
        if key not in actions:
            continue
        try:
            done = actions[key]()
        except BadInputError as error:
            console.print(str(error), markup=False, style="red")
            continue
        return key, f"done: {_line(done)}" if isinstance(done, Correction) else f"object {one} skipped"


def _ids_in(text: str) -> list[int]:
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise BadInputError(f"{text!r}: expected ids of objects, such as 3,4") from error


def _describe(item: ReviewItem) -> str:
    z, y, x = item.centroid_px
    return "\n".join(
        [
            f"object {item.object_id}  doubt {item.score:.2f}  {item.volume_voxels} voxels"
            f"  at z {z:.0f}, y {y:.0f}, x {x:.0f}",
            *(f"  {reason}" for reason in item.reasons),
        ]
    )


def _line(correction: Correction) -> str:
    kinds = "+".join(correction.kinds)
    return f"{correction.id} {kinds} {_ids(correction.ids_before)} -> {_ids(correction.ids_after)}"


def _ids(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids)) or "none"


def _print_queue(console: Console, session: ReviewSession, queue: list[ReviewItem]) -> None:
    table = Table(box=None, header_style="bold")
    for column in ("object", "doubt", "z", "y", "x", "voxels"):
        table.add_column(column, no_wrap=True, justify="right")
    table.add_column("why", overflow="fold")
    for item in queue:
        places = (f"{at:.0f}" for at in item.centroid_px)
        why = "; ".join(item.reasons).replace("[", r"\[")
        table.add_row(str(item.object_id), f"{item.score:.2f}", *places, str(item.volume_voxels), why)
    console.print(table)
    console.print(f"{len(session.corrections())} corrections of these labels stand")


def _as_dict(
    opened: Opened, made: list[tuple[str, Correction]], queue: list[ReviewItem], pictures: list[str]
) -> dict[str, Any]:
    session = opened.session
    return {
        "reviewed": opened.name,
        "done": [
            {
                "what": verb,
                "correction": correction.id,
                "kinds": list(correction.kinds),
                "ids_before": correction.ids_before,
                "ids_after": correction.ids_after,
            }
            for verb, correction in made
        ],
        "queue": [
            {
                "id": item.object_id,
                "doubt": round(item.score, 4),
                "reasons": item.reasons,
                "centroid_px": [round(at, 1) for at in item.centroid_px],
                "voxels": item.volume_voxels,
            }
            for item in queue
        ],
        "corrections": len(session.corrections()),
        "labels": str(opened.corrected) if opened.corrected.exists() else None,
        "pictures": pictures,
        "remarks": list(session.remarks),
    }
