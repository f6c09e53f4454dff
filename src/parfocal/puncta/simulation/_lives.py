"""The lives of puncta: when they are born and bleach, merge and split, where they go, when they shine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.puncta.simulation import _paths
from parfocal.puncta.simulation._background import Surroundings
from parfocal.puncta.simulation._draws import Part, generator, log_uniform
from parfocal.puncta.simulation._scene import Motion, PunctaScene

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_SWITCHING = 4


@dataclass(frozen=True, eq=False)
class Lives:
    """Every punctum of a scene, in the sample: drift is not in it.

    Attributes
    ----------
    first, last : int64[n]
        Frames of its life, `last` not included.
    y_px, x_px : float64[n, frame, sub-frame]
    on : float64[n, frame, sub-frame]
        Share of each sub-frame in which it shines.
    photons : float64[n]
        Of a frame in which it shines throughout, at full illumination.
    z_um, sigma_px : float64[n]
        Sigma along x.
    doing : uint8[n, frame]
        Index into `MOTIONS`, in the middle of the exposure.
    parents : int64[k, 2]
    """

    first: Ints
    last: Ints
    y_px: Floats
    x_px: Floats
    on: Floats
    photons: Floats
    z_um: Floats
    sigma_px: Floats
    doing: NDArray[np.uint8]
    parents: Ints

    @property
    def n(self) -> int:
        """How many."""
        return self.first.size


def live(scene: PunctaScene, around: Surroundings) -> Lives:
    """Draw the lives of a scene's puncta."""
    y, x = _places(scene, around)
    n, t, s = y.size, scene.n_frames, scene.sub_frames
    families = _families(scene, n)
    origin = np.zeros(n, np.int64)
    first, last = np.zeros(n, np.int64), np.full(n, t, np.int64)
    light, motion = generator(scene.seed, Part.LIGHT), generator(scene.seed, Part.MOTION)
    photons = scene.photons * np.exp(light.normal(0, scene.photons_spread, n))
    sigma = scene.psf.core_sigma_um / scene.pixel_size_um[1] * np.exp(light.normal(0, scene.psf.sigma_spread, n))
    z = light.uniform(-scene.psf.z_range_um, scene.psf.z_range_um, n)
    doing = _what_they_do(scene, motion, n)
    d, well = log_uniform(motion, scene.motion.d_um2_per_s, n), log_uniform(motion, scene.motion.confinement_um, n)
    speed, heading = log_uniform(motion, scene.motion.speed_um_per_s, n), motion.uniform(0, 2 * np.pi, n)
    parents: list[tuple[int, int]] = []
    for frame, whole, one, other, is_split in families:
        for part in (one, other):
            y[part], x[part], z[part] = y[whole], x[whole], z[whole]
            parents.append((whole, part) if is_split else (part, whole))
        for member in (whole, one, other):
            origin[member] = frame * s
            doing[member] = _paths.BROWNIAN
            # The upper half of the range: two that hardly move would never be seen apart.
            d[member] = scene.motion.d_um2_per_s[1] ** 0.75 * scene.motion.d_um2_per_s[0] ** 0.25
        photons[whole] = photons[one] + photons[other]
        before, after = ((whole,), (one, other)) if is_split else ((one, other), (whole,))
        last[list(before)], first[list(after)] = frame, frame
    path = np.empty((n, t * s, 2))
    if n:
        path[np.arange(n), origin] = np.stack([y * scene.pixel_size_um[0], x * scene.pixel_size_um[1]], axis=1)
        velocity = (speed * np.stack([np.sin(heading), np.cos(heading)])).T
        _walk(scene, around, path, origin, doing, d, well, np.ascontiguousarray(velocity))
    on = _shining(scene, n, first, last, is_in_family=np.isin(np.arange(n), [m for f in families for m in f[1:4]]))
    places = path.reshape(n, t, s, 2)
    return Lives(
        first,
        last,
        places[..., 0] / scene.pixel_size_um[0],
        places[..., 1] / scene.pixel_size_um[1],
        on,
        photons,
        z,
        sigma,
        np.ascontiguousarray(doing[:, s // 2 :: s]),
        np.array(parents, np.int64).reshape(-1, 2),
    )


def _places(scene: PunctaScene, around: Surroundings) -> tuple[Floats, Floats]:
    """Return where puncta are in the first frame, px: inside the cell, apart as asked."""
    rng = generator(scene.seed, Part.PLACES)
    height, width = scene.shape_px
    m = scene.margin_px
    mean = (
        scene.n_puncta * max((height + 2 * m) * (width + 2 * m), 0) / (height * width) if m > 0 else scene.n_puncta
    )
    n = round(mean) if scene.is_count_exact else int(rng.poisson(mean))
    y, x = np.empty(n), np.empty(n)
    placed = 0
    for _ in range(50):
        left = n - placed
        if not left:
            break
        new_y, new_x = rng.uniform(-0.5 - m, height - 0.5 + m, left), rng.uniform(-0.5 - m, width - 0.5 + m, left)
        fits = around.at(around.cell, new_y, new_x) > 0.5
        if scene.min_distance_px:
            nearest2 = scene.min_distance_px**2
            for i in np.flatnonzero(fits):
                distance2 = (y[:placed] - new_y[i]) ** 2 + (x[:placed] - new_x[i]) ** 2
                if not placed or distance2.min() >= nearest2:
                    y[placed], x[placed] = new_y[i], new_x[i]
                    placed += 1
        else:
            count = int(fits.sum())
            y[placed : placed + count], x[placed : placed + count] = new_y[fits], new_x[fits]
            placed += count
    return y[:placed], x[:placed]


def _families(scene: PunctaScene, n: int) -> list[tuple[int, int, int, int, bool]]:
    """Return (frame, whole, part, part, is split) of merges and splits, three puncta each, from the last on."""
    told = scene.motion
    if not told.merges + told.splits or scene.n_frames < 4:
        return []
    rng = generator(scene.seed, Part.FAMILIES)
    kinds = [False] * int(rng.poisson(told.merges)) + [True] * int(rng.poisson(told.splits))
    frames = rng.integers(max(1, scene.n_frames // 5), scene.n_frames - max(1, scene.n_frames // 5), len(kinds))
    members = [(n - 1 - 3 * k, n - 2 - 3 * k, n - 3 - 3 * k) for k in range(min(len(kinds), n // 3))]
    return [(int(f), *m, split) for f, m, split in zip(frames, members, kinds)]


def _what_they_do(scene: PunctaScene, rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Return the state of each punctum at each step."""
    steps = scene.n_frames * scene.sub_frames
    shares = np.array(scene.motion.shares)
    kind = rng.choice(5, n, p=shares / shares.sum())
    doing = np.repeat(np.where(kind == _SWITCHING, 0, kind).astype(np.uint8)[:, None], steps, axis=1)
    for i in np.flatnonzero(kind == _SWITCHING):
        doing[i] = _switching(scene.motion, scene.duration_s, steps, rng)
    return doing


def _switching(motion: Motion, duration_s: float, steps: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    count = 8 + int(3 * duration_s / motion.dwell_s)
    ends = np.cumsum(rng.exponential(motion.dwell_s, count))
    # Each state is one of the two that the one before was not.
    states = (int(rng.integers(3)) + np.cumsum(rng.integers(1, 3, count))) % 3
    times = (np.arange(steps) + 0.5) * duration_s / steps
    return states[np.minimum(np.searchsorted(ends, times), count - 1)].astype(np.uint8)


def _walk(
    scene: PunctaScene,
    around: Surroundings,
    path: Floats,
    origin: Ints,
    doing: NDArray[np.uint8],
    d: Floats,
    well: Floats,
    velocity: Floats,
) -> None:
    t, s = scene.n_frames, scene.sub_frames
    pixel = np.array(scene.pixel_size_um)
    sub_s = scene.open_s / s
    dt = np.full(t * s - 1, sub_s)
    dt[s - 1 :: s] += scene.frame_interval_s - scene.open_s
    height, width = scene.shape_px
    low = (np.full(2, -0.5) - scene.margin_px) * pixel
    high = (np.array([height, width]) - 0.5 + scene.margin_px) * pixel
    inside = np.ones((1, 1), np.uint8)
    if scene.background.has_cell:
        inside = (around.cell > 0.5).astype(np.uint8)
    draws = generator(scene.seed, Part.STEPS).standard_normal((path.shape[0], t * s, 2))
    corner = np.full(2, -float(around.margin_px)) * pixel
    _paths.walk(path, origin, dt, doing, d, well, velocity, draws, low, high, inside, corner, pixel)


def _shining(scene: PunctaScene, n: int, first: Ints, last: Ints, is_in_family: NDArray[np.bool_]) -> Floats:
    """Return how much of each sub-frame each shines; cut lives where it has bleached or is on but once.

    Those that merge or split neither blink nor bleach: what came of them would be no telling.
    """
    t, s = scene.n_frames, scene.sub_frames
    on = np.ones((n, t, s))
    rng = generator(scene.seed, Part.BLINKING)
    begins = np.arange(t)[:, None] * scene.frame_interval_s + np.arange(s) * (scene.open_s / s)
    edges = np.stack([begins, begins + scene.open_s / s], axis=-1)
    for i in range(n):
        times, cumulative, end_s = _switch_times(scene, rng)
        if is_in_family[i] or times is None:
            continue
        light_s = np.interp(edges, times, cumulative)
        on[i] = (light_s[..., 1] - light_s[..., 0]) * (s / scene.open_s)
        np.clip(on[i], 0, 1, out=on[i])
        born_s = times[1] if scene.blinking is not None and scene.blinking.off_s is None else 0.0
        first[i] = min(max(int(born_s / scene.frame_interval_s), 0), t)
        last[i] = max(int(np.ceil(min(end_s, scene.duration_s) / scene.frame_interval_s - 1e-9)), first[i])
    on *= ((np.arange(t) >= first[:, None]) & (np.arange(t) < last[:, None]))[..., None]
    return on


def _switch_times(scene: PunctaScene, rng: np.random.Generator) -> tuple[Floats | None, Floats, float]:
    """Return times, the seconds of light until each, and when its life ends."""
    told, end_s = scene.blinking, scene.duration_s
    bleach_s = rng.exponential(scene.bleaching_s) if scene.bleaching_s is not None else np.inf
    if told is None:
        if scene.bleaching_s is None:
            return None, np.empty(0), end_s
        return np.array([-1.0, 0.0, bleach_s, bleach_s + 1]), np.array([0.0, 0.0, bleach_s, bleach_s]), bleach_s
    if told.off_s is None:
        begin = rng.uniform(-3 * told.on_s, end_s)
        stop = begin + min(rng.exponential(told.on_s), bleach_s)
        return np.array([begin - 1, begin, stop, stop + 1]), np.array([0, 0, stop - begin, stop - begin]), stop
    count = 8 + int(3 * end_s / (told.on_s + told.off_s))
    spans = rng.exponential(1, (count, 2)) * (told.on_s, told.off_s)
    is_on = np.tile([1.0, 0.0], count)
    times = np.concatenate([[0.0], np.cumsum(spans.ravel())])
    if rng.random() > told.on_s / (told.on_s + told.off_s):  # begins dark; exponential times have no memory
        times = np.concatenate([[0.0], spans[-1, 1] + times])
        is_on = np.concatenate([[0.0], is_on])
    light = np.concatenate([[0.0], np.cumsum(np.diff(times) * is_on)])
    if np.isfinite(bleach_s):
        stopped = np.interp(bleach_s, times, light)
        kept = times < bleach_s
        times = np.concatenate([times[kept], [bleach_s, bleach_s + end_s]])
        light = np.concatenate([light[kept], [stopped, stopped]])
    return times, light, bleach_s
