"""What is said of puncta, their tracks and their calcium in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.puncta import Localizations
from parfocal.puncta.calcium import chance_of, false_discovery, odds_ratio, pearson, spearman
from parfocal.puncta.tables import PunctaResults

Floats = NDArray[np.float64]

_SHIFTS, _LEAST_SHIFT = 200, 10


def precision_nm(localizations: Localizations) -> Floats:
    """Return the standard error of each position, nm: the mean of both axes in squares."""
    size_y, size_x = localizations.pixel_size_um
    return 1e3 * np.hypot(localizations.x_se_px * size_x, localizations.y_se_px * size_y) / np.sqrt(2.0)


def co_occurrence(results: PunctaResults, seed: int = 0) -> dict[str, Any]:
    """Ask whether a punctum is brighter than usual while its calcium is up, more often than by chance.

    A frame is bright where a punctum exceeds the median of its track. `observed` is the share of bright frames
    with an event of its own; `by_chance` the same after each track's calcium was turned round in time by a random
    number of its frames, 200 times.
    """
    light = results.table(results.localizations.photons)
    is_known = np.isfinite(light)
    is_on = np.zeros(light.shape, bool)
    events, own = results.events, np.empty(0, bool)
    if events is not None:
        own = results.is_own if results.is_own is not None else ~events.is_wave
        for track, begin, end in zip(events.track[own], events.begin_frame[own], events.end_frame[own]):
            is_on[track, begin : end + 1] = True
    rng = np.random.default_rng(seed)
    hits, n_bright = np.zeros(_SHIFTS + 1), 0
    for k in range(len(light)):
        here = np.flatnonzero(is_known[k])
        if here.size <= 2 * _LEAST_SHIFT:
            continue
        bright = light[k, here] > np.median(light[k, here])
        on = is_on[k, here]
        n_bright += int(bright.sum())
        hits[0] += np.sum(on & bright)
        steps = rng.integers(_LEAST_SHIFT, here.size - _LEAST_SHIFT + 1, _SHIFTS)
        turned = on[(np.arange(here.size)[None] - steps[:, None]) % here.size]
        hits[1:] += (turned & bright).sum(axis=1)
    shares = hits / max(n_bright, 1)
    n_waves = 0 if events is None else int(events.is_wave.sum())
    return {
        "observed": float(shares[0]),
        "by_chance": shares[1:],
        "odds_ratio": odds_ratio(float(hits[0]), n_bright, float(hits[1:].mean())),
        "p": chance_of(float(shares[0]), shares[1:]),
        "signal_fraction": float(is_on[is_known].mean()) if is_known.any() else np.nan,
        "n_own": int(own.sum()),
        "n_waves": n_waves,
        "n_beside": 0 if events is None else len(events) - int(own.sum()) - n_waves,
        "rates_hz": _rates(results, is_known, own),
    }


def puncta_report(results: PunctaResults) -> dict[str, Any]:
    """Return all numbers of a recording by name; what is not known is None."""
    spots, n_tracks = results.localizations, results.tracks.n_tracks
    precision = precision_nm(spots)
    report: dict[str, Any] = {
        "n_puncta": len(spots),
        "n_frames": spots.n_frames,
        "n_tracks": n_tracks,
        "precision_median_nm": _median(precision),
        "photons_median": _median(spots.photons),
    }
    if "is_mobile" in results.by_track:
        mobile = results.by_track["is_mobile"].astype(bool)
        judged = results.by_track.get("is_judged", np.ones(n_tracks, bool)).astype(bool)
        report |= {"n_mobile": int((mobile & judged).sum()), "n_immobile": int((~mobile & judged).sum())}
        if "d_um2_s" in results.by_track:
            report["d_median_mobile_um2_s"] = _median(results.by_track["d_um2_s"][mobile & judged])
    if n_tracks and np.isfinite(results.dff).any():
        light, calcium = results.table(spots.photons), results.table(results.dff)
        report["pearson_median"] = _median(np.array([pearson(a, b) for a, b in zip(light, calcium)]))
        report["spearman_median"] = _median(np.array([spearman(a, b) for a, b in zip(light, calcium)]))
        q = false_discovery(_correlation_p(light, calcium))
        report["n_correlated_at_q_5_percent"] = int((q < 0.05).sum())
    if results.events is not None and n_tracks:
        found = co_occurrence(results)
        rates = {name: _median(values) for name, values in found["rates_hz"].items()}
        report |= {k: found[k] for k in ("n_own", "n_beside", "n_waves", "signal_fraction", "odds_ratio", "p")}
        report |= {"bright_with_calcium": found["observed"]}
        report |= {"bright_with_calcium_by_chance": float(found["by_chance"].mean())}
        report |= {f"events_per_s_{name}": value for name, value in rates.items()}
        distance = np.hypot(
            results.events.offset_y_px * spots.pixel_size_um[0],
            results.events.offset_x_px * spots.pixel_size_um[1],
        )
        is_own = results.is_own if results.is_own is not None else ~results.events.is_wave
        report["colocalization_median_nm"] = _median(1e3 * distance[is_own])
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in report.items()}


def _correlation_p(light: Floats, calcium: Floats) -> Floats:
    """Return p of each track's correlation against its calcium turned round in time."""
    rng = np.random.default_rng(0)
    found = np.full(len(light), np.nan)
    for k in range(len(light)):
        here = np.flatnonzero(np.isfinite(light[k]) & np.isfinite(calcium[k]))
        r = pearson(light[k], calcium[k])
        if here.size <= 2 * _LEAST_SHIFT or not np.isfinite(r):
            continue
        steps = rng.integers(_LEAST_SHIFT, here.size - _LEAST_SHIFT + 1, _SHIFTS)
        by_chance = np.array([abs(pearson(light[k, here], np.roll(calcium[k, here], s))) for s in steps])
        found[k] = chance_of(abs(r), by_chance)
    return found


def _rates(results: PunctaResults, is_known: NDArray[np.bool_], own: NDArray[np.bool_]) -> dict[str, Floats]:
    n_tracks = results.tracks.n_tracks
    step = results.frame_interval_s if np.isfinite(results.frame_interval_s) else 1.0
    lived = is_known.sum(axis=1) * step
    counts = (
        np.zeros(n_tracks)
        if results.events is None
        else np.bincount(results.events.track[own], minlength=n_tracks)
    )
    rate = counts / np.maximum(lived, step)
    none = np.zeros(n_tracks, bool)
    mobile = results.by_track.get("is_mobile", none).astype(bool)
    judged = results.by_track.get("is_judged", ~none if "is_mobile" in results.by_track else none).astype(bool)
    return {"all": rate, "mobile": rate[judged & mobile], "immobile": rate[judged & ~mobile]}


def _median(values: NDArray[Any]) -> float:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if known.size else np.nan
