"""The journal of corrections: append-only, with the pixels, so that a model can learn from every line.

::

    corrections/
      journal.jsonl    one line a correction or an undo, with a checksum; never rewritten
      crops/ID.npz     raw pixels, labels before and after (no pickle)

A crop is on disk before its line is; a line is one write. So a process killed at any moment leaves the journal
whole, or with a torn last line that is passed over and named in `remarks`.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.segmentation.corrections._edits import Box, Edit, box_slices
from parfocal.segmentation.corrections._kinds import Kind, Labels, kinds_of
from parfocal.segmentation.corrections._record import Correction, Crop, read_correction, read_entry, written
from parfocal.segmentation.networks import pixel_range


class CorrectionJournal:
    """Corrections in a folder.

    Parameters
    ----------
    folder : path
        Made when the first correction comes.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from parfocal.segmentation.corrections import CorrectionJournal, delete
    >>> labels = np.zeros((4, 16, 16), np.int32)
    >>> labels[1:3, 4:9, 4:9] = 7
    >>> journal = CorrectionJournal(tempfile.mkdtemp())
    >>> made = journal.record(labels * 10, labels, delete(labels, 7), source="a run", voxel_size_um=(2, 0.5, 0.5))
    >>> [kind.value for kind in made.kinds], len(journal.corrections())
    (['delete'], 1)
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._path = self.folder / "journal.jsonl"
        self.remarks: tuple[str, ...] = ()

    def record(
        self,
        image: NDArray[np.generic],
        labels: Labels,
        edit: Edit,
        *,
        source: str,
        voxel_size_um: Sequence[float],
        kind: Kind | str | None = None,
        data_key: str = "",
        stream: str = "",
        model_hash: str | None = None,
        user: str = "",
        weight: float = 1.0,
        note: str = "",
        image_range: tuple[float, float] | None = None,
        labels_hash: str = "",
    ) -> Correction:
        """Write a correction down, with its pixels; what was written before is returned and not written again.

        Parameters
        ----------
        image : real[...]
            Raw pixels of the whole volume.
        labels : int32[...]
            Labels of the whole volume, before or after the edit.
        edit : Edit
            What was done.
        source, data_key, stream, model_hash, user, weight, note, image_range, labels_hash
            See `Correction`; the range is measured where it is not told.
        voxel_size_um : sequence of float
            Size of a voxel along each axis.
        kind : Kind, optional
            What its maker says it is; verified from the masks.

        Raises
        ------
        BadInputError
            Shapes differ, the weight is no positive number, or the masks say another kind than was declared.
        """
        if image.shape != labels.shape:
            raise BadInputError(f"image of shape {image.shape}: expected that of the labels, {labels.shape}")
        if not (np.isfinite(weight) and weight > 0):
            raise BadInputError(f"weight is {weight}, expected a positive number")
        box = _with_margin(edit, labels.shape, voxel_size_um)
        before = labels[box_slices(box)].astype(np.int32)
        after = before.copy()
        inner = tuple(
            slice(start - low, stop - low) for (start, stop), (low, _) in zip(edit.box, box, strict=True)
        )
        before[inner], after[inner] = edit.before, edit.after
        kinds = kinds_of(before, after)
        declared = edit.kind if kind is None else Kind(kind)
        if declared not in kinds:
            raise BadInputError(
                f"correction of object {edit.ids_before}: declared {declared.value}, "
                f"but the masks say {', '.join(kinds)}"
            )
        crop = Crop(np.ascontiguousarray(image[box_slices(box)]), before, after)
        correction = Correction(
            id=_hash(crop, box, source + labels_hash, declared),
            kinds=kinds,
            source=source,
            box=box,
            voxel_size_um=tuple(float(size) for size in voxel_size_um),
            ids_before=edit.ids_before,
            ids_after=edit.ids_after,
            data_key=data_key,
            stream=stream,
            model_hash=model_hash,
            user=user,
            weight=float(weight),
            made=datetime.now(UTC).isoformat(timespec="milliseconds"),
            note=note,
            image_range=image_range or range_of(image),
            labels_hash=labels_hash,
        )
        there = {known.id: known for known in self.corrections()}
        if correction.id in there:
            return there[correction.id]
        self._write_crop(correction.id, crop)
        self._append({"correction": asdict(correction)})
        return correction

    def undo(self, correction_id: str | None = None) -> Correction:
        """Take a correction back, the last one unless told; its line stays, a line that undoes it follows.

        Raises
        ------
        BadInputError
            There is none to undo, or several begin so.
        """
        standing = self.corrections()
        found = [known for known in standing if correction_id is None or known.id.startswith(correction_id)]
        if not found or (correction_id is not None and len(found) > 1):
            what = "nothing to undo" if correction_id is None else f"correction {correction_id}"
            raise BadInputError(f"{what}: {len(found)} of {len(standing)} corrections in {self.folder} fit")
        self._append({"undo": found[-1].id, "made": datetime.now(UTC).isoformat(timespec="milliseconds")})
        return found[-1]

    def corrections(self, source: str | None = None) -> list[Correction]:
        """Return the corrections that stand, oldest first; lines that cannot be read are named in `remarks`."""
        standing: dict[str, Correction] = {}
        for made, stands in self.steps():
            if stands:
                standing[made.id] = made
            else:
                standing.pop(made.id, None)
        return [made for made in standing.values() if source in (None, made.source)]

    def steps(self) -> list[tuple[Correction, bool]]:
        """Return each correction as it was made (True) and as it was undone (False), in the order of the lines."""
        steps: list[tuple[Correction, bool]] = []
        known: dict[str, Correction] = {}
        remarks: list[str] = []
        for number, line in enumerate(self._lines(), start=1):
            if not line.strip():
                continue
            entry = read_entry(line)
            if entry is None:
                remarks.append(f"{self._path}: line {number} is torn or damaged and was passed over")
            elif entry.get("undo") in known:
                steps.append((known[entry["undo"]], False))
            elif "correction" in entry:
                made = read_correction(entry["correction"])
                known[made.id] = made
                steps.append((made, True))
        self.remarks = tuple(remarks)
        return steps

    def crop(self, correction: Correction | str) -> Crop:
        """Return the pixels of a correction.

        Raises
        ------
        BadInputError
            They are missing or damaged.
        """
        path = self._crop_path(correction if isinstance(correction, str) else correction.id)
        try:
            with np.load(path, allow_pickle=False) as stored:
                return Crop(stored["image"], stored["before"], stored["after"])
        except (OSError, ValueError, KeyError, zlib.error) as error:
            raise BadInputError(f"{path}: the pixels of this correction cannot be read ({error})") from error

    def _crop_path(self, correction_id: str) -> Path:
        return self.folder / "crops" / f"{correction_id}.npz"

    def _write_crop(self, correction_id: str, crop: Crop) -> None:
        path = self._crop_path(correction_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, image=crop.image, before=crop.before, after=crop.after)

    def _lines(self) -> list[bytes]:
        try:
            return self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = written(entry)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(handle).st_size
            if size:
                os.lseek(handle, size - 1, os.SEEK_SET)
                if os.read(handle, 1) != b"\n":  # a torn tail must not swallow this line
                    line = b"\n" + line
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)


