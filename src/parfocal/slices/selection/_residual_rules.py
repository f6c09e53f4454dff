"""Rules that compare sharpness with the curve it ought to follow."""

from __future__ import annotations

from typing import Any

import numpy as np

from parfocal.errors import BadInputError
from parfocal.slices.selection._curve import CurveFit, CurveModel, fit_curve
from parfocal.slices.selection._decide import decide, joined, not_applicable
from parfocal.slices.selection._evidence import Selection, StackEvidence
from parfocal.slices.selection._motion_rules import Sharp
from parfocal.slices.selection._sharpness_rules import edge_notes, mad_sharpness, peak_of_evidence, peak_relative

_FEWEST = 6


def curve_residuals(evidence: StackEvidence, *, model: CurveModel = "parabola", k: float = 3.0) -> Selection:
    """Leave out frames whose sharpness lies off the focus curve: motion blurs a frame that z alone would not.

    A frame goes where its residual is more than `k` robust standard deviations. At least six frames; the fit is
    robust, so that bad frames do not bend it.

    Parameters
    ----------
    evidence : StackEvidence
        Sharpness along z.
    model : {"parabola", "gaussian"}
        Parabola of ln(score) over the frames around the peak, down to a fifth of it; frames beyond are not judged,
        and stay. Or Gaussian and offset over all frames.
    k : float
        Robust standard deviations.

    Notes
    -----
    "peak_at_edge" is noted where the curve's vertex lies outside the z that were sampled, or the sharpest frame is
    the first or last: focus is not bracketed.
    """
    parameters: dict[str, Any] = {"model": model, "k": k}
    if model not in ("parabola", "gaussian"):
        raise BadInputError(f"curve_residuals: model {model!r} is unknown; expected parabola or gaussian")
    if k <= 0:
        raise BadInputError(f"curve_residuals: k is {k:g}, expected above 0")
    fit = fit_curve(evidence.z_um, evidence.sharpness, model)
    if fit is None:
        why = f"fewer than {_FEWEST} frames near the peak, or no peak"
        return not_applicable("curve_residuals", parameters, evidence, why)
    return decide("curve_residuals", parameters, _off(fit, k, model), k, _edge(evidence, fit))


def sharpness_or_residual(
    evidence: StackEvidence,
    *,
    sharp: Sharp = "peak_relative",
    alpha: float = 0.7,
    sharp_k: float = 2.0,
    model: CurveModel = "parabola",
    k: float = 3.0,
) -> Selection:
    """Leave out frames that are blurred, or off the focus curve.

    Where too few frames make a curve, sharpness decides alone and a note says so.

    Parameters
    ----------
    evidence : StackEvidence
        Sharpness along z.
    sharp : {"peak_relative", "mad_sharpness"}
        What "blurred" means, with `alpha` or `sharp_k`.
    model, k
        As in `curve_residuals`.
    """
    parameters: dict[str, Any] = {"sharp": sharp, "alpha": alpha, "sharp_k": sharp_k, "model": model, "k": k}
    if sharp not in ("peak_relative", "mad_sharpness"):
        raise BadInputError(
            f"sharpness_or_residual: sharp {sharp!r} is unknown; expected peak_relative or mad_sharpness"
        )
    focused = (
        peak_relative(evidence, alpha=alpha) if sharp == "peak_relative" else mad_sharpness(evidence, k=sharp_k)
    )
    curve = curve_residuals(evidence, model=model, k=k)
    notes = list(dict.fromkeys(n for part in (focused, curve) for n in part.notes if "survived" not in n))
    # One word of the edge is enough, that of the frames.
    edges = [note for note in notes if note.startswith("peak_at_edge")]
    notes = [note for note in notes if note not in edges[1:]]
    reasons = joined(focused.reasons, curve.reasons if any(curve.reasons) else [""] * evidence.n_frames)
    return decide("sharpness_or_residual", parameters, reasons, focused.threshold, notes)


def _off(fit: CurveFit, k: float, model: str) -> list[str]:
    return [
        f"off the curve: {value:+.1f} robust SD from the {model}" if np.isfinite(value) and abs(value) > k else ""
        for value in fit.residual.tolist()
    ]


def _edge(evidence: StackEvidence, fit: CurveFit) -> tuple[str, ...]:
    low, high = float(np.min(evidence.z_um)), float(np.max(evidence.z_um))
    if not low <= fit.vertex_um <= high:
        return (f"peak_at_edge: the curve's vertex, {fit.vertex_um:.4g}, lies outside {low:.4g} to {high:.4g}",)
    return edge_notes(evidence, peak_of_evidence(evidence))
