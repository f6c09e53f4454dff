"""Review of one segmentation: a queue of doubtful objects, one click each; terminal, napari and API share it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import write_ome_zarr
from parfocal.segmentation._segmentation import Segmentation
from parfocal.segmentation.corrections import _edits as edits
from parfocal.segmentation.corrections._edits import Box, Edit, box_slices
from parfocal.segmentation.corrections._grown import grown_mask, stands_out_by
from parfocal.segmentation.corrections._journal import CorrectionJournal, range_of
from parfocal.segmentation.corrections._kinds import Labels
from parfocal.segmentation.corrections._record import Correction
from parfocal.segmentation.uncertainty import ObjectDoubts, most_uncertain, object_doubts

Voxel = tuple[float, float, float]
_FAINT = 2.0
"""Noise alone comes to 1.5 at most (`stands_out_by`)."""


@dataclass(frozen=True)
class ReviewItem:
    """An object of the queue.

    Parameters
    ----------
    object_id : int
        In the labels.
    score : float
        Its doubt, 0 to 1.
    reasons : tuple of str
        Why, the strongest first.
    centroid_px : (float, float, float)
        z, y, x, voxels.
    volume_voxels : int
    box : sequence of (start, stop)
        Where it lies.
    """

    object_id: int
    score: float
    reasons: tuple[str, ...]
    centroid_px: tuple[float, float, float]
    volume_voxels: int
    box: Box


class ReviewSession:
    """Labels under review. Every edit is in the journal before `labels` change.

    The journal alone says what was corrected: a session that is opened again on the same labels makes all
    corrections of them that stand once more, and goes on from there.

    Parameters
    ----------
    labels : int32[z, y, x]
        As the model drew them; they are copied, never changed.
    image : real[z, y, x]
        Raw pixels.
    voxel_size_um : (float, float, float)
        z, y, x.
    journal : CorrectionJournal
    source : str
        Uid of the raw run, or SHA-256 of a file's pixels (`pixels_hash`).
    data_key, stream : str
        Of the images in the run.
    model_hash : str, optional
        Of the model that drew the labels.
    doubts : ObjectDoubts, optional
        From `object_doubts` while the network's output was at hand; else told from shapes and sizes.
    user : str
        Who reviews.

    Raises
    ------
    BadInputError
        Shapes differ, or are not those of a volume.
    """

    def __init__(
        self,
        labels: Labels,
        image: NDArray[np.generic],
        voxel_size_um: Sequence[float],
        journal: CorrectionJournal,
        *,
        source: str,
        data_key: str = "",
        stream: str = "",
        model_hash: str | None = None,
        doubts: ObjectDoubts | None = None,
        user: str = "",
    ) -> None:
        if labels.ndim != 3 or image.shape != labels.shape or len(voxel_size_um) != 3:
            raise BadInputError(
                f"review: labels of shape {labels.shape}, image of {image.shape}, voxel size "
                f"{tuple(voxel_size_um)}: expected one shape (z, y, x)"
            )
        self.image = image
        self.voxel_size_um: Voxel = (float(voxel_size_um[0]), float(voxel_size_um[1]), float(voxel_size_um[2]))
        self.journal = journal
        self.labels_hash = labels_hash(labels)
        self.labels: Labels = labels.astype(np.int32, copy=True)
        self._about: dict[str, Any] = {
            "source": source,
            "voxel_size_um": self.voxel_size_um,
            "data_key": data_key,
            "stream": stream,
            "model_hash": model_hash,
            "user": user,
            "labels_hash": self.labels_hash,
            "image_range": range_of(image),
        }
        self._first_new = int(labels.max(initial=0)) + 1
        self.doubts = doubts or object_doubts(Segmentation(self.labels, self.voxel_size_um, "", model_hash))
        self._ranked = most_uncertain(self.doubts, self.doubts.ids.size).tolist()
        self._skipped: list[int] = []
        self.remarks: tuple[str, ...] = ()
        for made in self.corrections():
            if not self._put(made, forward=True):
                self.remarks += (f"correction {made.id} does not fit these labels any more; it was passed over",)

    @property
    def about(self) -> Mapping[str, Any]:
        """What every line of the journal says of these labels: source, data key, stream, model, user."""
        return dict(self._about)

    def corrections(self) -> list[Correction]:
        """Return the corrections of these labels that stand, oldest first."""
        of_source = self.journal.corrections(self._about["source"])
        return [made for made in of_source if made.labels_hash == self.labels_hash]

    def queue(self, n: int = 20) -> list[ReviewItem]:
        """Return the next `n` objects to look at: doubtful, unlike each other, and not yet reviewed or skipped."""
        done = {one for made in self.corrections() for one in (*made.ids_before, *made.ids_after)}
        done |= set(self._skipped)
        waiting = [one for one in self._ranked if one not in done]
        return [self.item(one) for one in waiting[:n] if self._is_there(one)]

    def item(self, object_id: int) -> ReviewItem:
        """Return what is known of an object.

        Raises
        ------
        BadInputError
            There is none with this id.
        """
        box = edits.box_of(self.labels, (object_id,))
        places = np.argwhere(self.labels[box_slices(box)] == object_id)
        centre = places.mean(axis=0) + [start for start, _ in box]
        row = np.flatnonzero(self.doubts.ids == object_id)
        known = row.size > 0 and object_id < self._first_new
        return ReviewItem(
            object_id,
            float(self.doubts.score[row[0]]) if known else 0.0,
            self.doubts.reasons[row[0]] if known else (),
            (float(centre[0]), float(centre[1]), float(centre[2])),
            len(places),
            box,
        )

    def accept(self, object_id: int, note: str = "") -> Correction:
        """Say that an object is right as it is."""
        return self._do(edits.accept(self.labels, object_id), note)

    def split(
        self,
        object_id: int,
        seeds: Sequence[Sequence[float]] | None = None,
        n_parts: int = 2,
        note: str = "",
    ) -> Correction:
        """Split an object at its necks; see `corrections.split`."""
        made = edits.split(self.labels, object_id, seeds, n_parts, self.voxel_size_um, self._next_id())
        return self._do(made, note)

    def merge(self, object_ids: Sequence[int], note: str = "") -> Correction:
        """Make one object of two or more; where they do not lie side by side, a remark says so."""
        edit = edits.merge(self.labels, object_ids)
        if edits.lie_apart(edit.after == edit.ids_after[0]):
            named = ", ".join(map(str, edit.ids_before))
            self.remarks += (f"objects {named} were merged and do not touch; undo takes that back",)
        return self._do(edit, note)

    def delete(self, object_id: int, note: str = "") -> Correction:
        """Take an object away."""
        return self._do(edits.delete(self.labels, object_id), note)

    def add(self, mask: NDArray[np.bool_], note: str = "") -> Correction:
        """Add an object where `mask` says, on background alone."""
        return self._do(edits.add(self.labels, mask, self._next_id()), note)

    def add_at(self, point_px: Sequence[float], diameter_um: float | None = None, note: str = "") -> Correction:
        """Add an object about a point: what is brighter than halfway between its surroundings and the point.

        Where noise alone would look like that, a remark says so.

        Parameters
        ----------
        point_px : (z, y, x)
            A voxel of it.
        diameter_um : float, optional
            It stays within this distance; half as much again as the median of the labels where not told.

        Raises
        ------
        BadInputError
            The point lies outside, in an object, or is no brighter than what is about it.
        """
        mask = grown_mask(self.image, self.labels, self.voxel_size_um, point_px, diameter_um)
        above = stands_out_by(self.image, self.labels, mask)
        made = self.add(mask, note)
        if above < _FAINT:
            one = made.ids_after[0]
            self.remarks += (
                f"object {one} is brighter than what is about it by only {max(above, 0):.1f} times the noise: "
                "is a nucleus there? undo takes it back",
            )
        return made

    def redraw(self, object_id: int, mask: NDArray[np.bool_], note: str = "") -> Correction:
        """Give an object the shape of `mask`; what it takes from others, they lose."""
        return self._do(edits.redraw(self.labels, object_id, mask), note)

    def skip(self, object_id: int) -> None:
        """Leave an object for another session."""
        self._skipped.append(object_id)

    def undo(self, correction_id: str | None = None) -> Correction:
        """Take a correction of these labels back, the last one unless told; nothing is rewritten.

        Raises
        ------
        BadInputError
            There is none, or its voxels were corrected again since: undo that first.
        """
        standing = self.corrections()
        found = [made for made in standing if correction_id is None or made.id.startswith(correction_id)]
        if not found or (correction_id is not None and len(found) > 1):
            what = "nothing to undo" if correction_id is None else f"correction {correction_id}"
            raise BadInputError(f"{what}: {len(found)} of {len(standing)} corrections of these labels fit")
        if not self._put(found[-1], forward=False):
            raise BadInputError(
                f"correction {found[-1].id}: its voxels were corrected again since; undo the later one first"
            )
        return self.journal.undo(found[-1].id)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the labels as they stand, as OME-Zarr, whole or not at all; it names the corrections in it.

        What it wrote before is replaced; labels that something else wrote are not.

        Raises
        ------
        BadInputError
            There are other labels, the folder is missing, or the disk refused.
        """
        if Path(path).exists() and not _is_corrected(Path(path)):
            raise BadInputError(f"{path}: holds labels that no review wrote; they are not replaced")
        about = {
            "corrected": self.labels_hash,
            "source": self._about["source"],
            "model_hash": self._about["model_hash"],
            "corrections": [made.id for made in self.corrections()],
        }
        attributes = {"parfocal": about, "ome": {"image-label": {"version": "0.5"}}}
        return write_ome_zarr(path, self.labels, self.voxel_size_um, overwrite=True, attributes=attributes)

    def _do(self, edit: Edit, note: str) -> Correction:
        # The journal first: what a kill leaves undone here is done when the session is opened again.
        made = self.journal.record(self.image, self.labels, edit, note=note, **self._about)
        edits.apply_edit(self.labels, edit)
        return made

    def _put(self, made: Correction, *, forward: bool) -> bool:
        """Change what a correction changed, on (or back); False where the labels there are others."""
        crop = self.journal.crop(made)
        old, new = (crop.before, crop.after) if forward else (crop.after, crop.before)
        here = self.labels[box_slices(made.box)]
        changed = old != new
        if here.shape != old.shape or not np.array_equal(here[changed], old[changed]):
            return False
        here[changed] = new[changed]
        return True

    def _next_id(self) -> int:
        return max(int(self.labels.max(initial=0)) + 1, self._first_new)

    def _is_there(self, object_id: int) -> bool:
        return bool((self.labels == object_id).any())


