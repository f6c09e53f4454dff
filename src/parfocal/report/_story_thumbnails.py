"""Slices on the page: thumbnails with their verdicts, attempts at one slice side by side."""

from __future__ import annotations

import math
from html import escape

from parfocal.report._plot_svg import data_uri
from parfocal.report._story import RunStory
from parfocal.report._story_slices import Look


def thumbnails(run: RunStory) -> str:
    """Return the slices of one run; nothing where none has a picture."""
    told = run.slices
    if told is None or not told.groups:
        return ""
    judged = f", judged by {told.judged_by}: {told.n_rejected} rejected, {told.n_retaken} taken again"
    heading = f"{run.plan} {run.uid[:8]}" + (f", {run.sample}" if run.sample else "")
    counted = f"{told.n_shown} of {told.n_frames} frames{judged if told.judged_by else ''}"
    groups = "".join(_group(group) for group in told.groups)
    return f'<h3>{escape(heading)}</h3><p class="thinned">{escape(counted)}</p><div class="slices">{groups}</div>'


def _group(looks: tuple[Look, ...]) -> str:
    kind = "group again" if len(looks) > 1 else "group"
    return f'<div class="{kind}">{"".join(_look(look) for look in looks)}</div>'


def _look(look: Look) -> str:
    verdict = {None: "", True: "accepted", False: "rejected"}[look.accepted]
    z = f"z {look.z_um:+.2f} um" if math.isfinite(look.z_um) else ""
    attempt = f"attempt {look.attempt}" if verdict or look.attempt > 1 else ""
    score = f"score {look.score:.2f}" if math.isfinite(look.score) else ""
    name = f"{'slice' if verdict else 'frame'} {look.slice_id}"
    words = f"{verdict}: {look.reason}" if look.reason else verdict
    small = " · ".join(filter(None, (attempt, z, score)))
    picture = (
        f'<img alt="{escape(f"{name} {attempt}")}" src="{data_uri(look.pixels)}">'
        if look.pixels is not None
        else ""
    )
    return (
        f'<div class="slice {verdict}">{picture}<b>{escape(name)}</b>'
        f'<span class="verdict">{escape(words)}</span><small>{escape(small)}</small></div>'
    )
