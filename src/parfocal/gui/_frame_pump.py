"""The newest frame of a camera's feed, for a window that paints at its own pace."""

from __future__ import annotations

import threading

from parfocal.devices import Camera, FedFrame
from parfocal.errors import HardwareError

_AGAIN_S = 0.5


class FramePump:
    """Reads a feed in a thread and keeps the newest frame; while the camera fails, says why and tries again.

    Parameters
    ----------
    camera : Camera
        Its feed is open until `close`.
    """

    def __init__(self, camera: Camera) -> None:
        self.error = ""
        self.n_frames = 0
        self._camera = camera
        self._latest: FedFrame | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-frames", daemon=True)
        self._thread.start()

    def take(self) -> FedFrame | None:
        """Return the newest frame, once; None where none has come since."""
        latest, self._latest = self._latest, None
        return latest

    def close(self, timeout_s: float = 10.0) -> None:
        """Let go of the feed."""
        self._ended.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        camera = self._camera
        while not self._ended.is_set():
            try:
                with camera.feed.open(keep=2) as frames:
                    while not self._ended.is_set():
                        self._latest = frames.newest(camera.facts.settings.exposure_s + camera.timeout_s)
                        self.n_frames += 1
                        self.error = ""
            except HardwareError as error:
                self.error = str(error)
                self._ended.wait(_AGAIN_S)
