"""A run whose nuclei were segmented, opened for review: labels, raw pixels and doubts, from the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.callbacks._find_analysis import good_analysis
from parfocal.callbacks._run_view import RunView
from parfocal.callbacks.sections import volumes_of
from parfocal.catalog import Catalog, remote_frames
from parfocal.errors import BadInputError, CatalogError
from parfocal.files import read_ome_zarr
from parfocal.frames import Frames
from parfocal.segmentation.corrections import CorrectionJournal, ReviewSession, known_doubts
from parfocal.segmentation.uncertainty import ObjectDoubts

_ANALYSIS = "nuclei"
_PLACE = ("position", "time_point", "tile")


def open_review(catalog: Catalog, run: str, labels: str = "", user: str = "") -> tuple[ReviewSession, Path]:
    """Open the labels of a run for review.

    Parameters
    ----------
    catalog : Catalog
    run : str
        A derived run of `nuclei`, or the raw run that it was made from (then its newest one).
    labels : str
        Which stack, such as `labels_0`; the first where not told.
    user : str
        Who reviews.

    Returns
    -------
    session : ReviewSession
    corrected : Path
        Where `session.save` should put the labels: beside those of the run.

    Raises
    ------
    BadInputError
        The run has no such labels, or not all raw planes of them are there.
    """
    derived: Any = good_analysis(catalog, run, _ANALYSIS)
    documents = list(catalog.documents(derived))
    rows = {row["labels"]: row for row in _rows(documents, "stacks")}
    if not rows:
        raise BadInputError(f"run {run}: {_ANALYSIS} found no stack in it")
    name = labels or next(iter(rows))
    if name not in rows:
        raise BadInputError(f"run {run}: no labels {name!r}; there are {', '.join(rows)}")
    row = rows[name]
    path = volumes_of(documents)[name]
    drawn, voxel_size_um = read_ome_zarr(path)
    about = derived.metadata["start"]["parfocal"]["raw"]
    raw_documents = list(catalog.documents(about["uid"]))
    image = _raw_volume(catalog, raw_documents, about, row, drawn.shape)
    session = ReviewSession(
        drawn.astype(np.int32),
        image,
        voxel_size_um,
        CorrectionJournal(catalog.folder.corrections),
        source=str(about["uid"]),
        data_key=str(about.get("data_key", "")),
        stream=str(about.get("stream", "primary")),
        model_hash=str(row.get("model_hash") or "") or None,
        doubts=_doubts(catalog, derived, row),
        user=user,
    )
    return session, path.with_name(f"{name}_corrected.ome.zarr")


def _rows(documents: Iterable[tuple[str, Any]], stream: str) -> list[Mapping[str, Any]]:
    streams: dict[str, str] = {}
    rows: dict[int, Mapping[str, Any]] = {}
    for name, doc in documents:
        if name == "descriptor":
            streams[doc["uid"]] = doc["name"]
        elif name == "event" and streams[doc["descriptor"]] == stream:
            rows[int(doc["seq_num"])] = doc["data"]
    return [rows[number] for number in sorted(rows)]


def _raw_volume(
    catalog: Catalog,
    documents: list[tuple[str, Any]],
    about: Mapping[str, Any],
    row: Mapping[str, Any],
    shape: tuple[int, ...],
) -> NDArray[np.generic]:
    """Return the raw planes that labels were drawn on: of each plane the last that was taken."""
    view = RunView(documents[0][1], str(about.get("stream", "primary")))
    planes: dict[int, tuple[int, Any]] = {}
    for name, doc in documents:
        if name == "descriptor":
            view.add_descriptor(doc, str(about.get("data_key", "")))
        elif name == "stream_resource":
            view.add_resource(doc)
        elif name == "event" and view.is_ours(doc):
            told = doc["data"]
            at = tuple(int(told.get(f"point_{axis}", 0)) for axis in _PLACE)
            same = at == tuple(int(row[axis]) for axis in _PLACE)
            if same and str(told.get("point_channel", "")) == str(row["channel"]):
                plane = int(told.get("point_plane", doc["seq_num"] - 1))
                planes[plane] = (int(told.get("point_attempt", 1)), doc)
    if len(planes) != shape[0]:
        raise BadInputError(
            f"run {view.uid[:8]}: {len(planes)} raw planes at this place, the labels have {shape[0]}"
        )
    frames = Frames(remote=remote_frames(catalog, documents))
    found = [view.frame_of_event(planes[plane][1], frames) for plane in sorted(planes)]
    return np.stack([np.array(frame.pixels) for frame in found if frame is not None])


def _doubts(catalog: Catalog, derived: Any, row: Mapping[str, Any]) -> ObjectDoubts | None:
    """Return what the run says of its objects; None where the table is not there (yet)."""
    try:
        table: Any = catalog.read_table(str(derived.metadata["start"]["uid"]), "objects").to_pandas()
    except (BadInputError, CatalogError, KeyError):
        return None
    here = np.logical_and.reduce([table[axis] == row[axis] for axis in (*_PLACE, "channel")])
    table = table[here]
    if not {"id", "doubt", "reasons"} <= set(table.columns) or not len(table):
        return None
    return known_doubts(
        table["id"].to_numpy(np.int32),
        table["doubt"].to_numpy(np.float32),
        [str(text) for text in table["reasons"]],
        table[["z_um", "y_um", "x_um"]].to_numpy(np.float64),
    )
