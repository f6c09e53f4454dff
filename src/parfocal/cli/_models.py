"""`parfocal models`: what networks there are, which one is used, and what each was made from."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import parfocal
from parfocal.cli._catalog import DataOption, JsonOption, folder_of
from parfocal.errors import BadInputError
from parfocal.learning import ModelCard, ModelEvent, ModelStore, StoredModel, is_half, load_weights, read_pth

NameArgument = Annotated[str, typer.Argument(help="Such as nuclei3d.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the history.")]


_SHOWN_METRICS = 3  # in the list; `show` has all
_WIDE = 110  # columns of a terminal that has room for them


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group."""
    models = typer.Typer(help="The networks: versions, which one is used, and going back.", no_args_is_help=True)
    models.command("list")(list_command)
    models.command("show")(show_command)
    models.command("history")(history_command)
    models.command("promote")(promote_command)
    models.command("rollback")(rollback_command)
    models.command("check")(check_command)
    models.command("import")(import_command)
    app.add_typer(models, name="models")


def store_of(data: Path | None) -> ModelStore:
    """Return the models of a data folder, with those that the package ships."""
    package = Path(parfocal.__file__).parent
    return ModelStore(folder_of(data).root / "models", shipped=sorted(package.glob("*/weights")))


def list_command(
    name: Annotated[str | None, typer.Argument(help="Only of this name.", show_default=False)] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all models; the one that its name stands for is marked."""
    store = store_of(data)
    found = store.models(name)
    if as_json:
        typer.echo(json.dumps([_summary(model) for model in found], ensure_ascii=False))
        return
    if not found:
        raise BadInputError(f"models: there is no {name or 'model'} in {store.folder} nor in the package")
    table = Table(box=None, header_style="bold")
    for column in ("", "name", "version", "hash"):
        table.add_column(column, no_wrap=True, min_width=len(column))
    console = Console(highlight=False)
    is_wide = console.width >= _WIDE
    for column in ("kind", "parent", "made", *(["metrics"] if is_wide else [])):
        table.add_column(column, overflow="fold")
    for model in found:
        card = model.card
        several = [f"{key} {value:.3g}" for key, value in card.metrics.items()]
        metrics = "  ".join(several[:_SHOWN_METRICS] + ["..."] * (len(several) > _SHOWN_METRICS))
        mark = "*" if model.is_current else ""
        kind, parent = str(card.architecture.get("kind")), (card.parent or "")[:12]
        made = card.made[:19] if is_wide else card.made[:10]
        cells = [mark, model.name, model.version, model.weights_sha256[:12], kind, parent, made]
        cells += [metrics] if is_wide else []
        table.add_row(*(_plain(cell) for cell in cells), style="bold" if model.is_current else None)
    console.print(table)
    if not is_wide:
        console.print("metrics of one: parfocal models show NAME", style="dim")


def show_command(
    model: Annotated[str, typer.Argument(help="A name, name@version, a version, or 6 digits of a hash.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the card of a model, and what it was trained from."""
    store = store_of(data)
    found = store.find(model)
    line = store.lineage(found)
    if as_json:
        content = asdict(found.card) | _summary(found)
        typer.echo(json.dumps(content | {"lineage": [_summary(m) for m in line]}, ensure_ascii=False))
        return
    table = Table(box=None, show_header=False)
    card = found.card
    table.add_row("model", _plain(f"{found.name}@{found.version}" + (", current" if found.is_current else "")))
    table.add_row("hash", found.weights_sha256)
    table.add_row("file", _plain(str(found.path)))
    table.add_row("made", card.made)
    for what, values in (("architecture", card.architecture), ("recipe", card.recipe), ("metrics", card.metrics)):
        for n, (key, value) in enumerate(values.items()):
            table.add_row("" if n else what, _plain(f"{key}: {value}"))
    for n, parent in enumerate(line[1:]):
        text = f"{parent.name}@{parent.version} {parent.weights_sha256[:12]}"
        table.add_row("" if n else "trained from", _plain(text))
    if line[-1].card.parent:
        table.add_row("trained from", f"{line[-1].card.parent[:12]}, which is not here")
    if card.data:
        table.add_row("corrections", str(len(card.data)))
    Console(highlight=False).print(table)


def history_command(
    name: Annotated[str | None, typer.Argument(help="Only of this name.", show_default=False)] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what was added, promoted and rolled back, oldest first."""
    events = store_of(data).history(name)
    if as_json:
        typer.echo(json.dumps([asdict(event) for event in events], ensure_ascii=False))
        return
    if not events:
        typer.echo("nothing has happened yet")
        return
    Console(highlight=False).print(_events_table(events))


def promote_command(
    name: NameArgument,
    version: Annotated[str, typer.Argument(help="A version, `shipped`, or 6 digits of a hash.")],
    reason: ReasonOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a version the one that its name stands for."""
    _tell("current", store_of(data).promote(name, version, reason=reason), as_json)


def rollback_command(
    name: NameArgument, reason: ReasonOption = "", data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Go back to the version that was current before this one."""
    _tell("current", store_of(data).rollback(name, reason=reason), as_json)


def check_command(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Hash all weights again, and read all cards."""
    store = store_of(data)
    problems, n_models = store.check(), len(store.models())
    if as_json:
        typer.echo(json.dumps({"models": n_models, "problems": problems}, ensure_ascii=False))
    else:
        for problem in problems:
            typer.echo(problem)
        typer.echo(f"{n_models} models, {len(problems) or 'no'} problem{'' if len(problems) == 1 else 's'}")
    if problems:
        raise typer.Exit(2)


def import_command(
    file: Annotated[
        Path, typer.Argument(help="What `parfocal train` wrote, or PyTorch's torch.save(): a state_dict.")
    ],
    name: Annotated[
        str, typer.Option("--name", help="Such as my-cellpose. Default: as its card says.", show_default=False)
    ] = "",
    version: Annotated[str, typer.Option("--version", help="Default: the time.", show_default=False)] = "",
    promote: Annotated[bool, typer.Option("--promote", help="Make it current at once.")] = False,
    reason: ReasonOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a network that was trained here, or a `.pth` of a U-Net or Cellpose 3, into the store; none is run."""
    store = store_of(data)
    if file.suffix == ".safetensors":
        state, trained = load_weights(file)
        card = replace(trained, name=name or trained.name, version=version)
    else:
        if not name:
            raise BadInputError(f"{file}: has no card that names it; --name does")
        state, architecture = read_pth(file)
        if architecture["kind"] == "unknown":
            raise BadInputError(
                f"{file}: {len(state)} tensors of no known network; expected a U-Net or Cellpose 3's"
            )
        card = ModelCard(name, version, architecture, "", recipe={"imported_from": file.name})
    # As many bits as the file has: the same weights keep the hash that results name.
    added = store.add(state, card, half=is_half(file), reason=reason or f"imported from {file.name}")
    if promote:
        added = store.promote(card.name, added.version, reason=reason)
    _tell("current" if promote else "added", added, as_json)


def _tell(what: str, model: StoredModel, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_summary(model), ensure_ascii=False))
    else:
        typer.echo(f"{what}: {model.name}@{model.version} {model.weights_sha256[:12]}")


def _summary(model: StoredModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "weights_sha256": model.weights_sha256,
        "kind": model.card.architecture.get("kind"),
        "parent": model.card.parent,
        "made": model.card.made,
        "metrics": dict(model.card.metrics),
        "current": model.is_current,
        "shipped": model.is_shipped,
        "path": str(model.path),
    }


def _events_table(events: tuple[ModelEvent, ...]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("time", "event", "name", "version", "hash"):
        table.add_column(column, no_wrap=True)
    table.add_column("reason", overflow="fold")
    for event in events:
        cells = (event.time[:19], event.event, event.name, event.version, event.weights_sha256[:12], event.reason)
        table.add_row(*(_plain(cell) for cell in cells))
    return table


def _plain(text: str) -> str:
    """Return text that rich shows as it is."""
    return text.replace("[", r"\[")
