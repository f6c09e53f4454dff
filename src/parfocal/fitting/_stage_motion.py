"""How a stage moves: its answer to a step, its play, and how its axes lie to those of the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parfocal.errors import BadInputError
from parfocal.robust import robust_sd


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error (NaN where that is not known)."""

    value: float
    se: float

    @classmethod
    def of_middle(cls, values: ArrayLike) -> Estimate:
        """Return the median of repeated measurements, among which a few may be wild."""
        found = np.asarray(values, np.float64)
        found = found[np.isfinite(found)]
        if found.size < 3:
            return cls.of(found)
        return cls(float(np.median(found)), 1.2533 * robust_sd(found) / math.sqrt(found.size))

    @classmethod
    def of(cls, values: ArrayLike) -> Estimate:
        """Return the mean of repeated measurements."""
        found = np.asarray(values, np.float64)
        found = found[np.isfinite(found)]
        if not found.size:
            return cls(math.nan, math.nan)
        se = float(found.std(ddof=1)) / math.sqrt(found.size) if found.size > 1 else math.nan
        return cls(float(found.mean()), se)


@dataclass(frozen=True)
class StepResponse:
    """The answer of an axis to one step, in its own readback.

    Attributes
    ----------
    step_um : float
        From where it was to where it ended, um.
    dead_s : float
        From the command to where 5 % of the way was done.
    delay_s : float
        The step as if it were sudden: the integral of what is still to go, over the step.
    rise_s : float
        From 10 to 90 % of the way.
    settling_s, settling_se_s : float
        From the command until it stays within the tolerance of where it ended; how coarsely that was looked at.
    overshoot_um : float
        Farthest beyond where it ended; 0 where that was not told from noise.
    miss_um : float
        Where it ended, less where it was sent.
    noise_um : float
        Standard deviation of the readback at rest.
    """

    step_um: float
    dead_s: float
    delay_s: float
    rise_s: float
    settling_s: float
    settling_se_s: float
    overshoot_um: float
    miss_um: float
    noise_um: float


