"""The layers of a review in napari: raw pixels, labels, doubt, what is selected, and two to draw on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.segmentation import Segmentation
from parfocal.segmentation.corrections import ReviewSession, box_of, box_slices
from parfocal.segmentation.uncertainty import heatmap

LABELS, DOUBT, SELECTED, DRAWN, POINTS = "objects", "doubt", "selected", "draw here", "points"
_COLOURS = ("gray", "green", "magenta", "cyan", "yellow", "red")
_UNIT = "um"
_FIELD_WIDTHS = 6.0  # of an object that is shown, across the canvas


class ReviewLayers:
    """Shows a session in a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        Or its model without a window.
    images : mapping of str to ndarray (z, y, x)
        Raw pixels by channel.
    voxel_size_um : (float, float, float)
        z, y, x.
    """

    def __init__(
        self, viewer: Any, images: Mapping[str, NDArray[np.generic]], voxel_size_um: Sequence[float]
    ) -> None:
        self.viewer = viewer
        self.voxel_size_um = tuple(float(size) for size in voxel_size_um)
        self._camera: Any = getattr(viewer, "scene", viewer).camera  # it moved in napari 0.9
        self.session: ReviewSession | None = None
        self.labels: Any = None
        self._about: dict[str, Any] = {"scale": self.voxel_size_um, "units": (_UNIT,) * 3}
        depth_height_width = next(iter(images.values())).shape
        self._field_um = min(
            n * size for n, size in zip(depth_height_width[1:], self.voxel_size_um[1:], strict=True)
        )
        self._whole_zoom = 1.0
        self._heat: Any = None
        self._selected: Any = None
        self._drawn: Any = None
        self._points: Any = None
        for k, (name, pixels) in enumerate(images.items()):
            low, high = np.percentile(np.asarray(pixels[:: max(1, len(pixels) // 8)], np.float32), (1, 99.8))
            viewer.add_image(
                pixels,
                name=name,
                colormap=_COLOURS[k % len(_COLOURS)] if len(images) > 1 else "gray",
                contrast_limits=(float(low), float(max(high, low + 1))),
                blending="translucent" if k == 0 else "additive",
                **self._about,
            )
        bars: Any = getattr(getattr(viewer, "canvas", None), "overlays", viewer)  # it moved too
        bars.scale_bar.visible = True

    def show(self, session: ReviewSession, on_pick: Callable[[int, bool], object]) -> None:
        """Show labels under review in place of those before; `on_pick` hears of clicks: id, and if it is added."""
        self.session = session
        if self.labels is None:
            self._make(session, on_pick)
        else:  # the layers stay, and with them how the user has set them
            self.labels.data = session.labels
            self.labels.editable = False  # new data made it so
            self._heat.data = self._doubt()
            self.clear_drawing()
            self.select(())

    def _make(self, session: ReviewSession, on_pick: Callable[[int, bool], object]) -> None:
        self._heat = self.viewer.add_image(
            self._doubt(),
            name=DOUBT,
            colormap="inferno",
            contrast_limits=(0.0, 1.0),
            opacity=0.6,
            blending="additive",
            **self._about,
        )
        self.labels = self.viewer.add_labels(session.labels, name=LABELS, opacity=0.8, **self._about)
        self.labels.contour = 1
        self.labels.editable = False  # every change goes through the session
        self.labels.mouse_drag_callbacks.append(lambda _layer, event: self._on_click(event, on_pick))
        self._selected = self.viewer.add_labels(
            np.zeros((1, 1, 1), np.uint8), name=SELECTED, colormap=_only("white"), opacity=1.0, **self._about
        )
        self._selected.contour = 2
        self._selected.editable = False
        drawn = np.zeros(session.labels.shape, np.uint8)
        self._drawn = self.viewer.add_labels(
            drawn, name=DRAWN, colormap=_only("lime"), opacity=0.5, visible=False, **self._about
        )
        self._drawn.selected_label = 1
        self._points = self.viewer.add_points(
            np.empty((0, 3)), ndim=3, name=POINTS, size=4, face_color="red", border_color="white", **self._about
        )
        self.viewer.layers.selection.active = self.labels
        self.viewer.reset_view()
        self._whole_zoom = float(self._camera.zoom)

    # -- what is drawn ------------------------------------------------------------------------------

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """Where the user has painted."""
        return np.asarray(self._drawn.data) > 0

    @property
    def points_px(self) -> list[tuple[float, ...]]:
        """The points that the user has set, in voxels."""
        return [tuple(float(at) for at in point) for point in np.asarray(self._points.data)]

    def start_drawing(self, object_id: int | None = None) -> None:
        """Hand the brush to the user; with an object's shape to begin with, where one is told."""
        self.clear_drawing()
        if object_id is not None:
            labels = self._labels()
            where = box_slices(box_of(labels, (object_id,)))
            self._drawn.data[where] = labels[where] == object_id
            self._drawn.refresh()
        self._drawn.visible = True
        self.viewer.layers.selection.active = self._drawn
        self._drawn.selected_label = 1
        self._drawn.mode = "paint"

    def start_points(self) -> None:
        """Let the user set points."""
        self.viewer.layers.selection.active = self._points
        self._points.mode = "add"

    def clear_drawing(self) -> None:
        """Take away what was painted and the points."""
        if self._drawn.data.any():
            self._drawn.data[...] = 0
            self._drawn.refresh()
        self._drawn.mode = "pan_zoom"
        self._drawn.visible = False
        self._points.mode = "pan_zoom"
        if len(self._points.data):
            self._points.data = np.empty((0, 3))
        self.viewer.layers.selection.active = self.labels

    # -- what is shown ------------------------------------------------------------------------------

    def select(self, object_ids: Sequence[int]) -> None:
        """Outline objects."""
        labels = self._labels()
        there = [one for one in object_ids if (labels == one).any()]
        if not there:
            self._selected.data = np.zeros((1, 1, 1), np.uint8)
            return
        box = [
            (max(0, a - 2), min(n, b + 2)) for (a, b), n in zip(box_of(labels, there), labels.shape, strict=True)
        ]
        mask = np.isin(labels[tuple(slice(a, b) for a, b in box)], there)
        self._selected.data = mask.astype(np.uint8)
        self._selected.translate = tuple(a * size for (a, _), size in zip(box, self.voxel_size_um, strict=True))

    def go_to(self, object_id: int) -> None:
        """Turn to an object: its middle plane, in the middle of the canvas, and near enough to be judged."""
        box = box_of(self._labels(), (object_id,))
        middle = [(a + b - 1) / 2 * size for (a, b), size in zip(box, self.voxel_size_um, strict=True)]
        self.viewer.dims.set_point(0, round((box[0][0] + box[0][1] - 1) / 2) * self.voxel_size_um[0])
        self._camera.center = tuple(middle)
        width_um = max((b - a) * size for (a, b), size in zip(box[1:], self.voxel_size_um[1:], strict=True))
        wanted = self._whole_zoom * self._field_um / (_FIELD_WIDTHS * width_um)
        # One of about the same size is shown as the last: less is to be found again by the eye.
        if not wanted / 2 < self._camera.zoom < 2 * wanted:
            self._camera.zoom = wanted

    def refresh(self) -> None:
        """Show labels and doubts as they stand after an edit."""
        self.labels.refresh()
        self._heat.data = self._doubt()

    def _doubt(self) -> NDArray[np.float32]:
        """Return the map of doubt; what was reviewed is in doubt no more."""
        session = self.session
        if session is None:
            raise BadInputError("review: nothing is open")
        done = {one for made in session.corrections() for one in (*made.ids_before, *made.ids_after)}
        score = np.where(np.isin(session.doubts.ids, list(done)), np.float32(0), session.doubts.score)
        found = Segmentation(session.labels, session.voxel_size_um, "")
        return heatmap(found, replace(session.doubts, score=score.astype(np.float32)))

    def _labels(self) -> NDArray[np.int32]:
        if self.session is None:
            raise BadInputError("review: nothing is open")
        return self.session.labels

    def _on_click(self, event: Any, on_pick: Callable[[int, bool], object]) -> None:
        if event.button != 1:
            return
        at = np.round(np.asarray(self.labels.world_to_data(event.position))).astype(int)
        if (at < 0).any() or (at >= self._labels().shape).any():
            return
        found = int(self._labels()[tuple(at)])
        if found:
            on_pick(found, "Shift" in event.modifiers or "Control" in event.modifiers)


def _only(colour: str) -> dict[Any, Any]:
    return {None: "transparent", 0: "transparent", 1: colour}
