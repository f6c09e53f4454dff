"""Peer of `orchestration`: `bp.scan` and a synchronous TiledWriter, on Tiled's own server or ours.

Run by our own interpreter, for the camera and its frame writer are ours on both sides.
"""

from __future__ import annotations

import atexit
import os
import secrets
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from _serve import serve
from bluesky import RunEngine
from bluesky import plans as bp
from bluesky_tiled_plugins import TiledWriter
from tiled.client import from_uri

from parfocal.devices import micromanager_microscope

microscope: Any = micromanager_microscope("microscope")
engine = RunEngine({})


def prepare(folder: str, exposure_s: float, uri: str = "", api_key: str = "") -> dict[str, Any]:
    """Subscribe the writer to the container at `uri`; without, to a new catalog in `folder` on Tiled's server."""
    microscope.camera.exposure_s.put(exposure_s)
    microscope.camera.frames_root = Path(folder) / "frames"
    microscope.camera.frames_root.mkdir(parents=True, exist_ok=True)
    if not uri:
        uri, api_key = _served(Path(folder))
    engine.subscribe(TiledWriter(from_uri(uri, api_key=api_key), batch_size=1))
    return {}


def stack(half_range_um: float, n_planes: int) -> dict[str, Any]:
    """Time a z-stack, each of its events written at once."""
    z = microscope.xyz.z
    centre_um = z.position
    began = time.perf_counter()
    engine(bp.scan([microscope.camera], z, centre_um - half_range_um, centre_um + half_range_um, n_planes))
    seconds = time.perf_counter() - began
    z.move(centre_um)
    return {"seconds": seconds}


def _served(folder: Path) -> tuple[str, str]:
    """Run `tiled serve catalog` until this process ends; return its address and key once it answers."""
    api_key = secrets.token_hex(32)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tiled", "serve", "catalog", str(folder / "catalog.db"), "--init"]
    command += ["--write", str(folder / "arrays"), "--write", f"duckdb:///{folder / 'tables.db'}"]
    command += ["--read", str(microscope.camera.frames_root), "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"TILED_SINGLE_USER_API_KEY": api_key}
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    atexit.register(server.wait, 10)
    atexit.register(server.terminate)
    for _ in range(600):
        with socket.socket() as door:
            if door.connect_ex(("127.0.0.1", port)) == 0:
                return f"http://127.0.0.1:{port}", api_key
        if server.poll() is not None:
            raise RuntimeError(f"tiled serve catalog ended with {server.returncode}")
        time.sleep(0.1)
    raise RuntimeError("tiled serve catalog did not answer within a minute")


serve(
    {name: version(name) for name in ("bluesky", "bluesky-tiled-plugins", "tiled")},
    prepare=prepare,
    stack=stack,
)
