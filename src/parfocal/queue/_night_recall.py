"""What the catalog knows and nobody has told: the last run, and how runs ended that seem to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from parfocal.catalog import DataFolder, find_server, named_site, open_shared_catalog
from parfocal.errors import CatalogError
from parfocal.queue._night_state import NightView, RunView
from parfocal.queue._night_view import COUNTED, SUPERVISOR, heard

_N_LOOKED_AT = 20


def last_runs(folder: DataFolder) -> list[dict[str, Any]]:
    """Return the metadata of the newest raw runs, the newest first.

    None where the folder's own catalog is not served: no server is started, as whoever looks on changes nothing.
    """
    if find_server(folder) is None and named_site() == (None, None):
        return []
    try:
        with open_shared_catalog(folder) as catalog:
            return catalog.recent(_N_LOOKED_AT)
    except CatalogError:  # it went just now
        return []


def recalled(view: NightView, runs: Sequence[Mapping[str, Any]]) -> NightView:
    """Return the view with what the catalog holds of runs.

    A run whose log was left behind, and which somebody has closed in the catalog, goes on no more; where no run
    was heard of, the newest of the catalog is shown, as ended.

    Parameters
    ----------
    view : NightView
        Before.
    runs : sequence of mapping
        `start` and `stop` of raw runs, the newest first.
    """
    for metadata in runs:
        stop = metadata.get("stop")
        if stop and metadata["start"]["uid"] in view.runs:
            view = heard(view, "stop", stop)
    newest = next((one for one in runs if one["start"].get("plan_name") != SUPERVISOR), None)
    if newest is None or view.run is not None:
        return view
    start, stop = newest["start"], newest.get("stop") or {}
    told = heard(NightView(), "start", start).run
    return view if told is None else replace(view, run=_ended(told, stop))


def _ended(run: RunView, stop: Mapping[str, Any]) -> RunView:
    counts = {str(stream): int(n) for stream, n in (stop.get("num_events") or {}).items()}
    return replace(
        run,
        counts=counts,
        n_done=next((counts[stream] for stream in COUNTED if stream in counts), 0),
        exit_status=str(stop.get("exit_status") or "not closed"),
        reason=" ".join(str(stop.get("reason") or "").split()),
        ended_s=float(stop.get("time") or run.began_s),
    )
