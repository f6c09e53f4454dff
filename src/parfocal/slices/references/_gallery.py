"""A gallery of labelled frames: a page of Markdown with a heading a category and a bullet a frame."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from parfocal.errors import BadInputError
from parfocal.files import within

Category = Literal["bad", "okay", "great"]
CATEGORIES: tuple[Category, ...] = ("bad", "okay", "great")
"""What a frame can be, worst first."""

_HEADING = re.compile(r"^ {0,3}(?P<marks>#{1,6})\s+(?P<text>.*?)\s*#*\s*$")
_BULLET = re.compile(r"^\s*(?:[-*+]|\d{1,9}[.)])\s+(?P<text>.*)$")
_QUOTED = re.compile(r"`([^`]+)`")
_NAME = re.compile(
    r"^(?P<date>\d{8})_(?P<well>[A-H](?:0[1-9]|1[0-2]))_ch(?P<channel>\d{2})_t(?P<time>\d{4})\.jpe?g$", re.I
)
_FOLDER = re.compile(r"^(?P<date>\d{8})_(?P<well>[A-H]\d{2})$")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
_EXPECTED = "<date 8>_<well A01..H12>_ch<2>_t<4>.jpg, such as 20250912_B10_ch00_t0092.jpg"
_MOST_BYTES = 4_000_000


@dataclass(frozen=True)
class Reference:
    """One labelled frame of a gallery.

    Attributes
    ----------
    category : {"bad", "okay", "great"}
        What a person called it.
    path : str
        As written: absolute, or from the repository's root.
    date : str
        Eight digits, the day of the experiment.
    well : str
        A01 to H12.
    channel : int
        Number of the channel, from 0.
    time_int : int
        Number of the time point, from 0.
    line : int
        Line of the gallery, from 1.
    """

    category: Category
    path: str
    date: str
    well: str
    channel: int
    time_int: int
    line: int

    @property
    def name(self) -> str:
        """File name without its suffix: how reports call it."""
        return PurePosixPath(self.path).stem


@dataclass(frozen=True)
class Gallery:
    """Labelled frames, in the order of the page; `source` is what errors call it."""

    references: tuple[Reference, ...]
    source: str

    def of(self, category: Category) -> tuple[Reference, ...]:
        """Return the references of one category."""
        return tuple(one for one in self.references if one.category == category)


def read_gallery(path: str | os.PathLike[str]) -> Gallery:
    """Read a gallery; see `parse_gallery`.

    Raises
    ------
    BadInputError
        There is no such file, it is no text, too long to be a gallery, or something in it is wrong.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise BadInputError(
                f"{file}: {file.stat().st_size} bytes, expected a gallery of at most {_MOST_BYTES}"
            )
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadInputError(f"{file}: cannot be read: {error.strerror}; expected a gallery in Markdown") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{file}: byte {error.start} is no UTF-8; expected a gallery in Markdown") from error
    return parse_gallery(text, str(file))


def parse_gallery(text: str, source: str = "gallery") -> Gallery:
    """Read a gallery from text.

    Under headings `## Bad ...`, `## Okay ...` and `## Great ...` (any case, any order, more than once) stand
    bullets, each with the path of one image in backticks. Text between bullets and what stands under other
    headings are left alone, but an image is never passed over in silence.

    Parameters
    ----------
    text : str
        Markdown.
    source : str
        What errors call it.

    Returns
    -------
    Gallery

    Raises
    ------
    BadInputError
        With the line: a bullet without a path or with several, a file name of another form, an image under no
        category, a frame named twice, a folder that contradicts its file. Without: there is no frame at all.
    """
    found: dict[str, Reference] = {}
    category: Category | None = None
    heading = ""
    for number, line in _lines_outside_fences(text):
        where = f"{source}, line {number}"
        as_heading = _HEADING.match(line)
        if as_heading is not None:
            if len(as_heading["marks"]) <= 2:
                heading = as_heading["text"]
                category = _category_of(heading) if len(as_heading["marks"]) == 2 else None
            continue
        bullet = _BULLET.match(line)
        if bullet is None:
            continue
        paths = _QUOTED.findall(bullet["text"])
        if category is None:
            if any(path.lower().endswith(_IMAGE_SUFFIXES) for path in paths):
                under = f"heading {heading!r}" if heading else "no heading"
                raise BadInputError(
                    f"{where}: an image under {under}; expected it under ## Bad, ## Okay or ## Great"
                )
            continue
        if len(paths) != 1:
            raise BadInputError(f"{where}: {len(paths)} paths in backticks, expected one image a bullet")
        reference = _reference(paths[0].strip(), category, number, where)
        before = found.get(reference.name)
        if before is not None:
            other = "" if before.category == category else f" as {before.category}"
            raise BadInputError(
                f"{where}: {reference.name} stands on line {before.line} already{other}; expected each frame once"
            )
        found[reference.name] = reference
    if not found:
        raise BadInputError(f"{source}: no frame; expected bullets with paths under ## Bad, ## Okay and ## Great")
    return Gallery(tuple(found.values()), source)


def locate(reference: Reference, root: str | os.PathLike[str]) -> Path:
    """Return where an image of a gallery lies below `root`.

    A path of another machine is taken by its longest tail that exists below `root`:
    `/net/lab/project/images/a.jpg` is `images/a.jpg` of `project`.

    Raises
    ------
    BadInputError
        It is not there, or its path leaves `root`.
    """
    parts = [part for part in re.split(r"[/\\]+", reference.path) if part not in ("", ".")]
    if ".." in parts:
        raise BadInputError(
            f"line {reference.line}: {reference.path} leaves its folder by ..; expected a plain path"
        )
    for first in range(len(parts)):
        candidate = Path(*parts[first:])
        if not candidate.is_absolute() and (Path(root) / candidate).is_file():
            return within(root, candidate)
    raise BadInputError(
        f"line {reference.line}: {reference.path} is not below {os.fspath(root)}; "
        "expected the folder from which the gallery's paths start"
    )


def _lines_outside_fences(text: str) -> Iterator[tuple[int, str]]:
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        mark = re.match(r"^ {0,3}(`{3,}|~{3,})", line)
        if mark is not None and (not fence or line.strip().startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence:
            yield number, line


def _category_of(heading: str) -> Category | None:
    words = heading.lower().split()
    first = words[0].rstrip(":") if words else ""
    first = "okay" if first == "ok" else first
    return next((category for category in CATEGORIES if category == first), None)


def _reference(path: str, category: Category, line: int, where: str) -> Reference:
    at = PurePosixPath(path.replace("\\", "/"))
    name = _NAME.match(at.name)
    if name is None:
        raise BadInputError(f"{where}: file name {at.name!r}, expected {_EXPECTED}")
    date, well = name["date"], name["well"].upper()
    try:
        datetime.strptime(date, "%Y%m%d")
    except ValueError:
        raise BadInputError(f"{where}: {date} is no date, expected year, month, day as in 20250912") from None
    folder = _FOLDER.match(at.parent.name)
    if folder is not None and (folder["date"], folder["well"].upper()) != (date, well):
        raise BadInputError(f"{where}: {at.name} lies in folder {at.parent.name}, expected {date}_{well}")
    return Reference(category, path, date, well, int(name["channel"]), int(name["time"]), line)
