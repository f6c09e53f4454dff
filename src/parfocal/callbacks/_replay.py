"""Stored runs through the same analyses, in the order they were taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tiled.queries import Key

from parfocal.callbacks._analysis import Analysis, NoParameters
from parfocal.callbacks._run_view import image_key
from parfocal.callbacks.calibration import CalibrationParameters, FocusCalibration
from parfocal.callbacks.characterization import BenchCharacterization
from parfocal.callbacks.focus import FocusParameters, FocusScores
from parfocal.callbacks.puncta import Puncta, PunctaParameters
from parfocal.callbacks.sections import SectionParameters, SectionStages
from parfocal.callbacks.segmentation import Nuclei, NucleiParameters
from parfocal.callbacks.slices import SliceAudit, SliceParameters
from parfocal.catalog import Catalog, CatalogWriter, open_catalog, remote_frames
from parfocal.errors import BadInputError, CatalogError
from parfocal.frames import FrameRing, Frames

ANALYSES: dict[str, tuple[type[Analysis], type[Any]]] = {
    "focus_scores": (FocusScores, FocusParameters),
    "focus_calibration": (FocusCalibration, CalibrationParameters),
    "characterization": (BenchCharacterization, NoParameters),
    "slice_audit": (SliceAudit, SliceParameters),
    "section_stages": (SectionStages, SectionParameters),
    "nuclei": (Nuclei, NucleiParameters),
    "puncta": (Puncta, PunctaParameters),
}
"""Analyses by name, each with the dataclass of its parameters."""

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
IfDone = Literal["skip", "supersede"]


@dataclass(frozen=True)
class Replayed:
    """What became of one run.

    `status` is `done`, `skipped` (the same analysis with the same parameters exists), `no_images`, or
    `failed`, with the reason. `derived_uid` is the derived run's, empty where there is none.
    """

    uid: str
    status: Literal["done", "skipped", "no_images", "failed"]
    derived_uid: str = ""
    reason: str = ""


def analysis_named(name: str, parameters: Mapping[str, Any] | None = None, **kwargs: Any) -> Analysis:
    """Make an analysis from its name and parameters as text or numbers.

    Raises
    ------
    BadInputError
        There is no such analysis or parameter, or a value is of the wrong kind; the message lists what there is.
    """
    if name not in ANALYSES:
        raise BadInputError(f"analysis {name!r} is unknown, there are: {', '.join(sorted(ANALYSES))}")
    cls, parameter_class = ANALYSES[name]
    return cls(_parameters(name, parameter_class, parameters or {}), **kwargs)


def _parameters(name: str, parameter_class: type[Any], given: Mapping[str, Any]) -> Any:
    known = {f.name: f for f in fields(parameter_class)}
    hints = get_type_hints(parameter_class)
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise BadInputError(f"{name} has no parameter {key!r}, there are: {', '.join(known)}")
        kind = hints[key]
        if get_origin(kind) in (Union, UnionType):  # float | Literal["auto"]: one of its words, or a number
            kind, words = get_args(kind)
            if value in get_args(words):
                values[key] = value
                continue
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise BadInputError(f"{name}: {key}={value!r} is none of {', '.join(map(str, get_args(kind)))}")
            values[key] = value
            continue
        if kind is bool and isinstance(value, str):
            if value.lower() not in _BOOLEANS:
                raise BadInputError(f"{name}: {key}={value!r} is neither true nor false")
            value = _BOOLEANS[value.lower()]
        try:
            values[key] = kind(value)
        except (TypeError, ValueError) as error:
            raise BadInputError(f"{name}: {key}={value!r} is no {kind.__name__}") from error
    return parameter_class(**values)


def replay(
    runs: Iterable[Any],
    analysis: str | type[Analysis] | Callable[[str, dict[str, Any]], Any],
    parameters: Mapping[str, Any] | None = None,
    *,
    catalog: Catalog,
    writer: CatalogWriter | None = None,
    if_done: IfDone = "skip",
    scheduler: str | None = None,
    progress: bool = False,
) -> list[Replayed]:
    """Send stored runs through an analysis, in the live order, and write the derived runs.

    Parameters
    ----------
    runs : iterable
        Uids (or their beginnings), or run clients.
    analysis : str, Analysis class, or callable
        A name in `ANALYSES`, a class of your own, or anything that takes `(name, doc)`, which then gets the
        documents and writes what it likes.
    parameters : mapping, optional
        For a named analysis, as text or numbers.
    catalog : Catalog
        Where the runs are, and where results go.
    writer : CatalogWriter, optional
        Writes the derived runs; made and closed here where none is given.
    if_done : {"skip", "supersede"}
        What to do when the same analysis with the same parameters exists.
    scheduler : str, optional
        Address of a Dask scheduler (`tcp://...`), for many runs and a named analysis; its workers must see the
        same data folder.
    progress : bool
        Show a bar.

    Returns
    -------
    list of Replayed
        One a run, in the order given.

    Raises
    ------
    BadInputError
        The analysis or a parameter is unknown.
    CatalogError
        The results could not be written.
    """
    uids = [_uid(catalog, run) for run in runs]
    if scheduler is not None:
        if not isinstance(analysis, str):
            raise BadInputError("replay: a scheduler needs an analysis by name, so that its workers can make it")
        analysis_named(analysis, parameters).close()  # refuse here, not in a worker
        return _on_cluster(uids, analysis, dict(parameters or {}), catalog, if_done, scheduler, progress)
    make = _maker(analysis, parameters)
    own = CatalogWriter(catalog) if make is not None and writer is None else None
    results: list[Replayed] = []
    try:
        with _bar(progress) as bar:
            task = bar.add_task("replay", total=len(uids))
            for uid in uids:
                if make is None:
                    results.append(_documents_only(uid, analysis, catalog))
                else:
                    results.append(_replay_one(uid, make, catalog, writer or own, if_done))
                bar.advance(task)
        if own is not None and not own.drain(120):
            raise CatalogError(
                f"replay: results are not all in the catalog ({own.last_error}); parfocal recover mends it"
            )
    finally:
        if own is not None:
            own.close()
    return results


def _maker(analysis: Any, parameters: Mapping[str, Any] | None) -> Callable[..., Analysis] | None:
    """Return what makes a fresh analysis for each run; None for a plain receiver of documents."""
    if isinstance(analysis, str):
        analysis_named(analysis, parameters).close()  # refuse before the first run, not at it
        return partial(analysis_named, analysis, parameters)
    if parameters:
        raise BadInputError("replay: parameters go with an analysis by name; give yours to its own class")
    if isinstance(analysis, type) and issubclass(analysis, Analysis):
        return analysis
    return None


def _documents_only(uid: str, callback: Any, catalog: Catalog) -> Replayed:
    for name, doc in catalog.documents(uid):
        callback(name, doc)
    return Replayed(uid, "done")


def _replay_one(
    uid: str, make: Callable[..., Analysis], catalog: Catalog, writer: CatalogWriter | None, if_done: IfDone
) -> Replayed:
    try:
        documents = list(catalog.documents(uid))
    except Exception as error:  # one run that cannot be read must not keep the others
        return Replayed(uid, "failed", reason=_line(error))
    derived: list[tuple[str, dict[str, Any]]] = []

    def emit(name: str, doc: dict[str, Any]) -> None:
        if name in ("start", "stop"):
            derived.append((name, doc))
        if writer is not None:
            writer(name, doc)

    # Found on this machine's disk, or else asked of the server.
    frames = Frames(FrameRing(1), remote_frames(catalog, documents))
    emit_rows = writer.append_rows if writer is not None else None
    analysis = make(emit=emit, emit_rows=emit_rows, frames=frames, mode="replay", overflow="wait")
    analysis.frames_root = catalog.folder.frames
    try:
        target = _target(documents, analysis)
        if target is None:
            return Replayed(uid, "no_images", reason=f"stream {analysis.stream!r} holds no images")
        existing = _existing(catalog, analysis.hash_for(uid, *target))
        if existing and if_done == "skip":
            return Replayed(uid, "skipped", existing)
        analysis.supersedes = existing
        for name, doc in documents:
            analysis(name, doc)
        analysis.drain()
    finally:
        analysis.close()
    if not derived:
        return Replayed(uid, "no_images", reason="no frame was found")
    stop = derived[-1][1]
    failed = stop.get("exit_status") != "success"
    return Replayed(uid, "failed" if failed else "done", derived[0][1]["uid"], stop.get("reason", ""))


def _existing(catalog: Catalog, parameters_hash: str) -> str:
    """Return the uid of the newest good result of this hash; empty where there is none."""
    found = catalog.analysis.search(Key("start.parfocal.parameters_hash") == parameters_hash)
    good = found.search(Key("stop.exit_status") == "success")
    uids = list(good)
    return str(uids[-1]) if uids else ""


def _target(documents: list[tuple[str, dict[str, Any]]], analysis: Analysis) -> tuple[str, str] | None:
    start = documents[0][1]
    for name, doc in documents:
        if name == "descriptor" and doc["name"] == analysis.stream and (key := image_key(doc, start)):
            return analysis.stream, key
    return None


def _on_cluster(
    uids: list[str],
    name: str,
    parameters: dict[str, Any],
    catalog: Catalog,
    if_done: IfDone,
    scheduler: str,
    progress: bool,
) -> list[Replayed]:
    from distributed import Client

    data = str(catalog.folder.root)
    with Client(scheduler) as client, _bar(progress) as bar:
        task = bar.add_task("replay", total=len(uids))
        futures = [
            client.submit(replay_in_worker, uid, name, parameters, data, if_done, pure=False) for uid in uids
        ]
        results: list[Replayed] = []
        for future in futures:
            results.append(future.result())
            bar.advance(task)
        return results


def replay_in_worker(uid: str, name: str, parameters: dict[str, Any], data: str, if_done: IfDone) -> Replayed:
    """Replay one run in a process of a cluster, which opens the same data folder."""
    with open_catalog(data) as catalog:
        return replay([uid], name, parameters, catalog=catalog, if_done=if_done)[0]


def _uid(catalog: Catalog, run: Any) -> str:
    found: Any = catalog.run(run) if isinstance(run, str | int) else run
    return str(found.metadata["start"]["uid"])


def _bar(shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), disable=not shown
    )


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
