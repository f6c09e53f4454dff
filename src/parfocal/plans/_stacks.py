"""The imaging plans people type: stacks, time-lapses, positions, tiles."""

import math
from typing import Any, Literal

from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator, plan
from useq import MDASequence

from parfocal.errors import BadInputError
from parfocal.plans._acquire import Policy, acquire
from parfocal.plans._parts import Parts, parts_of


@plan
def z_stack(
    microscope: Readable[Any],
    half_range_um: float = 5.0,
    step_um: float = 0.5,
    *,
    channels: list[str] | None = None,
    exposure_s: float | None = None,
    z: Movable[Any] | None = None,
    on_error: Literal["abort", "skip", "retry"] = "abort",
    retries: int = 2,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take planes from `-half_range_um` to `+half_range_um` about where z stands.

    Parameters
    ----------
    microscope : Microscope or Readable
        What to image with.
    half_range_um : float
        Reach to either side, um.
    step_um : float
        Distance between planes, um.
    channels : list of str, optional
        Light channels, a whole stack each. Default: the one that is chosen.
    exposure_s : float, optional
        Default: as the camera is set.
    z : Movable, optional
        The axis to move instead of the microscope's own; needed where `microscope` is a plain Readable.
    on_error : {"abort", "skip", "retry"}
        What to do when it fails; `retry` tries `retries` times more.
    retries : int
        See `on_error`.
    md : dict, optional
        More for the start document, such as `{"sample": "slide 7"}`.

    Returns
    -------
    str
        The run's uid.
    """
    sequence = _sequence(_planes(half_range_um, step_um), channels)
    return (
        yield from acquire(
            parts_of(microscope, z),
            sequence,
            plan_name="z_stack",
            plan_args={"half_range_um": half_range_um, "step_um": step_um},
            policy=_policy(on_error, retries),
            exposure_s=_exposure(exposure_s),
            md=md,
        )
    )


@plan
def time_lapse(
    microscope: Readable[Any],
    n_time_points: int = 10,
    interval_s: float = 1.0,
    half_range_um: float = 0.0,
    step_um: float = 0.5,
    *,
    positions_um: list[list[float]] | None = None,
    channels: list[str] | None = None,
    exposure_s: float | None = None,
    z: Movable[Any] | None = None,
    on_error: Literal["abort", "skip", "retry"] = "abort",
    retries: int = 2,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Image again and again: one plane, or a stack, at one position or at several.

    Parameters
    ----------
    microscope : Microscope or Readable
        What to image with.
    n_time_points : int
        How many times.
    interval_s : float
        From the start of one time point to the start of the next; a slower microscope goes on at once.
    half_range_um : float
        Reach of the stack to either side, um; 0 takes the one plane where z stands.
    step_um : float
        Distance between planes, um.
    positions_um : list of [x, y] or [x, y, z], optional
        Where, um. Default: where the stage stands.
    channels, exposure_s, z, on_error, retries, md
        As in `z_stack`.

    Returns
    -------
    str
        The run's uid.
    """
    if n_time_points < 1 or interval_s < 0:
        raise BadInputError(
            f"time_lapse: {n_time_points} times {interval_s:g} s apart: 1 time or more and 0 s or more expected"
        )
    parts = parts_of(microscope, z)
    sequence = _sequence(
        _planes(half_range_um, step_um),
        channels,
        time_plan={"interval": interval_s, "loops": n_time_points},
        stage_positions=_positions(positions_um),
    )
    return (
        yield from acquire(
            parts,
            sequence,
            plan_name="time_lapse",
            plan_args={
                "n_time_points": n_time_points,
                "interval_s": interval_s,
                "half_range_um": half_range_um,
                "step_um": step_um,
                "positions_um": positions_um,
            },
            policy=_policy(on_error, retries),
            exposure_s=_exposure(exposure_s),
            md=md,
        )
    )


@plan
def positions(
    microscope: Readable[Any],
    positions_um: list[list[float]],
    half_range_um: float = 0.0,
    step_um: float = 0.5,
    *,
    channels: list[str] | None = None,
    exposure_s: float | None = None,
    on_error: Literal["abort", "skip", "retry"] = "abort",
    retries: int = 2,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Image a list of positions, one plane or a stack each.

    Parameters
    ----------
    microscope : Microscope
        What to image with.
    positions_um : list of [x, y] or [x, y, z]
        Where, um.
    half_range_um, step_um
        As in `time_lapse`.
    channels, exposure_s, on_error, retries, md
        As in `z_stack`.

    Returns
    -------
    str
        The run's uid.
    """
    if not positions_um:
        raise BadInputError("positions: the list is empty, [[x, y], ...] in um was expected")
    sequence = _sequence(_planes(half_range_um, step_um), channels, stage_positions=_positions(positions_um))
    return (
        yield from acquire(
            parts_of(microscope),
            sequence,
            plan_name="positions",
            plan_args={"positions_um": positions_um, "half_range_um": half_range_um, "step_um": step_um},
            policy=_policy(on_error, retries),
            exposure_s=_exposure(exposure_s),
            md=md,
        )
    )


@plan
def tile_scan(
    microscope: Readable[Any],
    rows: int = 2,
    columns: int = 2,
    overlap: float = 0.1,
    half_range_um: float = 0.0,
    step_um: float = 0.5,
    *,
    tile_um: list[float] | None = None,
    channels: list[str] | None = None,
    exposure_s: float | None = None,
    on_error: Literal["abort", "skip", "retry"] = "abort",
    retries: int = 2,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Image a grid of overlapping tiles about where the stage stands, one plane or a stack each.

    Parameters
    ----------
    microscope : Microscope
        What to image with.
    rows, columns : int
        Size of the grid.
    overlap : float
        Part of a tile that its neighbour shows too, 0 to below 1.
    half_range_um, step_um
        As in `time_lapse`.
    tile_um : [height, width], optional
        Size of a tile, um. Default: the camera's field of view.
    channels, exposure_s, on_error, retries, md
        As in `z_stack`.

    Returns
    -------
    str
        The run's uid.
    """
    if rows < 1 or columns < 1 or not 0 <= overlap < 1:
        raise BadInputError(
            f"tile_scan: {rows} x {columns} tiles with overlap {overlap:g}: "
            "1 or more rows and columns, and an overlap of 0 to below 1 were expected"
        )
    parts = parts_of(microscope)
    height_um, width_um = tile_um if tile_um is not None else _field_of_view_um(parts)
    grid = {
        "rows": rows,
        "columns": columns,
        "overlap": (overlap * 100, overlap * 100),
        "fov_width": width_um,
        "fov_height": height_um,
    }
    sequence = _sequence(_planes(half_range_um, step_um), channels, grid_plan=grid)
    return (
        yield from acquire(
            parts,
            sequence,
            plan_name="tile_scan",
            plan_args={
                "rows": rows,
                "columns": columns,
                "overlap": overlap,
                "half_range_um": half_range_um,
                "step_um": step_um,
                "tile_um": [height_um, width_um],
            },
            policy=_policy(on_error, retries),
            exposure_s=_exposure(exposure_s),
            md=md,
        )
    )


def _policy(on_error: str, retries: int) -> Policy:
    if on_error not in ("abort", "skip", "retry") or retries < 0:
        raise BadInputError(
            f"on_error={on_error!r}, retries={retries}: abort, skip or retry, and 0 or more, were expected"
        )
    return Policy(on_error, retries)


def _sequence(planes: dict[str, float] | None, channels: list[str] | None, **axes: Any) -> MDASequence:
    """Build the sequence of a plan: time, position, tile, channel, and z fastest."""
    fields: dict[str, Any] = {"axis_order": "tpgcz", **axes}
    if planes is not None:
        fields["z_plan"] = planes
    elif not axes and not channels:
        fields["stage_positions"] = [{}]  # one plane, where the stage stands
    if channels:
        fields["channels"] = [{"config": c, "exposure": None} for c in channels]
    return MDASequence.model_validate(fields)


def _planes(half_range_um: float, step_um: float) -> dict[str, float] | None:
    """Return useq's z plan; None for no range, which is one plane where z stands."""
    if not (half_range_um >= 0 and step_um > 0 and math.isfinite(half_range_um)):
        raise BadInputError(
            f"planes +-{half_range_um:g} um in steps of {step_um:g} um: "
            "a range of 0 or more and a step above 0 were expected"
        )
    return {"range": 2 * half_range_um, "step": step_um} if half_range_um else None


def _exposure(exposure_s: float | None) -> float | None:
    if exposure_s is not None and not exposure_s > 0:
        raise BadInputError(f"exposure_s={exposure_s:g}: a time above 0 was expected")
    return exposure_s


def _positions(positions_um: list[list[float]] | None) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = []
    for n, place in enumerate(positions_um or []):
        if len(place) not in (2, 3) or not all(math.isfinite(v) for v in place):
            raise BadInputError(f"position {n} is {place}: [x, y] or [x, y, z] in um was expected")
        result.append({**dict(zip("xyz", place)), "name": f"p{n}"})
    return result


def _field_of_view_um(parts: Parts) -> tuple[float, float]:
    facts = getattr(parts.camera, "facts", None)
    if facts is None:
        raise BadInputError(
            f"tile_scan: {parts.name} does not tell its field of view; give tile_um=[height, width]"
        )
    return facts.shape[0] * facts.pixel_size_um[0], facts.shape[1] * facts.pixel_size_um[1]
