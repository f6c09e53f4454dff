"""The derived run that people mean when they name a run."""

from __future__ import annotations

from typing import Any

from parfocal.catalog import Catalog
from parfocal.errors import BadInputError


def good_analysis(catalog: Catalog, run: str, analysis: str) -> Any:
    """Return a derived run of an analysis: the one that is named, or the newest good one of a raw run.

    Raises
    ------
    BadInputError
        The run is of another analysis, or there is no good result of this one.
    """
    found: Any = catalog.run(run)
    about = found.metadata["start"].get("parfocal", {})
    if "raw" in about:
        if about.get("analysis") != analysis:
            raise BadInputError(f"run {run}: is of {about.get('analysis')}, expected one of {analysis}")
        return found
    analyses: list[Any] = list(catalog.analyses_of(found))
    done = [
        one
        for one in analyses
        if one.metadata["start"]["parfocal"]["analysis"] == analysis
        and (one.metadata.get("stop") or {}).get("exit_status") == "success"
    ]
    if not done:
        command = f"parfocal replay {run} --analysis {analysis}"
        raise BadInputError(f"run {run}: no good result of {analysis}; `{command}` makes one")
    return done[-1]
