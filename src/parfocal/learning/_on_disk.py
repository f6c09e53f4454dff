"""Files that are whole or not there, and hashes of them.

Rooms of the ground floor do not import each other, so this does for weights what `files` does for images.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from parfocal.errors import BadInputError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that is, at any moment and after a power cut, the old one or the whole new one.

    Raises
    ------
    BadInputError
        The folder does not exist or cannot be written.
    """
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk, where the system can."""
    if os.name != "posix":
        return  # other systems cannot open a folder
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises
    ------
    BadInputError
        It is not there, or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadInputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}") from error


def sha256(content: bytes) -> str:
    """Return the hash, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
