"""`parfocal view`: a run in napari: frames, labels, puncta, tracks, events; or its nuclei, for review."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from parfocal.catalog import Catalog, DataFolder, open_catalog
from parfocal.errors import BadInputError
from parfocal.gui._frame_layers import frame_layers
from parfocal.gui._layers import Layer, RunLayers
from parfocal.gui._nuclei_layers import nuclei_layers
from parfocal.gui._puncta_layers import puncta_layers

_MAX_POINTS = 200_000
_FOUND = {"nuclei": nuclei_layers, "puncta": puncta_layers}


def view_command(
    run: Annotated[
        str, typer.Argument(help="Uid or how it begins; or `newest`. With --review also a file or folder.")
    ] = "newest",
    review: Annotated[
        bool,
        typer.Option(
            "--review",
            help="Nuclei: find them, review those to doubt, retrain; of a run, a folder of `segment`, a file.",
        ),
    ] = False,
    labels: Annotated[str, typer.Option("--labels", help="Of a run: which stack, such as labels_0.")] = "",
    user: Annotated[str, typer.Option("--user", help="Who reviews, for the journal.")] = "",
    max_points: Annotated[
        int, typer.Option("--max-points", help="Spots, objects and points of tracks to show at most, of each.")
    ] = _MAX_POINTS,
    frames_only: Annotated[
        bool, typer.Option("--frames-only", help="Leave out what analyses found: it opens sooner.")
    ] = False,
    data: Annotated[Path | None, typer.Option("--data", help="The data folder.", show_default=False)] = None,
) -> None:
    """Open a run in napari, read as it is looked at: frames, labels, puncta, tracks, calcium events."""
    try:
        import napari  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise BadInputError("napari is not installed here: pip install 'parfocal[napari]'") from error
    if review:
        _review(napari, run, labels, user, DataFolder(data) if data is not None else DataFolder())
        return
    with open_catalog(data) as catalog:  # open while it is looked at: frames of other machines come through it
        found = layers_of(catalog, run, max_points=max_points, with_analyses=not frames_only)
        for remark in found.remarks:
            typer.echo(remark)
        show(napari.Viewer(title=f"parfocal {found.title}"), found)
        napari.run()


def _review(napari: Any, what: str, labels: str, user: str, data: DataFolder) -> None:
    from parfocal.gui._nuclei_source import open_run, open_source
    from parfocal.gui._nuclei_widget import add_nuclei_widget

    path = Path(what).expanduser()
    opened = open_source(path, data, user) if path.exists() else open_run(data, what, labels, user)
    viewer = napari.Viewer(title=f"parfocal {opened.name}")
    widget = add_nuclei_widget(viewer, opened, data)
    try:
        napari.run()
    finally:
        widget.shut()


def show(viewer: Any, found: RunLayers) -> None:
    """Put layers into a napari viewer, or into its model without a window."""
    shown: list[tuple[Layer, Any]] = []
    for layer in found.layers:
        add = getattr(viewer, f"add_{layer.kind}")
        shown.append((layer, add(layer.data, **layer.options)))
    viewer.dims.axis_labels = found.axis_labels
    names = list(found.axis_labels)
    of_places = [(layer, made) for layer, made in shown if layer.place is not None]
    if not of_places:
        return

    def follow(_event: Any = None) -> None:
        """Show the tracks of the place that is looked at."""
        step = viewer.dims.current_step
        here = tuple(int(step[names.index(axis)]) if axis in names else 0 for axis in ("position", "tile"))
        for layer, made in of_places:
            made.visible = layer.place == here

    viewer.dims.events.current_step.connect(follow)
    follow()


def layers_of(
    catalog: Catalog, which: str | int, *, max_points: int = _MAX_POINTS, with_analyses: bool = True
) -> RunLayers:
    """Return the layers of a run: its frames, and what analyses found in them.

    Frames and labels are read when they are looked at. Of each analysis the newest good result is shown; the
    labels, spots and tracks of an older one where that one is named.

    Parameters
    ----------
    catalog : Catalog
        Where the run is; it has to stay open while frames of another machine are looked at.
    which : str or int
        Uid, its beginning, scan id, or -1 for the newest; of a raw run, or of one derived from it.
    max_points : int
        Rows of each table to show at most; `remarks` say what was left out.
    with_analyses : bool
        Whether to show what was found.

    Raises
    ------
    BadInputError
        The run holds no frames, or they can be had neither from this machine nor through the server.
    """
    if max_points < 1:
        raise BadInputError(f"max_points is {max_points}, expected 1 or more")
    named: Any = catalog.run(which)
    is_derived = "raw" in named.metadata["start"].get("parfocal", {})
    raw: Any = catalog.raw_of(named) if is_derived else named
    documents = list(catalog.documents(raw))
    layers, main = frame_layers(catalog, documents)
    remarks: list[str] = []
    for run in _results(catalog, raw, named if is_derived else None) if with_analyses else []:
        about = run.metadata["start"]["parfocal"]["raw"]
        if (about.get("stream", main.stream), about.get("data_key") or main.data_key) != (
            main.stream,
            main.data_key,
        ):
            remarks.append(f"{run.metadata['start']['parfocal']['analysis']}: is of other frames, and not shown")
            continue
        found, said = _FOUND[run.metadata["start"]["parfocal"]["analysis"]](catalog, run, main, max_points)
        layers += found
        remarks += said
    start = raw.metadata["start"]
    title = " ".join(
        str(word) for word in (start.get("scan_id", ""), start.get("plan_name", ""), start["uid"][:8]) if word
    )
    return RunLayers(title, layers, remarks, main.grid.axis_labels)


def _results(catalog: Catalog, raw: Any, named: Any) -> list[Any]:
    """Return the derived runs to show, lowest first."""
    if named is not None:
        return [named] if named.metadata["start"]["parfocal"].get("analysis") in _FOUND else []
    newest: dict[str, Any] = {}
    derived: list[Any] = list(catalog.analyses_of(raw))
    for run in derived:
        analysis = run.metadata["start"]["parfocal"]["analysis"]
        if analysis in _FOUND and (run.metadata.get("stop") or {}).get("exit_status") == "success":
            newest[analysis] = run
    return [newest[analysis] for analysis in _FOUND if analysis in newest]