def range_of(image: NDArray[np.generic]) -> tuple[float, float]:
    """Return what of a whole volume is 0 and 1 for a network."""
    found = pixel_range(image)
    return found.low, found.high


def _with_margin(edit: Edit, shape: tuple[int, ...], voxel_size_um: Sequence[float]) -> Box:
    """Return the edit's box with a margin of one diameter: a network has to see what lies about an object."""
    if len(voxel_size_um) != len(shape) or not all(np.isfinite(v) and v > 0 for v in voxel_size_um):
        raise BadInputError(f"voxel_size_um is {tuple(voxel_size_um)}, expected {len(shape)} positive sizes")
    widths_um = [(stop - start) * size for (start, stop), size in zip(edit.box, voxel_size_um, strict=True)]
    margin_um = max(widths_um)
    return tuple(
        (max(0, start - int(margin_um / size) - 1), min(length, stop + int(margin_um / size) + 1))
        for (start, stop), size, length in zip(edit.box, voxel_size_um, shape, strict=True)
    )


def _hash(crop: Crop, box: Box, source: str, kind: Kind) -> str:
    digest = hashlib.sha256(json.dumps([source, box, kind, crop.image.dtype.str, crop.image.shape]).encode())
    for array in (crop.image, crop.before, crop.after):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