def step_response(
    t_s: ArrayLike, position_um: ArrayLike, from_um: float, to_um: float, tolerance_um: float = 0.0
) -> StepResponse:
    """Return how an axis answered a step.

    Parameters
    ----------
    t_s : array_like of shape (n,)
        When the readback was taken, s from the command.
    position_um : array_like of shape (n,)
        The readback, um.
    from_um, to_um : float
        Where it was, and was sent.
    tolerance_um : float
        What counts as arrived; at least four times the readback's noise is taken.

    Raises
    ------
    BadInputError
        Fewer than 8 readings, or no step.
    """
    t, position = np.asarray(t_s, np.float64), np.asarray(position_um, np.float64)
    if t.size < 8 or t.shape != position.shape or from_um == to_um:
        raise BadInputError("step response: 8 readings or more and a step were expected")
    rest = position[-max(t.size // 4, 4) :]
    end_um = float(np.median(rest))
    noise_um = robust_sd(rest)
    step_um = end_um - from_um
    if abs(step_um) < max(4 * noise_um, 0.2 * abs(to_um - from_um)):
        nan = math.nan
        return StepResponse(step_um, nan, nan, nan, nan, nan, nan, end_um - to_um, noise_um)
    done = (position - from_um) / step_um
    begins = np.concatenate([[0.0], t[t > 0]])
    gone = np.concatenate([[0.0], done[t > 0]])
    delay_s = float((np.diff(begins) * (1 - (gone[1:] + gone[:-1]) / 2)).sum())
    allowed_um = max(tolerance_um, 4 * noise_um)
    outside = np.flatnonzero(np.abs(position - end_um) > allowed_um)
    last = int(outside[-1]) if outside.size else -1
    since_s = max(float(t[last]), 0.0) if last >= 0 else 0.0
    until_s = float(t[min(last + 1, t.size - 1)])
    beyond_um = float(np.max((position - end_um) * math.copysign(1.0, step_um)))
    return StepResponse(
        step_um,
        _crossing_s(begins, gone, 0.05),
        delay_s,
        _crossing_s(begins, gone, 0.9) - _crossing_s(begins, gone, 0.1),
        (since_s + until_s) / 2,
        (until_s - since_s) / math.sqrt(12),
        beyond_um if beyond_um > max(5 * noise_um, 1e-3 * abs(step_um)) else 0.0,
        end_um - to_um,
        noise_um,
    )


def _crossing_s(t: NDArray[np.float64], done: NDArray[np.float64], share: float) -> float:
    """Return when a share of the way was first done, between two readings by a straight line."""
    k = int(np.argmax(done >= share))
    if done[k] < share:
        return math.nan
    if k == 0:
        return float(t[0])
    part = (share - done[k - 1]) / (done[k] - done[k - 1])
    return float(t[k - 1] + part * (t[k] - t[k - 1]))


def backlash_um(displacement_um: ArrayLike, side: ArrayLike, t_s: ArrayLike) -> Estimate:
    """Return the play of an axis: how much farther the load stands when a place was come to from above.

    From one approach to the next, so that a sample which drifts or wanders meanwhile adds no more than one step of
    its way: least squares of the changes over the changes of side and the time between. Wild changes (4 robust
    standard deviations) are left out.

    Parameters
    ----------
    displacement_um : array_like of shape (n,)
        Where the load was seen to be, um.
    side : array_like of shape (n,)
        -1 where it came from below, 1 from above; best by turns.
    t_s : array_like of shape (n,)
        When, s.

    Raises
    ------
    BadInputError
        Fewer than 4 changes of side.
    """
    d, s, t = (np.asarray(values, np.float64) for values in (displacement_um, side, t_s))
    known = np.isfinite(d)
    d, s, t = d[known], s[known], t[known]
    if np.count_nonzero(np.diff(s)) < 4:
        raise BadInputError("backlash: four changes of side or more were expected")
    design, change = np.stack([np.diff(s) / 2, np.diff(t)], axis=1), np.diff(d)
    ok = np.ones(change.size, np.bool_)
    fitted, rest = np.zeros(2), change
    for _ in range(2):
        fitted = np.linalg.lstsq(design[ok], change[ok], rcond=None)[0]
        rest = change - design @ fitted
        kept = ok & (np.abs(rest) <= 4 * max(robust_sd(rest[ok], 0.0), 1e-9))
        if np.array_equal(kept, ok) or np.count_nonzero(design[kept, 0]) < 4:
            break
        ok = kept
    # The noise of one frame is in two changes, with opposite signs: neighbours are not independent.
    left = rest[ok]
    sandwich = design[ok] * left[:, None]
    meat = sandwich.T @ sandwich
    cross = sandwich[1:].T @ sandwich[:-1]
    bread = np.linalg.pinv(design[ok].T @ design[ok])
    dof = max(int(ok.sum()) - 2, 1)
    independent = float(bread[0, 0]) * float((left**2).sum()) / dof
    paired = float((bread @ (meat + cross + cross.T) @ bread)[0, 0]) * ok.sum() / dof
    return Estimate(float(fitted[0]), math.sqrt(max(independent, paired)))


@dataclass(frozen=True, eq=False)
class StageAffine:
    """How the picture moves with the stage.

    Attributes
    ----------
    px_per_um : ndarray of shape (2, 2)
        Motion of the picture's content (y, x), px, per um of the stage's (y, x).
    px_per_um_se : ndarray of shape (2, 2)
        Standard errors.
    pixel_size_um : Estimate
        Of both axes of the camera: the square root of um² per px².
    pixel_sizes_um : (float, float)
        Along the camera's y and x.
    rotation_deg : float
        From the stage's x to the camera's x, after mirroring.
    shear : float
        Departure of the axes from a right angle, rad.
    is_mirrored : bool
        Whether one axis runs the other way.
    residual_px : float
        Root mean square of what the line leaves.
    """

    px_per_um: NDArray[np.float64]
    px_per_um_se: NDArray[np.float64]
    pixel_size_um: Estimate
    pixel_sizes_um: tuple[float, float]
    rotation_deg: float
    shear: float
    is_mirrored: bool
    residual_px: float


def stage_affine(stage_um: ArrayLike, moved_px: ArrayLike, t_s: ArrayLike) -> StageAffine:
    """Return the affine between stage and camera, by least squares with a steady drift of the sample beside it.

    Parameters
    ----------
    stage_um : array_like of shape (n, 2)
        Where the stage was, (y, x), um.
    moved_px : array_like of shape (n, 2)
        How far the picture's content was moved against the first frame, (y, x), px; rows with NaN are left out.
    t_s : array_like of shape (n,)
        When, s.

    Raises
    ------
    BadInputError
        Fewer than 6 frames that could be laid on the first, or moves along one line only.
    """
    at, moved, t = (np.asarray(values, np.float64) for values in (stage_um, moved_px, t_s))
    ok = np.isfinite(moved).all(axis=1)
    if int(ok.sum()) < 6:
        raise BadInputError(f"stage affine: {int(ok.sum())} frames could be laid on the first, expected 6 or more")
    at, moved, t = at[ok], moved[ok], t[ok]
    design = np.column_stack([at - at.mean(axis=0), np.ones(len(at)), t - t.mean()])
    if np.linalg.matrix_rank(design[:, :2]) < 2:
        raise BadInputError("stage affine: the stage moved along one line, expected moves along both axes")
    fitted, _, rank, _ = np.linalg.lstsq(design, moved, rcond=None)
    rest = moved - design @ fitted
    dof = max(len(at) - int(rank), 1)
    variance = (rest**2).sum(axis=0) / dof
    unit = np.linalg.pinv(design.T @ design)
    a = fitted[:2].T  # [camera axis, stage axis]
    se = np.sqrt(np.outer(variance, np.diag(unit)[:2]))
    determinant = float(np.linalg.det(a))
    if determinant == 0:
        raise BadInputError("stage affine: the picture does not move with the stage: is there a sample in focus?")
    inverse = np.linalg.inv(a)
    size = 1 / math.sqrt(abs(determinant))
    by_entry = -0.5 * size * inverse.T  # d size / d entry, times the sign that drops out of the square
    size_se = float(np.sqrt(((by_entry * se) ** 2).sum()))
    along_y, along_x = (1 / float(np.hypot(*row)) for row in a)
    is_mirrored = determinant < 0
    turned = a * np.array([1.0, -1.0]) if is_mirrored else a
    angle = math.degrees(math.atan2(turned[0, 1] - turned[1, 0], turned[0, 0] + turned[1, 1]))
    cosine = float(a[:, 0] @ a[:, 1] / (np.hypot(*a[:, 0]) * np.hypot(*a[:, 1])))
    return StageAffine(
        a,
        se,
        Estimate(size, size_se),
        (along_y, along_x),
        angle,
        math.asin(max(-1.0, min(1.0, cosine))),
        is_mirrored,
        float(np.sqrt((rest**2).mean())),
    )
