"""The demo's second part: puncta of a simulated cell with their calcium, live and replayed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from rich.console import Console
from rich.table import Table

from parfocal.callbacks import Puncta, PunctaParameters, replay
from parfocal.devices import simulated_microscope
from parfocal.errors import CatalogError
from parfocal.plans import image_puncta
from parfocal.session import Session

OTHER_THRESHOLD = "4*std(Wave.F1)"
_CELL_UM = 8.0
_N_FRAMES = 60
_SIDE_PX = 128


@dataclass(frozen=True)
class PunctaShown:
    """What one analysis of the movie came to."""

    mode: str
    threshold: str
    n_localizations: int
    n_tracks: int
    n_events: int
    precision_nm: float
    derived_uid: str


def show_puncta(session: Session, seed: int) -> list[PunctaShown]:
    """Take a movie of puncta and calcium on the simulated microscope; analyze it live, and once more as stored."""
    microscope = session.use(
        simulated_microscope(
            "puncta_microscope",
            sample="puncta",
            seed=seed,
            realtime=False,
            height_px=_SIDE_PX,
            width_px=_SIDE_PX,
        )
    )
    analysis = Puncta(PunctaParameters(), emit=session.writer)
    analysis.frames_root = session.catalog.folder.frames
    token = session.RE.subscribe(analysis)
    uids: list[str] = []
    started = session.RE.subscribe(lambda _, doc: uids.append(doc["uid"]), "start")
    try:
        for axis in (microscope.xyz.x, microscope.xyz.y):
            axis.set(_CELL_UM).wait(10)
        session.run(
            image_puncta(
                cast(Any, microscope),  # ophyd's own types do not fit bluesky's protocols
                ["puncta", "calcium"],
                _N_FRAMES,
                exposure_s=0.05,
                focus_locked=False,
                md={"sample": "simulated puncta"},
            )
        )
    finally:
        for each in (token, started):
            session.RE.unsubscribe(each)
        analysis.close(60)
        microscope.destroy()
    catalog = session.catalog
    if not session.writer.drain(60):
        raise CatalogError(f"the catalog does not hold the puncta yet ({session.writer.last_error})")
    (again,) = replay([uids[0]], "puncta", {"threshold": OTHER_THRESHOLD}, catalog=catalog, writer=session.writer)
    if again.status == "failed":
        raise CatalogError(f"the puncta could not be replayed: {again.reason}")
    session.writer.drain(60)
    return [_shown(run) for run in catalog.analyses_of(uids[0])]


def _shown(run: Any) -> PunctaShown:
    start = run.metadata["start"]
    about, summary = start["parfocal"], run["summary"].read()
    batches = run["batches"].read()
    weights = np.asarray(batches["n_localizations"], float)
    precision_um = np.nan_to_num(np.asarray(batches["precision_um"], float))
    return PunctaShown(
        about["mode"],
        about["parameters"]["threshold"],
        int(summary["n_localizations"][0]),
        int(summary["n_tracks"][0]),
        int(summary["n_events"][0]),
        1e3 * float((weights * precision_um).sum() / max(weights.sum(), 1.0)),
        start["uid"],
    )


def print_puncta(console: Console, shown: list[PunctaShown]) -> None:
    """Print a row an analysis."""
    console.print(f"\n[bold]Puncta and their calcium[/bold], {_N_FRAMES} frames of each")
    table = Table(box=None, header_style="bold")
    for column in ("", "threshold", "localizations", "precision (nm)", "tracks", "calcium events"):
        table.add_column(column, justify="left" if column in ("", "threshold") else "right")
    for one in sorted(shown, key=lambda each: each.mode):
        counts = (one.n_localizations, f"{one.precision_nm:.0f}", one.n_tracks, one.n_events)
        table.add_row(one.mode, one.threshold, *(str(value) for value in counts))
    console.print(table)


def as_rows(shown: list[PunctaShown]) -> list[dict[str, Any]]:
    """Return the same for JSON."""
    return [asdict(one) for one in shown]
