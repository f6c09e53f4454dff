"""Rules that accept or refuse a stack as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from parfocal.robust import longest_run
from parfocal.slices.selection._decide import checked_fraction, decide, not_applicable
from parfocal.slices.selection._evidence import Selection, StackEvidence


def morphseq_ncc(
    evidence: StackEvidence,
    *,
    bad_pair: float = 0.90,
    min_ncc: float = 0.85,
    max_bad_share: float = 0.10,
    min_relative_entropy: float | None = -0.55,
) -> Selection:
    """Refuse a stack whose neighbours do not correlate; of one that passes, keep all but frames of bad pairs.

    A stack fails where its lowest correlation of neighbours is below `min_ncc` or more than `max_bad_share` of its
    pairs are bad (below `bad_pair`, or not defined). The numbers come from labelled stacks of moving embryos, 15
    slices 50 um apart, judged inside each embryo's mask: gather the evidence with `mask=` of one object.

    Parameters
    ----------
    evidence : StackEvidence
        `facts["relative_entropy"]`, where it is there, is judged too: it shows blur within a slice.
    bad_pair : float
        A pair below is bad.
    min_ncc : float
        The stack fails where its worst pair is below.
    max_bad_share : float
        The stack fails where more than this share of its pairs is bad.
    min_relative_entropy : float, optional
        The stack fails where its median relative entropy is below, bits. None: not judged.

    Notes
    -----
    The verdict is the first note: "verdict PASS", "verdict WARN" (bad pairs, yet within limits) or "verdict FAIL",
    with its numbers and the longest run of bad pairs.
    """
    parameters: dict[str, Any] = {
        "bad_pair": bad_pair,
        "min_ncc": min_ncc,
        "max_bad_share": max_bad_share,
        "min_relative_entropy": min_relative_entropy,
    }
    for name in ("bad_pair", "min_ncc"):
        checked_fraction("morphseq_ncc", name, parameters[name], -1.0)
    n = evidence.n_frames
    if n < 2:
        return not_applicable("morphseq_ncc", parameters, evidence, "a single frame has no neighbour")
    bad = ~(evidence.adjacent >= bad_pair)
    finite = evidence.adjacent[np.isfinite(evidence.adjacent)]
    lowest = float(finite.min()) if finite.size else float("nan")
    share, longest = float(bad.mean()), longest_run(bad)
    failures: list[str] = []
    if not lowest >= min_ncc:
        failures.append(f"lowest correlation {lowest:.3f} < {min_ncc:g}")
    if share > max_bad_share:
        failures.append(f"{share:.0%} of pairs bad > {max_bad_share:.0%}")
    entropy = evidence.facts.get("relative_entropy")
    if entropy is not None and min_relative_entropy is not None and np.isfinite(entropy).any():
        median = float(np.nanmedian(entropy))
        if median < min_relative_entropy:
            failures.append(f"median relative entropy {median:.2f} < {min_relative_entropy:g}")
    numbers = f"lowest correlation {lowest:.3f}, {int(bad.sum())} of {bad.size} pairs bad, longest run {longest}"
    if failures:
        why = "; ".join(failures)
        notes = (f"verdict FAIL: {why} ({numbers})", f"nothing survived: the stack fails: {why}")
        return decide("morphseq_ncc", parameters, [f"the stack fails: {why}"] * n, bad_pair, notes)
    reasons = [""] * n
    for i in np.flatnonzero(bad).tolist():
        for frame in (i, i + 1):
            text = f"correlation of frames {i} and {i + 1} is {evidence.adjacent[i]:.3f} < {bad_pair:g}"
            reasons[frame] = reasons[frame] or text
    verdict = f"verdict {'WARN' if bad.any() else 'PASS'}: {numbers}"
    return decide("morphseq_ncc", parameters, reasons, bad_pair, (verdict,))
