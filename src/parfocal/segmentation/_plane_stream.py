"""Planes pushed in as they are taken, labels out as soon as a backend has them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from parfocal.segmentation._segmentation import Backend, Labels, Segmentation

_JOIN_S = 60.0


class PlaneStream:
    """A backend that is handed one plane at a time.

    A backend asks for planes (`Backend.segment_planes`); whoever takes images has them to give. The backend runs
    in a thread of its own, but never at the same time as its caller: `add` returns when the backend asks for the
    next plane. So what comes out after which plane does not depend on speed, live or replayed.

    Parameters
    ----------
    backend : Backend
        Who labels.
    voxel_size_um : (float, float, float)
        z, y, x.

    Examples
    --------
    >>> import numpy as np
    >>> from parfocal.segmentation import PlaneStream, Segmentation
    >>> class Bright:
    ...     name, model_hash = "bright", None
    ...     def segment_planes(self, planes, voxel_size_um):
    ...         labels = []
    ...         for plane in planes:
    ...             labels.append((plane > 5).astype(np.int32))
    ...             yield labels[-1]
    ...         return Segmentation(np.stack(labels), voxel_size_um, self.name)
    >>> stream = PlaneStream(Bright(), (1.0, 0.5, 0.5))
    >>> [int(labels.sum()) for labels in stream.add(np.full((4, 4), 9))]
    [16]
    >>> stream.finish().labels.shape
    (1, 4, 4)
    """

    def __init__(self, backend: Backend, voxel_size_um: tuple[float, float, float]) -> None:
        self._backend = backend
        self._voxel_size_um = voxel_size_um
        self._turn = threading.Condition()
        self._plane: NDArray[np.generic] | None = None
        self._asks = False
        self._ended = False
        self._yielded: list[Labels] = []
        self._result: Segmentation | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=f"segment-{backend.name}", daemon=True)
        self._thread.start()

    def add(self, plane: NDArray[np.generic]) -> list[Labels]:
        """Hand over a plane `(y, x)`; return the labels that are ready, none or those of several planes.

        Raises
        ------
        Exception
            Whatever the backend raised.
        RuntimeError
            The stream was finished or closed.
        """
        with self._turn:
            self._wait_for_backend()
            if self._ended:
                raise RuntimeError("the stream has ended: no plane can follow")
            self._plane, self._asks = plane, False
            self._turn.notify_all()
            self._wait_for_backend()
            return self._taken()

    def finish(self) -> Segmentation:
        """Say that the last plane has come; return the segmentation of all.

        Raises
        ------
        Exception
            Whatever the backend raised.
        """
        self._end()
        self._thread.join(_JOIN_S)
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise RuntimeError(f"{self._backend.name} returned no segmentation")
        return self._result

    def close(self) -> None:
        """Let the backend go without a result; what it says of that is not heard."""
        self._end()

    def _end(self) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._asks or self._ended)
            self._ended = True
            self._turn.notify_all()

    def _wait_for_backend(self) -> None:
        self._turn.wait_for(lambda: self._asks or self._ended)
        if self._error is not None:
            raise self._error

    def _taken(self) -> list[Labels]:
        taken, self._yielded = self._yielded, []
        return taken

    def _planes(self) -> Iterator[NDArray[np.generic]]:
        while True:
            with self._turn:
                self._asks = True
                self._turn.notify_all()
                self._turn.wait_for(lambda: self._plane is not None or self._ended)
                if self._plane is None:
                    return
                plane, self._plane = self._plane, None
            yield plane

    def _work(self) -> None:
        try:
            labelling = self._backend.segment_planes(self._planes(), self._voxel_size_um)
            while True:
                try:
                    labels = next(labelling)
                except StopIteration as ended:
                    self._result = ended.value
                    return
                with self._turn:
                    self._yielded.append(labels)
        except BaseException as error:  # handed to whoever adds planes
            self._error = error
        finally:
            with self._turn:
                self._ended = True
                self._turn.notify_all()
