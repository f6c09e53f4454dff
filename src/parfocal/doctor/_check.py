"""What a check says: how it is, what was found, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        What: a group and a name, such as `folders: space`.
    state : {"ok", "warn", "fail"}
        `fail`: a microscope cannot be run like this. `warn`: it can, and something will go wrong or slowly.
    found : str
        In one line.
    advice : str
        What to do, in one line; empty where there is nothing to.
    """

    name: str
    state: State
    found: str
    advice: str = ""


def looked_at(name: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    """Return what a look found; a look that cannot be made is a finding too."""
    try:
        return list(look())
    except Exception as error:  # whatever is broken on a machine is what is asked for
        said = " ".join(str(error).split()) or type(error).__name__
        return [Check(name, "fail", f"could not be looked at: {said}", "mend what it says, and ask again")]
