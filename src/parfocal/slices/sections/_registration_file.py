"""A registration as a file, and as the shifts that it measured."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from parfocal.errors import BadInputError
from parfocal.files import write_atomically
from parfocal.slices.ledger import as_slice_id
from parfocal.slices.sections._register import Registration
from parfocal.slices.sections._register_pair import PairRegistration
from parfocal.slices.sections._shifts import ShiftTable

_FORMAT = "parfocal slice registration"
_NUMBERS = ("dy_px", "dx_px", "step_y_px", "step_x_px", "rotation_deg", "z_correlation", "ncc", "confidence")


def write_registration(path: str | os.PathLike[str], registration: Registration) -> Path:
    """Write the pairs as JSON; the stage's messages are not part of it."""
    pairs: list[dict[str, Any]] = []
    for pair in registration.pairs:
        told = asdict(pair)
        for name in _NUMBERS:
            told[name] = told[name] if math.isfinite(told[name]) else None
        pairs.append(told | {"matrix": pair.matrix.tolist(), "residual": pair.residual.tolist()})
    with write_atomically(path) as temporary:
        text = json.dumps({"format": _FORMAT, "version": 1, "pairs": pairs}, indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return Path(path)


def read_registration(path: str | os.PathLike[str]) -> Registration:
    """Read what `write_registration` wrote.

    Raises
    ------
    BadInputError
        It is no such file; the message says where.
    """
    source = Path(path)
    try:
        content: Any = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"{source}: not readable as JSON: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or cast(dict[str, Any], content).get("format") != _FORMAT:
        raise BadInputError(f"{source}: no slice registration; `parfocal slices register` writes one")
    pairs: list[PairRegistration] = []
    for k, told in enumerate(cast(list[Any], cast(dict[str, Any], content).get("pairs") or [])):
        try:
            pairs.append(_pair(told))
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"{source}: pair {k} is damaged: {' '.join(str(error).split())}") from error
    return Registration(tuple(pairs))


def measured_shifts(registration: Registration, voxel_size_um: tuple[float, float, float]) -> ShiftTable:
    """Return the steps that images told, as a shift table; 0 where a pair is not to be trusted at all."""
    pairs = registration.pairs
    used = np.array([pair.action != "skip" for pair in pairs])
    dx = np.where(used, [pair.step_x_px for pair in pairs], 0.0)
    dy = np.where(used, [pair.step_y_px for pair in pairs], 0.0)
    _, y_um, x_um = voxel_size_um
    ids = tuple(p.fixed_id for p in pairs), tuple(p.moving_id for p in pairs)
    return ShiftTable(*ids, dx * x_um / 1e3, dy * y_um / 1e3, dx, dy)


def with_verified_steps(
    shifts: ShiftTable,
    registration: Registration,
    voxel_size_um: tuple[float, float, float],
) -> ShiftTable:
    """Return the shifts, the steps of pairs that were verified replaced by what the images told."""
    known = registration.by_moving()
    _, y_um, x_um = voxel_size_um
    dx_mm, dy_mm = shifts.dx_mm.copy(), shifts.dy_mm.copy()
    dx_px = None if shifts.dx_px is None else shifts.dx_px.copy()
    dy_px = None if shifts.dy_px is None else shifts.dy_px.copy()
    reliable = None if shifts.reliable is None else shifts.reliable.copy()
    for row, (fixed, moving) in enumerate(zip(shifts.fixed_id, shifts.moving_id, strict=True)):
        pair = known.get(moving)
        if pair is None or pair.fixed_id != fixed or not pair.is_verified:
            continue
        dx_mm[row], dy_mm[row] = pair.step_x_px * x_um / 1e3, pair.step_y_px * y_um / 1e3
        if dx_px is not None and dy_px is not None:
            dx_px[row], dy_px[row] = pair.step_x_px, pair.step_y_px
        if reliable is not None:
            reliable[row] = True
    return replace(shifts, dx_mm=dx_mm, dy_mm=dy_mm, dx_px=dx_px, dy_px=dy_px, reliable=reliable)


def _pair(told: Any) -> PairRegistration:
    numbers = {name: math.nan if told[name] is None else float(told[name]) for name in _NUMBERS}
    matrix, residual = (np.array(told[name], np.float64) for name in ("matrix", "residual"))
    if any(m.shape != (3, 3) or not np.isfinite(m).all() for m in (matrix, residual)):
        raise ValueError("a matrix of 3x3 finite numbers was expected")
    if told["action"] not in ("full", "rotation", "skip"):
        raise ValueError(f"action {told['action']!r}")
    return PairRegistration(
        fixed_id=as_slice_id(told["fixed_id"]),
        moving_id=as_slice_id(told["moving_id"]),
        fixed_z=int(told["fixed_z"]),
        moving_z=int(told["moving_z"]),
        action=told["action"],
        reason=str(told["reason"]),
        is_verified=bool(told.get("is_verified", False)),
        matrix=matrix,
        residual=residual,
        **numbers,
    )
