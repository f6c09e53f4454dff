"""What a viewer is given: layers as plain data, so that they can be made and tested without one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

LayerKind = Literal["image", "labels", "points", "tracks"]


@dataclass(frozen=True)
class Layer:
    """A layer for napari.

    Attributes
    ----------
    kind : {"image", "labels", "points", "tracks"}
    data : array
        Frames and labels are read when they are looked at.
    options : dict
        What `viewer.add_image` (and so on) takes: `name`, `scale`, `features` ...
    place : (int, int), optional
        Position and tile, of a layer that cannot have these as axes: it is shown while they are looked at.
    """

    kind: LayerKind
    data: Any
    options: dict[str, Any]
    place: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """As it is listed."""
        return str(self.options["name"])


@dataclass(frozen=True)
class RunLayers:
    """All layers of a run.

    Attributes
    ----------
    title : str
    layers : list of Layer
        The lowest first.
    remarks : list of str
        What is not shown, in words.
    axis_labels : tuple of str
        Of the viewer.
    """

    title: str
    layers: list[Layer]
    remarks: list[str] = field(default_factory=list[str])
    axis_labels: tuple[str, ...] = ("y", "x")
