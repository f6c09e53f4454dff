"""What file names say: natural order, and the place of a plane in a grid of planes."""

from __future__ import annotations

import re
from pathlib import PurePath

_PATTERNS = {
    "Z": (r"(?:^|[_\-.\s])z(?:step)?[_=]?(\d+)(?=[_\-.\s]|$)", r"^zstep_?(\d+)$"),
    "T": (r"(?:^|[_\-.\s])t(?:ime)?[_=]?(\d+)(?=[_\-.\s]|$)", r"^timepoint_?(\d+)$"),
    # MetaXpress puts a GUID right after the number of the wavelength
    "C": (r"_w(\d)(?=[0-9a-f]{8}-|[_\-.\s]|$)", r"(?:^|[_\-.\s])(?:c|ch|channel)[_=]?(\d+)(?=[_\-.\s]|$)"),
}
_WELL = r"(?:^|[_\-.\s])([a-p]\d{2})(?=[_\-.\s]|$)"
_SITE = r"(?:^|[_\-.\s])s(\d+)(?=[_\-.\s]|$)"
_TILE = r"(?:^|[_\-.\s])(?:tile|pos|position|xy)[_=]?(\d+)(?=[_\-.\s]|$)"


def natural_key(path: PurePath | str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key in which `plane_2` comes before `plane_10`, folders level by level."""
    parts = re.split(r"(\d+|[/\\])", str(path).lower())
    return tuple(
        (0, 0, "") if part in "/\\" else (1, int(part), "") if part.isdecimal() else (2, 0, part)
        for part in parts
        if part
    )


def place_of(relative: PurePath) -> dict[str, tuple[int | str, ...]]:
    """Return what a plane's path says of its place: keys among "T", "P", "C", "Z".

    Understood: `_z07`, `ZStep_7/`, `_t3`, `TimePoint_3/`, `_w1` and `_c1` (channel), `tile_04`, wells (`E07`)
    and, beside a well or a wavelength, sites (`_s2`). A lone `_s012` can be a section as well as a site: that
    is not guessed.
    """
    place: dict[str, tuple[int | str, ...]] = {}
    stem, folders = relative.stem, relative.parts[:-1]
    for axis, patterns in _PATTERNS.items():
        for text in (stem, *reversed(folders)):
            found = next((m for p in patterns if (m := re.search(p, text, re.IGNORECASE))), None)
            if found is not None:
                place[axis] = (int(found[1]),)
                break
    position: list[int | str] = []
    well = re.search(_WELL, stem, re.IGNORECASE)
    site = re.search(_SITE, stem, re.IGNORECASE)
    tile = re.search(_TILE, stem, re.IGNORECASE)
    if well is not None:
        position.append(well[1].upper())
    if site is not None and (well is not None or "C" in place):
        position.append(int(site[1]))
    if tile is not None:
        position.append(int(tile[1]))
    if position:
        place["P"] = tuple(position)
    return place
