"""Commands of other faces and packages: what is installed offers them, and ours are known in a bare clone too."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

_GROUP = "parfocal.commands"
_OURS = {  # as pyproject.toml has them
    "bench": "parfocal.bench:app",
    "live": "parfocal.gui:live_command",
    "view": "parfocal.gui:view_command",
}


def faces() -> dict[str, EntryPoint]:
    """Return the commands of other faces by name, in order; nothing is imported before `load`."""
    ours = [EntryPoint(name, value, _GROUP) for name, value in _OURS.items()]
    known = {each.name: each for each in (*ours, *entry_points(group=_GROUP))}
    return dict(sorted(known.items()))
