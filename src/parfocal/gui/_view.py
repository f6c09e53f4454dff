"""`parfocal view`: a run's frames as napari layers, read lazily from where they lie; or its nuclei, for review."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import zarr

from parfocal.catalog import Catalog, DataFolder, open_catalog
from parfocal.errors import BadInputError
from parfocal.frames import path_of


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
    data: Annotated[Path | None, typer.Option("--data", help="The data folder.", show_default=False)] = None,
) -> None:
    """Open a run in napari, its frames read as they are looked at; or, with --review, its nuclei."""
    try:
        import napari  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise BadInputError("napari is not installed here: pip install 'parfocal[napari]'") from error
    if review:
        _review(napari, run, labels, user, DataFolder(data) if data is not None else DataFolder())
        return
    with open_catalog(data) as catalog:
        layers = layers_of(catalog, run)
    show(napari.Viewer(title=f"parfocal {run}"), layers)
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


def show(viewer: Any, layers: list[dict[str, Any]]) -> None:
    """Add layers (see `layers_of`) to a napari viewer, or to its model without a window."""
    for layer in layers:
        viewer.add_image(layer["data"], **{key: value for key, value in layer.items() if key != "data"})


def layers_of(catalog: Catalog, which: str | int) -> list[dict[str, Any]]:
    """Return one image layer for each array of frames in a run: `data` (lazy), `name`, `scale`, limits, metadata.

    Parameters
    ----------
    catalog : Catalog
        Where the run is.
    which : str or int
        Uid, its beginning, or -1 for the newest.

    Raises
    ------
    BadInputError
        The run holds no frames, or they are not on this machine.
    """
    documents = list(catalog.documents(catalog.run(which)))
    pixel_um = _pixel_sizes(documents)
    layers: list[dict[str, Any]] = []
    for name, doc in documents:
        if name != "stream_resource" or doc["data_key"] not in pixel_um:
            continue
        path = path_of(doc["uri"])
        if not path.exists():
            raise BadInputError(f"frames of this run are not at {path}: were they moved or removed?")
        array: Any = zarr.open_array(path, mode="r")
        if array.ndim < 3:
            continue
        low, high = np.percentile(np.asarray(array[array.shape[0] // 2]), (1, 99.8))
        layers.append(
            {
                "data": array,
                "name": doc["data_key"],
                "scale": (1.0, *pixel_um[doc["data_key"]]),
                "contrast_limits": (float(low), float(max(high, low + 1))),
                "metadata": {"uri": doc["uri"]},
            }
        )
    if not layers:
        raise BadInputError(f"run {which} holds no frames to look at")
    return layers


def _pixel_sizes(documents: list[tuple[str, dict[str, Any]]]) -> dict[str, tuple[float, float]]:
    sizes: dict[str, tuple[float, float]] = {}
    for name, doc in documents:
        if name != "descriptor":
            continue
        for key, described in doc["data_keys"].items():
            if described.get("external") and len(described["shape"]) >= 2:
                sizes[key] = (1.0, 1.0)
                for device in doc["configuration"].values():
                    pixel = device["data"].get(f"{key}_pixel_size_um")
                    if pixel is not None:
                        sizes[key] = (float(pixel[0]), float(pixel[1]))
    return sizes
