"""Stored runs through the same analyses, in the order they were taken."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import partial
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from parfocal.callbacks._analysis import Analysis, NoParameters
from parfocal.callbacks._claims import Claims
from parfocal.callbacks._replay_run import MakeAnalysis, Replayed, in_a_line, replay_run
from parfocal.callbacks._standing import IfDone, is_owed, standings
from parfocal.callbacks.calibration import CalibrationParameters, FocusCalibration
from parfocal.callbacks.characterization import BenchCharacterization
from parfocal.callbacks.focus import FocusParameters, FocusScores
from parfocal.callbacks.puncta import Puncta, PunctaParameters
from parfocal.callbacks.sections import SectionParameters, SectionStages
from parfocal.callbacks.segmentation import Nuclei, NucleiParameters
from parfocal.callbacks.slices import SliceAudit, SliceParameters
from parfocal.catalog import Catalog, CatalogWriter
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
_WHOLE_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_N_AHEAD = 2
_ASKED_AT_ONCE = 50


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
        if get_origin(kind) in (Union, UnionType):  # float | Literal["auto"], float | None: that, or a number
            kind, words = get_args(kind)
            if value in ((None,) if words is NoneType else get_args(words)):
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
            if kind is int and isinstance(value, float) and not value.is_integer():
                raise ValueError(value)
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
    on_result: Callable[[Replayed], None] | None = None,
) -> list[Replayed]:
    """Send stored runs through an analysis, in the live order, and write the derived runs.

    A result is claimed while it is made: of several processes that replay the same run with the same parameters
    at once, one does it, and the others skip it. What a process that died has left of a result is recovered first,
    and then counts where it is whole.

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
        same data folder, and the same catalog. A run whose worker dies is done by another.
    progress : bool
        Show a bar on stderr.
    on_result : callable, optional
        Told of each run as soon as it is done, in whatever order.

    Returns
    -------
    list of Replayed
        One a run, in the order given; a run that is named twice is done once.

    Raises
    ------
    BadInputError
        The analysis or a parameter is unknown, or there is no scheduler.
    CatalogError
        The results could not be written, or a worker does not see the data folder.
    """
    make = _maker(analysis, parameters)
    uids = list(dict.fromkeys(_uids(catalog, runs)))
    done = _done(uids, make, catalog) if make is not None and if_done == "skip" else {}
    with _bar(progress) as bar:
        task = bar.add_task("replay", total=len(uids))

        def told(result: Replayed) -> None:
            bar.advance(task)
            if on_result is not None:
                on_result(result)

        for one in done.values():
            told(one)
        left = [uid for uid in uids if uid not in done]
        if scheduler is not None:
            if not isinstance(analysis, str) or make is None:
                raise BadInputError(
                    "replay: a scheduler needs an analysis by name, so that its workers can make it"
                )
            from parfocal.callbacks._replay_cluster import replay_on_cluster  # Dask, where it is asked for

            results = replay_on_cluster(left, make, catalog, if_done, scheduler, told)
        elif make is None:
            results: list[Replayed] = []
            for uid in left:
                results.append(_documents_only(uid, analysis, catalog))
                told(results[-1])
        else:
            results = _replay_here(left, make, catalog, writer, if_done, told) if left else []
    known = done | {one.uid: one for one in results}
    return [known[uid] for uid in uids]


def _done(uids: Sequence[str], make: MakeAnalysis, catalog: Catalog) -> dict[str, Replayed]:
    """Return the runs whose result is there, without reading them: many are asked for at once."""
    analysis = make(frames=Frames(FrameRing(1)), mode="replay")
    analysis.frames_root = catalog.folder.frames
    try:
        done: dict[str, Replayed] = {}
        for first in range(0, len(uids), _ASKED_AT_ONCE):
            held = standings(catalog, uids[first : first + _ASKED_AT_ONCE], analysis)
            done |= {uid: Replayed(uid, "skipped", one.good) for uid, one in held.items() if one.good}
        return done
    finally:
        analysis.close()


def _replay_here(
    uids: Sequence[str],
    make: MakeAnalysis,
    catalog: Catalog,
    writer: CatalogWriter | None,
    if_done: IfDone,
    told: Callable[[Replayed], None],
) -> list[Replayed]:
    results: list[Replayed] = []
    own = CatalogWriter(catalog) if writer is None else None
    used = writer if own is None else own
    assert used is not None  # noqa: S101  (one of the two is there)

    def read(uid: str) -> list[tuple[str, dict[str, Any]]]:
        return list(catalog.documents(uid))

    ahead = ThreadPoolExecutor(1, thread_name_prefix="replay-documents")
    coming = deque(ahead.submit(read, uid) for uid in uids[:_N_AHEAD])
    claims = Claims(catalog.folder, used)
    try:
        for n, uid in enumerate(uids):
            # The server gets the documents of the next ones together while this one is looked at.
            coming.extend(ahead.submit(read, one) for one in uids[n + _N_AHEAD : n + _N_AHEAD + 1])
            try:
                documents = coming.popleft().result()
            except Exception as error:  # one run that cannot be read must not keep the others
                results.append(Replayed(uid, "failed", reason=in_a_line(error)))
            else:
                results.append(replay_run(uid, documents, make, catalog, used, claims, is_owed(if_done)))
            told(results[-1])
        claims.settle()
    except CatalogError as error:
        raise CatalogError(f"replay: {error}") from error
    finally:
        ahead.shutdown(cancel_futures=True)
        claims.close()
        if own is not None:
            own.close()
    return results


def _maker(analysis: Any, parameters: Mapping[str, Any] | None) -> MakeAnalysis | None:
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


def _uids(catalog: Catalog, runs: Iterable[Any]) -> Iterator[str]:
    for run in runs:
        if isinstance(run, str) and _WHOLE_UID.fullmatch(run):  # as a search gives them: no request to ask again
            yield run
        else:
            found: Any = catalog.run(run) if isinstance(run, str | int) else run
            yield str(found.metadata["start"]["uid"])


def _bar(shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),  # what is asked for goes to stdout, as text or as JSON
        disable=not shown,
    )
