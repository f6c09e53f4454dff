"""The ledger: an event log, and `slice_config.csv` as what it comes to."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.slices.ledger._cells import as_slice_id
from parfocal.slices.ledger._events import LedgerEvent, differences, events_path, events_text, read_events, replay
from parfocal.slices.ledger._fragments import fragment_stamps
from parfocal.slices.ledger._rows import (
    AnyRows,
    apply_stamps,
    extra_columns,
    filter_slices_to_use,
    force_skip_slices,
    read_with_remarks,
    render,
)
from parfocal.slices.ledger._stage import CellValue, StageResult, Stamp

READ, EDITED = "read", "edited outside"


@dataclass(frozen=True)
class SliceLedger:
    """Every decision about every slice, and what they come to.

    A ledger never changes: `apply` and its kind return a new one. `save` writes the CSV and, beside it, the
    events; both are written anew at a new place, so that what a stage was given stays as it was.

    Attributes
    ----------
    rows : mapping of slice id to mapping of column to value
        What is so now; a blank cell is None.
    events : tuple of LedgerEvent
        How it came to be; `replay` of them gives `rows`.
    remarks : tuple of str
        What was unusual about the file it was read from.
    source : Path, optional
        That file.

    Examples
    --------
    >>> ledger = SliceLedger().apply(StageResult("generate", (Stamp("00", "use", True), Stamp("01", "use", True))))
    >>> ledger = ledger.apply(StageResult("assess", (Stamp("01", "use", False), Stamp("01", "notes", "blurred"))))
    >>> ledger.filter_slices_to_use()
    ('00',)
    >>> [(event.stage, dict(event.changes)) for event in ledger.history("01")][-1]
    ('assess', {'use': (True, False), 'notes': (None, 'blurred')})
    """

    rows: AnyRows = field(default_factory=lambda: MappingProxyType({}))
    events: tuple[LedgerEvent, ...] = ()
    remarks: tuple[str, ...] = ()
    source: Path | None = None

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        *,
        lenient: bool = False,
        compat: Literal["linumpy"] | None = None,
    ) -> SliceLedger:
        """Read a `slice_config.csv` and the event log beside it.

        Without a log, what stands in the file becomes the first events, of stage "read". Where the file was
        edited since (in a spreadsheet, by another program), the differences become events of stage "edited
        outside", at the time of the file: nothing is decided without leaving a trace.

        Parameters
        ----------
        path : str or path
            The CSV.
        lenient : bool
            As in `read`; what was guessed stands in `remarks`.
        compat : "linumpy", optional
            Read a file as the original writes it, with CRLF line ends; they stand in `remarks`, and what is
            saved has LF.

        Raises
        ------
        BadInputError
            The CSV or the log cannot be read; the message says where.
        """
        source = Path(path)
        rows, remarks = read_with_remarks(source, lenient=lenient, compat=compat)
        changed_s = round(source.stat().st_mtime, 3)
        log = events_path(source)
        if not log.is_file():
            events = tuple(differences({}, rows, stage=READ, time_s=changed_s))
            return cls(rows, events, remarks, source)
        events, extras = read_events(log)
        try:
            known = replay(events, extras)
        except BadInputError as error:
            raise BadInputError(f"{log}: {error}") from None
        edits = differences(known, rows, stage=EDITED, time_s=changed_s)
        if edits:
            slices = ", ".join(dict.fromkeys(e.slice_id or "the order" for e in edits))
            remarks += (f"edited outside since it was written: {slices}",)
        return cls(rows, events + tuple(edits), remarks, source)

    def apply(
        self,
        result: StageResult | Iterable[Stamp],
        *,
        stage: str = "",
        run_uid: str = "",
        time_s: float | None = None,
    ) -> SliceLedger:
        """Return the ledger after a stage; only what it changes becomes an event.

        Parameters
        ----------
        result : StageResult, or iterable of Stamp
            What was decided.
        stage : str
            Who decided, where `result` does not say.
        run_uid : str
            In which run.
        time_s : float, optional
            When, seconds since 1970; now by default.

        Raises
        ------
        BadInputError
            A stamp does not fit its column, is a raw metric, or is of a slice that is not there and is not
            stamped with `use` here.
        """
        stamps = result.stamps if isinstance(result, StageResult) else tuple(result)
        name = (result.stage if isinstance(result, StageResult) else "") or stage
        if not name:
            raise BadInputError("a ledger: who stamps? A stage's name was expected")
        unknown = dict.fromkeys(sid for one in stamps if (sid := as_slice_id(one.slice_id)) not in self.rows)
        if unknown:
            for one in stamps:
                if one.column == "use":
                    unknown.pop(as_slice_id(one.slice_id), None)
        for sid in unknown:
            raise BadInputError(f"{name}: slice {sid} is not in the ledger; it has {_range(self.rows)}")
        rows = apply_stamps(self.rows, stamps)
        when_s = round(time.time() if time_s is None else time_s, 3)
        events = differences(self.rows, rows, stage=name, time_s=when_s, run_uid=run_uid)
        return SliceLedger(rows, self.events + tuple(events), self.remarks, self.source)

    def stamp(
        self,
        slice_id: object,
        values: Mapping[str, CellValue],
        *,
        stage: str,
        append_notes: bool = False,
        run_uid: str = "",
        time_s: float | None = None,
    ) -> SliceLedger:
        """Return the ledger with columns of one slice set; with `append_notes`, notes are joined with `"; "`."""
        sid = as_slice_id(slice_id)
        stamps = [Stamp(sid, name, value, append_notes and name == "notes") for name, value in values.items()]
        return self.apply(stamps, stage=stage, run_uid=run_uid, time_s=time_s)

    def append_notes(
        self, slice_id: object, note: str, *, stage: str, run_uid: str = "", time_s: float | None = None
    ) -> SliceLedger:
        """Return the ledger with a note joined to those of a slice."""
        return self.stamp(
            slice_id, {"notes": note}, stage=stage, append_notes=True, run_uid=run_uid, time_s=time_s
        )

    def merge_fragments(
        self,
        fragments: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        stage: str = "interpolate",
        run_uid: str = "",
        time_s: float | None = None,
    ) -> SliceLedger:
        """Return the ledger with the manifests of slices that were interpolated one by one merged into it."""
        stamps = fragment_stamps(self.rows, fragments)
        return self.apply(stamps, stage=stage, run_uid=run_uid, time_s=time_s)

    def filter_slices_to_use(self) -> tuple[str, ...]:
        """Return the ids of the slices to use; `BadInputError` where there is none."""
        return tuple(filter_slices_to_use(self.rows))

    def force_skip_slices(self) -> tuple[str, ...]:
        """Return the ids of the slices that stacking must place by the motor alone."""
        return tuple(sid for sid, row in force_skip_slices(self.rows).items() if row["force_skip"])

    def history(self, slice_id: object) -> tuple[LedgerEvent, ...]:
        """Return what happened to one slice, oldest first.

        Raises
        ------
        BadInputError
            No such slice was ever here.
        """
        sid = as_slice_id(slice_id)
        found = tuple(event for event in self.events if event.slice_id == sid)
        if not found:
            raise BadInputError(f"slice {sid} is not in the ledger; it has {_range(self.rows)}")
        return found

    def save(self, path: str | os.PathLike[str], *, replace: bool = False) -> Path:
        """Write the CSV and its event log at a new place; return where the CSV is.

        Parameters
        ----------
        path : str or path
            The CSV to write; the log stands beside it (`events_path`).
        replace : bool
            Replace files that are there. What the ledger was read from is never replaced.

        Raises
        ------
        BadInputError
            The file is there already, or it is the one that this ledger was read from; nothing is written.
        """
        target = Path(path)
        if self.source is not None and target.resolve() == self.source.resolve():
            raise BadInputError(f"{target}: is what was read; write to a new file")
        log = events_path(target)
        for one in (target, log):
            if one.exists() and not replace:
                raise BadInputError(f"{one}: is there already; a new file is written each time")
        table, events = render(self.rows), events_text(self.events, extra_columns(self.rows))
        is_new = not log.exists()
        try:
            # The log is in place before the CSV: a CSV is never without the events behind it.
            with write_atomically(target) as temporary, write_atomically(log) as temporary_log:
                temporary.write_text(table, encoding="utf-8", newline="\n")
                temporary_log.write_text(events, encoding="utf-8", newline="\n")
        except BaseException:
            if is_new and not target.exists():
                log.unlink(missing_ok=True)
            raise
        return target


def _range(rows: AnyRows) -> str:
    ids = list(rows)
    return "none" if not ids else ids[0] if len(ids) == 1 else f"{len(ids)}, {ids[0]} to {ids[-1]}"
