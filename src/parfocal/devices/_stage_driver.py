"""What a stage must do to be one of ours."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class StageDriver(Protocol):
    """A stage of named axes (`x`, `y`, `z`), positions in um. Calls may come from several threads.

    `move` starts a move and returns at once; `is_moving` says when it has ended. A driver whose hardware
    blocks does the waiting in a thread of its own. Failure raises `parfocal.errors.HardwareError`.
    """

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes the stage has."""
        ...

    def move(self, axis: str, position_um: float) -> None:
        """Start moving one axis to an absolute position, um."""
        ...

    def position_um(self, axis: str) -> float:
        """Return where the axis is, as the stage itself measures it, um."""
        ...

    def is_moving(self, axis: str) -> bool:
        """Say whether the axis is still on its way."""
        ...

    def stop(self, axis: str) -> None:
        """Stop the axis where it is."""
        ...

    def velocity_um_per_s(self, axis: str) -> float:
        """Return the axis's speed, um/s."""
        ...
