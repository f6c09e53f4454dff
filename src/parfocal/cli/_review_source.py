"""What `parfocal review` opens: the folder that `parfocal segment` made, or a run that was segmented."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from parfocal.catalog import DataFolder
from parfocal.segmentation.corrections import CorrectionJournal, ReviewSession, open_segmented


@dataclass(frozen=True)
class Opened:
    """A session, and where its labels go."""

    session: ReviewSession
    corrected: Path
    name: str


def open_folder(folder: Path, data: DataFolder, image: str | None, user: str) -> Opened:
    """Open the folder that `parfocal segment` made; see `open_segmented`."""
    found = open_segmented(folder, CorrectionJournal(data.corrections), image, user)
    return Opened(found.session, found.corrected, str(folder))


def open_run(run: str, data: Path | None, labels: str, user: str) -> Opened:
    """Open a run whose nuclei were segmented."""
    from parfocal.callbacks import open_review
    from parfocal.catalog import open_catalog

    with open_catalog(data) as catalog:
        session, corrected = open_review(catalog, run, labels, user)
    return Opened(session, corrected, run)
