"""Profiles: a folder an instrument, shipped ones and a site's own."""

from __future__ import annotations

import re
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

from parfocal.catalog import DataFolder
from parfocal.errors import BadInputError

SHIPPED = ("simulated", "micromanager")
FILES = (
    "startup.py",
    "devices.yml",
    "user_group_permissions.yaml",
    "existing_plans_and_devices.yaml",
    "qs-config.yml",
)
"""What a profile holds. A queue writes into none of them."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


def shipped_profiles() -> Path:
    """Return where the profiles lie that come with the program."""
    inside = Path(str(files("parfocal"))) / "profiles"
    # A checkout, installed for development, has them beside its `src`.
    return inside if inside.is_dir() else Path(str(files("parfocal"))).parents[1] / "profiles"


def profiles_folder(folder: DataFolder) -> Path:
    """Return where a data folder's own profiles lie."""
    return folder.root / "profiles"


def find_profile(profile: str | Path, folder: DataFolder) -> Path:
    """Return the folder of a profile: a path, a name among the data folder's own, or the name of a shipped one.

    Raises
    ------
    BadInputError
        There is none, or it lacks its startup file.
    """
    places = [
        profiles_folder(folder) / profile,
        shipped_profiles() / profile,
        Path(profile).expanduser().absolute(),
    ]
    if not _NAME.fullmatch(str(profile)):
        places = places[2:]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        known = ", ".join(name for name, _ in list_profiles(folder))
        raise BadInputError(f"profile {str(profile)!r}: neither a folder nor one of {known}")
    for name in ("startup.py", "user_group_permissions.yaml"):
        if not (found / name).is_file():
            raise BadInputError(f"profile {found}: has no {name}; `parfocal profile new` makes a whole one")
    return found


def list_profiles(folder: DataFolder) -> list[tuple[str, Path]]:
    """Return name and folder of each profile that can be named, a data folder's own first."""
    found: dict[str, Path] = {}
    for place in (profiles_folder(folder), shipped_profiles()):
        for path in sorted(place.glob("*/startup.py")):
            found.setdefault(path.parent.name, path.parent)
    return list(found.items())


def new_profile(name: str, source: str = "simulated", out: Path | None = None, *, folder: DataFolder) -> Path:
    """Make a profile from a shipped one, to be edited; nothing that is there is touched.

    Parameters
    ----------
    name : str
        Letters, digits, `-` and `_`, 40 at most, a letter first.
    source : str
        The shipped profile to begin with.
    out : path, optional
        Folder to make it in; by default `profiles/` in the data folder, where `--profile NAME` finds it.
    folder : DataFolder
        The data folder.

    Raises
    ------
    BadInputError
        The name cannot be used or is taken, or there is no such source.
    """
    if not _NAME.fullmatch(name):
        raise BadInputError(
            f"profile {name!r}: letters, digits, - and _ were expected, 40 at most, a letter first"
        )
    if source not in SHIPPED:
        raise BadInputError(f"profile {source!r}: made from one of {', '.join(SHIPPED)}")
    target = (out.expanduser().absolute() if out is not None else profiles_folder(folder)) / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir()
    except FileExistsError:
        raise BadInputError(f"{target}: is there already; choose another name, or edit that one") from None
    except OSError as error:
        raise BadInputError(f"{target}: cannot be made ({error.strerror})") from error
    for file in FILES:
        shutil.copyfile(shipped_profiles() / source / file, target / file)
    for file in ("startup.py", "qs-config.yml"):
        text = (target / file).read_text(encoding="utf-8")
        (target / file).write_text(text.replace(f"profiles/{source}", f"profiles/{name}"), encoding="utf-8")
    return target


def allowed_by_profile(profile: Path, group: str = "primary") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return plans and devices that a group may use, from a profile's own lists: no worker is started for it.

    Raises
    ------
    BadInputError
        The profile has no such lists, or knows no such group.
    """
    from bluesky_queueserver.manager.profile_ops import load_allowed_plans_and_devices

    listed = profile / "existing_plans_and_devices.yaml"
    if not listed.is_file():
        raise BadInputError(
            f"{profile}: has no {listed.name}; `qserver-list-plans-devices --startup-dir` makes it"
        )
    plans, devices = load_allowed_plans_and_devices(
        path_existing_plans_and_devices=str(listed),
        path_user_group_permissions=str(profile / "user_group_permissions.yaml"),
    )
    if group not in plans:
        raise BadInputError(
            f"{profile}: its permissions know no group {group!r}; there are {', '.join(sorted(plans))}"
        )
    return plans[group], devices[group]
