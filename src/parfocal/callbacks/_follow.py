r"""Analyses in a process of their own: every run once, as it goes on where that can be, else from the catalog.

::

    0MQ, Kafka --documents--> LiveRuns --> analyses ------\
    Tiled's stream --notices--\    | something was lost    +--> CatalogWriter --> derived runs
    every few seconds ---------+-> take it from the catalog/

The catalog is the truth: a derived run names its raw run and the hash of what it depends on, so that what was
done is known to whoever asks. What comes over a wire only makes it sooner.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial

from parfocal.callbacks._follow_catalog import FollowedRun
from parfocal.callbacks._follow_place import WantedAnalysis, alone, begin_s, note, places_of
from parfocal.callbacks._follow_sources import Source
from parfocal.callbacks._follower import Follower, FollowState
from parfocal.catalog import Catalog, CatalogWriter, recover
from parfocal.errors import BadInputError, CatalogError

_DRAIN_S = 120.0


def follow(
    catalog: Catalog,
    wanted: Iterable[WantedAnalysis],
    source: Source | None = None,
    *,
    since_s: float | None = None,
    once: bool = False,
    until: threading.Event | None = None,
    tell: Callable[[FollowedRun], object] = lambda run: None,
    say: Callable[[str], object] = lambda line: None,
    show: Callable[[FollowState], object] = lambda state: None,
    patience_s: float = 10.0,
    poll_s: float = 2.0,
) -> FollowState:
    """Analyse every raw run once, those that are there and those that come, and write the derived runs.

    Parameters
    ----------
    catalog
        Where runs are, and where results go.
    wanted
        Analyses with their parameters; several at once share the documents.
    source
        Gives documents or notices as they come, such as `partial(zmq_source, address)`. Without one the catalog
        is asked every `poll_s`.
    since_s
        Runs that began before, s since the epoch, are left alone. Default: where these analyses had come to when
        they followed last, less a day; a day ago the first time.
    once
        Do what is there, and end; runs that are under way are left.
    until
        Ends it when set: what is in hand is finished, runs that are under way are left to the next time.
    tell
        Gets each result.
    say
        Gets lines for people.
    show
        Gets the state whenever it has changed.
    patience_s
        A run that was not heard of for so long is looked up in the catalog: its end may have been lost.
    poll_s
        How often the catalog is asked where nobody gives word; a tenth as often where somebody does.

    Returns
    -------
    FollowState
        At the end.

    Raises
    ------
    BadInputError
        An analysis or parameter is unknown, is wanted twice, or another process follows with the same.
    CatalogError
        What a process that died had left could not be brought into the catalog.
    """
    asked = list(wanted)
    if not asked:
        raise BadInputError("follow: no analysis was named")
    stop = until if until is not None else threading.Event()
    writer = CatalogWriter(catalog)
    follower: Follower | None = None
    try:
        follower = Follower(catalog, writer, asked, source, tell, say, show, patience_s, poll_s)
        places = places_of(catalog.folder, follower.analyses)
        if len(set(places)) < len(places):
            raise BadInputError("follow: an analysis is wanted twice with the same parameters")
        with alone(places):
            _mend(catalog, {one.name for one in asked}, say)
            state = follower.run(begin_s(places, since_s), once, stop, partial(note, places))
            if not writer.drain(_DRAIN_S):
                raise CatalogError(
                    f"follow: results are not all in the catalog ({writer.last_error}); parfocal recover mends it"
                )
    finally:
        writer.close(5.0)
        if follower is not None:
            follower.close()
    return state


def _mend(catalog: Catalog, names: set[str], say: Callable[[str], object]) -> None:
    """Bring into the catalog what a process like this one left when it died, whole or half done."""
    for one in recover(catalog=catalog, only=lambda start: (start.get("parfocal") or {}).get("analysis") in names):
        if one.outcome == "failed":
            raise CatalogError(f"derived run {one.uid}: {one.problem}; parfocal recover tells more")
        if one.outcome == "written" and not one.table:
            end = "was whole" if one.exit_status != "abort" else "was half done, and will be done again"
            say(f"recovered derived run {one.uid[:8]} of a process that died: it {end}")
