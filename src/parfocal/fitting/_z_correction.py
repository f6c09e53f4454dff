"""What a sweep teaches beyond the model: a smooth monotone curve from estimated z to stage z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.fitting._defocus_model import ZCorrection
from parfocal.robust import MAD_TO_SD, robust_sd

_MAX_DEGREE = 9
_NODES = 129
_LEAST_SLOPE = 0.3
_LARGEST_FACTOR = 3.0


@dataclass(frozen=True, eq=False)
class ZSamples:
    """Direct-z estimates of a sweep's steps, all with the same light.

    Attributes
    ----------
    z_um, se_um : ndarray of shape (n,)
        Estimates and their standard errors, um; NaN where there is none.
    contrast : ndarray of shape (n,)
        photons / (background + read variance).
    """

    z_um: NDArray[np.float64]
    se_um: NDArray[np.float64]
    contrast: NDArray[np.float64]


def learn_correction(
    usual: ZSamples, others: Sequence[ZSamples], stage_um: NDArray[np.float64], read_variance_e2: float
) -> ZCorrection | None:
    """Fit stage z minus estimated z by a polynomial whose degree AICc chooses.

    Parameters
    ----------
    usual : ZSamples
        Estimates of the sweep as it was taken; they choose the degree.
    others : sequence of ZSamples
        Of the same pictures with the spot's light made less or more.
    stage_um : ndarray of shape (n,)
        Where the stage was, from focus, um.
    read_variance_e2 : float
        Mean over the pixels.

    Returns
    -------
    ZCorrection or None
        None with fewer than 8 samples, or where no polynomial leaves stage z growing with estimated z.
    """
    good = _kept(usual, stage_um)
    if good.sum() < 8 or np.ptp(usual.z_um[good]) <= 0:
        return None
    nodes = np.linspace(float(usual.z_um[good].min()), float(usual.z_um[good].max()), _NODES)
    best = _chosen(usual, stage_um, good, nodes)
    if best is None:
        return None
    curve, scatter = best
    rows = [(_contrast(usual, good, nodes), curve)]
    for other in others:
        seen = _kept(other, stage_um)
        # a light at which a third of the frames gives no estimate would be judged by the rest
        found = _chosen(other, stage_um, seen, nodes) if seen.sum() >= max(8, 0.67 * good.sum()) else None
        if found is not None:
            rows.append((_contrast(other, seen, nodes), found[0]))
    rows.sort(key=lambda row: float(np.median(row[0])))
    usual_at = next(i for i, row in enumerate(rows) if row[1] is curve)
    # noise may cross two of them somewhere: what lies beside the sweep's own gives way
    rows = [
        row
        for i, row in enumerate(rows)
        if i == usual_at or ((row[0] > rows[usual_at][0]) == (i > usual_at)).all()
    ]
    levels = [row[0] for row in rows]
    if not (np.diff(levels, axis=0) > 0).all():
        rows = [row for row in rows if row[1] is curve]
    return ZCorrection(
        model_um=tuple(nodes.tolist()),
        stage_um=tuple(tuple(row[1].tolist()) for row in rows),
        contrast=tuple(tuple(row[0].tolist()) for row in rows),
        usual=next(i for i, row in enumerate(rows) if row[1] is curve),
        read_variance_e2=read_variance_e2,
        se_factor=float(np.clip(scatter, 1.0, _LARGEST_FACTOR)),
    )


def _contrast(samples: ZSamples, good: NDArray[np.bool_], nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the contrast at the nodes, smoothed: wings of a defocused spot are partly taken for background."""
    z = samples.z_um[good]
    domain = (float(z.min()), float(z.max()))
    log_contrast = np.log(np.maximum(samples.contrast[good], 1e-6))
    curve = np.polynomial.Legendre.fit(z, log_contrast, min(3, z.size // 6), domain=domain)
    return np.exp(curve(np.clip(nodes, *domain)))


def _chosen(
    samples: ZSamples, stage_um: NDArray[np.float64], good: NDArray[np.bool_], nodes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float] | None:
    """Return stage z at the nodes and the scatter in standard errors, of the degree with the lowest AICc."""
    n = int(good.sum())
    lowest = np.inf
    best: tuple[NDArray[np.float64], float] | None = None
    for degree in range(min(_MAX_DEGREE, n // 4) + 1):
        curve, misfit = _polynomial(samples, stage_um, good, degree, nodes)
        k = degree + 2
        if curve is None or n - k - 1 <= 0:
            continue
        aicc = n * np.log(max(misfit, 1e-12) / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
        if aicc < lowest:
            lowest, best = aicc, (curve, float(np.sqrt(misfit / (n - k + 1))))
    return best


def _kept(samples: ZSamples, stage_um: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which estimates are near the stage: one on the wrong side of a fold is no error to be learnt."""
    good = np.isfinite(samples.z_um) & np.isfinite(samples.se_um) & np.isfinite(stage_um) & (samples.se_um > 0)
    if good.sum() >= 8:
        gap = samples.z_um[good] - stage_um[good]
        off = np.abs(gap - np.median(gap))
        good[np.flatnonzero(good)[off > max(8 * MAD_TO_SD * float(np.median(off)), 0.01)]] = False
    return good


def _polynomial(
    samples: ZSamples,
    stage_um: NDArray[np.float64],
    good: NDArray[np.bool_],
    degree: int,
    nodes: NDArray[np.float64],
) -> tuple[NDArray[np.float64] | None, float]:
    """Return stage z at the nodes, None where it does not grow, and the weighted sum of squares.

    A few wild frames do not pull it.
    """
    z, off = samples.z_um[good], (stage_um - samples.z_um)[good]
    weight = 1 / samples.se_um[good]
    domain = (float(z.min()), float(z.max()))
    curve = np.polynomial.Legendre.fit(z, off, degree, domain=domain, w=weight)
    left = (off - curve(z)) * weight
    limit = 4 * max(1.0, robust_sd(left, centre=0.0))
    kept = np.abs(left) <= limit
    if kept.sum() > degree + 3 and not kept.all():
        curve = np.polynomial.Legendre.fit(z[kept], off[kept], degree, domain=domain, w=weight[kept])
        left = (off - curve(z)) * weight
    at_nodes = nodes + curve(np.clip(nodes, *domain))
    grows = bool((np.diff(at_nodes) > _LEAST_SLOPE * np.diff(nodes)).all())
    return (at_nodes if grows else None), float(np.sum(np.square(np.clip(left, -limit, limit))))
