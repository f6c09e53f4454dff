"""`parfocal segment RUN`: the nuclei of a stored run, as a derived run of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from parfocal.callbacks import replay
from parfocal.catalog import open_catalog
from parfocal.errors import BadInputError


def segment_run(
    run: str, data: Path | None, parameters: dict[str, Any], *, again: bool, as_json: bool, not_for_runs: list[str]
) -> None:
    """Find the nuclei of a run by the analysis `nuclei`; what was found before is shown, not done again.

    Raises
    ------
    BadInputError
        An option is for files alone, there is no such run, or it holds no images.
    """
    if not_for_runs:
        raise BadInputError(f"segment {run}: {', '.join(not_for_runs)} is for files; a run says this itself")
    with open_catalog(data) as catalog:
        (done,) = replay(
            [run],
            "nuclei",
            parameters,
            catalog=catalog,
            if_done="supersede" if again else "skip",
            progress=not as_json,
        )
        if done.status in ("failed", "no_images"):
            raise BadInputError(f"segment {run}: {done.reason}")
        derived: Any = catalog.run(done.derived_uid)
        about = derived.metadata["start"]["parfocal"]["parameters"]
        verdict = (derived.metadata.get("stop") or {}).get("parfocal", {}).get("verdict", "")
    facts = {
        "run": done.uid,
        "derived_run": done.derived_uid,
        "status": done.status,
        "verdict": verdict,
        "backend": about["backend"],
        "model_hash": about["model"],
    }
    if as_json:
        typer.echo(json.dumps(facts))
        return
    console = Console(highlight=False)
    before = " (found before; --overwrite does it again)" if done.status == "skipped" else ""
    console.print(f"{verdict} by {about['backend']} in run {done.uid[:8]}{before}", markup=False)
    console.print(f"derived run {done.derived_uid[:8]}: parfocal review {done.uid[:8]}", markup=False)
