"""Light that is changed from a plan until puncta lie as densely as wanted."""

from dataclasses import dataclass, field
from typing import Any, Literal

from bluesky.utils import Msg, MsgGenerator

from parfocal.devices import Auditor, Columns, LightLevel
from parfocal.errors import BadInputError
from parfocal.plans import stubs
from parfocal.plans._audit import AuditOptions, auditor_for
from parfocal.plans._parts import Parts

STREAM = "density"
LIGHT: dict[str, Any] = {"by": "", "value": 0.0, "next": 0.0, "before_time_point": 0}
"""What gave a density, and what is tried next (the same where that is right, or nothing better is left)."""

_LARGEST_EXPOSURE_FACTOR = 20.0
_LEAST_SHARE = 0.001


@dataclass
class DensityControl:
    """A knob, who judges, and what was tried."""

    auditor: Auditor
    knob: Any
    by: Literal["exposure", "light"]
    lowest: float
    highest: float
    before: float
    now: float
    light: Columns
    tried: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def about(self) -> dict[str, Any]:
        """Return what a start document says of it."""
        return {"auditor": self.auditor.name, "by": self.by, **self.auditor.judge.as_dict()}  # pyright: ignore


def density_control(
    parts: Parts,
    density_per_um2: list[float] | None,
    given: Any,
    by: Literal["exposure", "light"],
    activation: str,
    exposure_s: float | None,
    threshold: str,
    options: AuditOptions,
) -> DensityControl | None:
    """Return what a plan needs to hold a density; None where none is asked for.

    Raises
    ------
    BadInputError
        Range, auditor or knob cannot be used.
    """
    if density_per_um2 is None and given is None:
        return None
    if by not in ("exposure", "light"):
        raise BadInputError(f"image_puncta: density_by={by!r}, exposure or light was expected")
    if given is not None:
        wanted = getattr(getattr(given, "judge", None), "wanted", None)
        if not hasattr(wanted, "low_per_um2"):
            raise BadInputError(
                f"image_puncta: {given!r} judges no density; an Auditor with a DensityJudge was expected"
            )
    elif density_per_um2 is None or len(density_per_um2) != 2:
        raise BadInputError(f"image_puncta: density_per_um2={density_per_um2!r}, [low, high] was expected")
    low_high = density_per_um2 or [0.0, 1.0]
    auditor = auditor_for(parts.camera, given, options, lambda: _judge(parts.camera, low_high, threshold))
    knob = parts.camera.exposure_s if by == "exposure" else LightLevel(parts.light, activation)
    before = float(parts.camera.exposure_s.get() if by == "exposure" else knob.position)
    now = exposure_s if by == "exposure" and exposure_s is not None else before
    # Longer than this and puncta move in an exposure; shorter, and the camera's own noise is all there is.
    highest = now * _LARGEST_EXPOSURE_FACTOR if by == "exposure" else 1.0
    if not now > 0:
        raise BadInputError(f"image_puncta: {knob.name} is {now:g}, a level above 0 was expected to begin from")
    lowest = (now if by == "exposure" else 1.0) * _LEAST_SHARE
    return DensityControl(auditor, knob, by, lowest, highest, before, now, Columns("light", LIGHT))


def look(control: DensityControl, time_point: int) -> MsgGenerator[bool]:
    """Have the camera's last frame judged, save what was said, and move the knob; True where it moved."""
    from parfocal.puncta.density import next_level

    control.auditor.note(f"{time_point:06d}", len(control.tried) + 1)
    yield Msg("checkpoint")
    yield from stubs.trigger_all((control.auditor,))
    density = _score(control.auditor)
    judge: Any = control.auditor.judge
    control.tried.append((control.now, density))
    proposed = next_level(control.tried, judge.wanted, control.lowest, control.highest) if density >= 0 else None
    control.light.note(
        by=control.by,
        value=control.now,
        next=control.now if proposed is None else proposed,
        before_time_point=time_point,
    )
    yield Msg("create", None, name=STREAM)
    yield Msg("read", control.auditor)
    yield Msg("read", control.light)
    yield Msg("save")
    yield Msg("checkpoint")
    if proposed is None:
        return False
    yield from stubs.move_all({control.knob: proposed})
    control.now = proposed
    return True


def _score(auditor: Auditor) -> float:
    # NaN (a verdict that came too late, or a simulated RunEngine that triggers nothing) is no reason to move.
    read = auditor.read()
    return float(read[f"{auditor.name}_score"]["value"]) if read else float("nan")


def _judge(camera: Any, low_high: list[float], threshold: str) -> Any:
    import numpy as np

    from parfocal.callbacks import density_judge

    facts = camera.facts
    judge = density_judge(low_high[0], low_high[1], facts.camera_model, facts.pixel_size_um, threshold)
    # Compiled before there is a deadline, fits and all: the first time on a machine that takes longer than a
    # verdict may.
    y, x = np.indices(facts.shape)
    spots = np.exp(-0.3 * ((y % 16 - 8) ** 2 + (x % 16 - 8) ** 2))
    spots += np.roll(spots, 3, axis=1)  # so near that they are fitted together
    judge((200 + 2000 * spots).astype(facts.dtype))
    return judge
