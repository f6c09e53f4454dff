"""What is passed around in this room: a network's output, a link between planes, a segmentation."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from parfocal.segmentation.restoration import RestorationRecord

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class NetOutput:
    """What a network says of a plane `(y, x)` or a volume `(z, y, x)`, at the voxels of the image it was given.

    Parameters
    ----------
    flow : float32[ndim, ...]
        Vectors toward the object's centre, along each axis in the array's order (z, y, x), of length 1 in voxels.
    foreground : float32[...]
        Logit: is this voxel in an object?
    boundary : float32[...]
        Logit: is it an object's outermost layer?
    """

    flow: Floats
    foreground: Floats
    boundary: Floats


@dataclass(frozen=True)
class PlaneLink:
    """One mask taken for the continuation of another.

    Parameters
    ----------
    object_id : int
        The object both belong to.
    z_from, z_to : int
        Their planes; more than one apart where planes between them lack the object.
    iou, containment : float
        Intersection over union, and over the smaller of the two areas.
    weak : bool
        It passed by little, or an equally good one was there.
    """

    object_id: int
    z_from: int
    z_to: int
    iou: float
    containment: float
    weak: bool = False


@dataclass(frozen=True)
class Segmentation:
    """Labels of a volume and where they come from.

    Parameters
    ----------
    labels : int32[z, y, x]
        0 is background; an object has one id in all planes, ids are 1 to `n_objects` unless `linked` is False.
    voxel_size_um : (float, float, float)
        z, y, x.
    backend : str
        Its name in `BACKENDS`.
    model_hash : str, optional
        SHA-256 of the weights; None for a method that has none.
    restoration : str
        What the pixels went through before they were segmented: `none`, `denoise`, `deblur`, `denoise+deblur`.
    output : NetOutput, optional
        What the network said, where there is one: needed for uncertainty.
    links : tuple of PlaneLink
        How planes were linked, where they were.
    linked : bool
        False where each plane was labelled for itself (`default`).
    remarks : tuple of str
        What its reader should know, in plain words.
    restoration_record : RestorationRecord, optional
        How noisy and how blurred the pixels are, what was done about it and why; None where restoration was not
        asked for.
    """

    labels: Labels
    voxel_size_um: tuple[float, float, float]
    backend: str
    model_hash: str | None = None
    restoration: str = "none"
    output: NetOutput | None = None
    links: tuple[PlaneLink, ...] = ()
    linked: bool = True
    remarks: tuple[str, ...] = field(default=())
    restoration_record: RestorationRecord | None = None


class Backend(Protocol):
    """A way to find nuclei. Both methods take raw pixels of any real dtype; neither changes them."""

    @property
    def name(self) -> str:
        """Its name in `BACKENDS`."""
        ...

    @property
    def model_hash(self) -> str | None:
        """SHA-256 of its weights; None where it has none."""
        ...

    def segment_planes(
        self, planes: Iterable[NDArray[np.generic]], voxel_size_um: tuple[float, float, float]
    ) -> Generator[Labels, None, Segmentation]:
        """Yield labels `int32[y, x]` of each plane as it arrives; return the volume's when the last one has come.

        A plane's ids are those of the volume so far: a later plane may join two or fill a gap, so what is returned
        has the last word. A backend that needs the whole volume yields its planes at the end.
        """
        ...

    def segment_volume(
        self, volume: NDArray[np.generic], voxel_size_um: tuple[float, float, float]
    ) -> Segmentation:
        """Label a volume `(z, y, x)`; a plane is a volume of one."""
        ...
