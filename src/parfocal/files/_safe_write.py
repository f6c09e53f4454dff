"""Writing that leaves either the old file or the new one, and never outside its folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from parfocal.errors import BadInputError


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Generator[Path, None, None]:
    r"""Give a temporary path in the same folder; when the block ends well, it becomes `path`.

    The content is flushed to disk before the rename and the folder's entry after it, so a power cut leaves
    the old file or the whole new one. If the block raises, the temporary file is removed and `path` is as
    before.

    Parameters
    ----------
    path : str or path
        The file to make or replace; its folder must exist.

    Yields
    ------
    Path
        Where to write; the same suffix as `path`, since libraries choose a format by it.

    Raises
    ------
    BadInputError
        The folder does not exist, or the block wrote nothing.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "shifts.csv"
    >>> with write_atomically(target) as temporary:
    ...     _ = temporary.write_text("dx_um,dy_um\n")
    >>> target.read_text()
    'dx_um,dy_um\n'
    """
    target = Path(path)
    folder = target.parent
    if not folder.is_dir():
        raise BadInputError(f"{target}: cannot be written, there is no folder {folder}")
    temporary = folder / f".{target.stem[:80]}.{secrets.token_hex(6)}{target.suffix}"
    try:
        yield temporary
        if not temporary.is_file():
            raise BadInputError(f"{target}: nothing was written")
        _flush(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # other systems cannot open a folder
        _flush(folder)


def within(root: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Return `path` (taken from `root` where relative), resolved; refuse one that leaves `root`.

    Symbolic links are followed first, so a link out of the root is refused too.

    Raises
    ------
    BadInputError
        The path lies outside `root`.
    """
    base = Path(root).resolve()
    resolved = (base / path).resolve()
    if not resolved.is_relative_to(base):
        raise BadInputError(f"{os.fspath(path)}: lies outside {base}; expected a path inside it")
    return resolved


def refuse_input(path: str | os.PathLike[str], source: str | os.PathLike[str]) -> None:
    """Refuse to write where what is read lies, or what lies in it (`FILE.h5:dataset`).

    Raises
    ------
    BadInputError
        `path` is `source`.
    """
    target, read = Path(path), Path(source)
    if not read.exists():
        read = Path(os.fspath(source).rpartition(":")[0])
    if target.exists() and read.exists() and target.samefile(read):
        raise BadInputError(f"{target}: is what is read, and not replaced by what is made of it; name another")


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
