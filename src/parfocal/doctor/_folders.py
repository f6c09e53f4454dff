"""The data folder: is it there, is it ours, is it private, is there room."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from parfocal.catalog import DataFolder
from parfocal.doctor._check import Check

_GB = 1e9
_LITTLE_GB = 50.0
_NONE_GB = 2.0
_PRIVATE = ("server.json", "queue.json", "catalog/secrets.json", "catalog/database.json")
_NETWORK = {"nfs", "nfs4", "cifs", "smbfs", "smb3", "9p", "fuse.sshfs", "afpfs", "webdav"}


def check_folder(folder: DataFolder) -> Iterator[Check]:
    """Look at whether the folder and its parts can be read and written."""
    root = folder.root
    choose = "choose another with --data or PARFOCAL_DATA, or mend its permissions"
    if unfit := set("%#?") & set(str(root)):
        yield Check("folders: data", "fail", f"{root} has {' '.join(sorted(unfit))} in its path", choose)
        return
    if not root.exists():
        above = next(parent for parent in root.parents if parent.exists())
        if _is_writable(above):
            yield Check("folders: data", "ok", f"{root} is not there yet; it is made when it is needed")
        else:
            yield Check("folders: data", "fail", f"{root} is not there, and {above} cannot be written to", choose)
        return
    if not root.is_dir():
        yield Check("folders: data", "fail", f"{root} is a file", choose)
        return
    parts = (root, folder.frames, folder.wal, folder.catalog)
    closed = [str(part) for part in parts if part.exists() and not _is_writable(part)]
    if closed:
        yield Check("folders: data", "fail", f"cannot be written to: {', '.join(closed)}", choose)
        return
    yield Check("folders: data", "ok", f"{root} can be written to")


def check_private(folder: DataFolder) -> Iterator[Check]:
    """Look at whether others can read keys and passwords."""
    if sys.platform == "win32":
        return
    there = [folder.root / name for name in _PRIVATE if (folder.root / name).is_file()]
    open_ones = [path for path in there if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_ones:
        names = " ".join(str(path) for path in open_ones)
        yield Check("folders: private", "fail", f"others can read {names}", f"chmod 600 {names}; make new keys")
    elif there:
        yield Check("folders: private", "ok", f"{len(there)} files with keys are yours alone")


def check_space(
    folder: DataFolder, free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
) -> Iterator[Check]:
    """Look at how much room there is for frames."""
    above = next(path for path in (folder.frames, folder.root, *folder.root.parents) if path.exists())
    free_gb = free_bytes(above) / _GB
    frames = free_gb * _GB / (2048 * 2048 * 2)
    found = f"{free_gb:,.1f} GB are free: {frames:,.0f} frames of 2048x2048"
    state = "fail" if free_gb < _NONE_GB else "warn" if free_gb < _LITTLE_GB else "ok"
    yield Check(
        "folders: space", state, found, "" if state == "ok" else "free some, or take another disk with --data"
    )
    kind = _file_system(above)
    if kind in _NETWORK:
        yield Check(
            "folders: disk",
            "warn",
            f"{above} is on a network ({kind})",
            "take a disk of this machine: databases and locks are not safe on a network, and frames are slow",
        )


def _is_writable(path: Path) -> bool:
    if not path.is_dir():
        return False
    try:
        with tempfile.TemporaryFile(dir=path):
            return True
    except OSError:
        return False


def _file_system(path: Path) -> str:
    at = path.resolve()
    held = [part for part in psutil.disk_partitions(all=True) if at.is_relative_to(part.mountpoint)]
    return max(held, key=lambda part: len(part.mountpoint.split(os.sep))).fstype if held else ""