def _is_corrected(path: Path) -> bool:
    try:
        attributes = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
        return "corrected" in attributes["parfocal"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def pixels_hash(image: NDArray[np.generic]) -> str:
    """Return the SHA-256 of pixels, by which a file is known whatever its name."""
    digest = hashlib.sha256(f"{image.dtype.str} {image.shape}".encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def labels_hash(labels: Labels) -> str:
    """Return the SHA-256 of labels, by which corrections of them are known."""
    digest = hashlib.sha256(str(labels.shape).encode())
    digest.update(np.ascontiguousarray(labels, dtype=np.int32).tobytes())
    return digest.hexdigest()


def known_doubts(
    ids: NDArray[np.int32],
    score: NDArray[np.float32],
    reasons: Sequence[str],
    centroids_um: NDArray[np.float64],
) -> ObjectDoubts:
    """Return doubts from a table of objects, whose reasons are one text each (`a; b`)."""
    extent = max(float(np.ptp(centroids_um)) if centroids_um.size else 1.0, 1e-9)
    features = np.column_stack([score, centroids_um / extent]).astype(np.float32)
    order = np.argsort(ids)
    found = ObjectDoubts(
        ids[order].astype(np.int32),
        np.nan_to_num(score[order]).astype(np.float32),
        tuple(tuple(part for part in reasons[int(k)].split("; ") if part) for k in order),
    )
    return replace(found, features=np.nan_to_num(features[order]))
