"""A small simulated recording of calcium at puncta, with all that is not calcium at puncta: seeded, quick."""

from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from parfocal.puncta import Localizations, PunctaTracks

STEP_S = 0.02
SIGMA_PX = 1.2


@dataclass
class Scene:
    """The movie, what was found in the channel of the puncta, and the truth."""

    movie: np.ndarray
    localizations: Localizations
    tracks: PunctaTracks
    onsets: list  # a list of onsets in frames for every punctum
    on: np.ndarray  # [punctum, frame]: an event is under way
    wave: np.ndarray  # [frame]
    stray: np.ndarray  # [n, 3]: frame, y, x of events without a punctum


def spot(shape, y, x, sigma):
    """Return a pixel-integrated Gaussian of one photon."""

    def share(centre, size):
        d = np.arange(size) - centre
        return 0.5 * (erf((d + 0.5) / (sigma * 2**0.5)) - erf((d - 0.5) / (sigma * 2**0.5)))

    return np.outer(share(y, shape[0]), share(x, shape[1]))


def response(frames, onset, rise=0.5, decay=8.0):
    """Return the mean of an event over each frame; its highest is about 1."""
    fine = frames[:, None] + np.linspace(-0.475, 0.475, 20) - onset
    t = np.maximum(fine, 0)
    return ((1 - np.exp(-t / rise)) * np.exp(-t / decay)).mean(axis=1) / 0.8


def calcium_scene(
    seed=0,
    n_frames=400,
    shape=(96, 96),
    n_puncta=25,
    event_photons=350.0,
    rest_photons=150.0,
    background=20.0,
    events_each=4,
    n_waves=2,
    n_stray=12,
    missing=0.04,
    bleed=0.0,
    step_px=0.08,
    margin=8,
):
    """Puncta that walk, blink and have events, under waves, drift of the light, bleaching and stray events."""
    rng = np.random.default_rng(seed)
    at = _apart(rng, n_puncta + n_stray, shape, margin)
    start, strays_at = at[:n_puncta], at[n_puncta:]
    paths = start[:, None] + np.cumsum(rng.normal(0, step_px, (n_puncta, n_frames, 2)), axis=1)
    paths = np.clip(paths, 3, np.array(shape) - 4.0)
    frames = np.arange(n_frames)
    gain = np.zeros((n_puncta, n_frames))
    onsets = [sorted(_spaced(rng, events_each, n_frames)) for _ in range(n_puncta)]
    on = np.zeros((n_puncta, n_frames), bool)
    for k, of_one in enumerate(onsets):
        for onset in of_one:
            shape_of = response(frames, onset)
            gain[k] += event_photons * shape_of
            on[k] |= shape_of > 0.1
    wave_at = np.linspace(0.3, 0.8, n_waves) * n_frames
    wave = sum((np.exp(-0.5 * ((frames - t) / 12) ** 2) for t in wave_at), np.zeros(n_frames))
    stray = np.column_stack((rng.uniform(20, n_frames - 40, n_stray), strays_at))
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    cell = 0.5 + np.exp(-0.5 * (((yy - shape[0] / 2) ** 2 + (xx - shape[1] / 2) ** 2) / (0.35 * shape[0]) ** 2))
    fading = np.exp(-frames / (4 * n_frames))
    photons = rng.lognormal(np.log(800), 0.2, n_puncta)[:, None] * np.ones(n_frames)
    movie = np.empty((n_frames, *shape), np.uint16)
    for t in frames:
        image = background * cell * (fading[t] + wave[t])
        for k in range(n_puncta):
            light = rest_photons * (fading[t] + wave[t]) + gain[k, t] + bleed * photons[k, t]
            image = image + light * spot(shape, *paths[k, t], SIGMA_PX)
        for when, y, x in stray:
            light = event_photons * response(np.array([t]), when)[0]
            if light > 1:
                image = image + light * spot(shape, y, x, SIGMA_PX)
        movie[t] = np.clip(np.rint(rng.poisson(image) + rng.normal(0, 1.5, shape) + 100), 0, 65535)
    seen = rng.random((n_frames, n_puncta)) >= missing
    frame, punctum = np.nonzero(seen)
    error = rng.normal(0, 0.1, (frame.size, 2))
    found = paths[punctum, frame] + error
    localizations = Localizations(
        (0.13, 0.13),
        frame,
        found[:, 1],
        found[:, 0],
        photons[punctum, frame],
        x_se_px=np.full(frame.size, 0.1),
        y_se_px=np.full(frame.size, 0.1),
    )
    tracks = PunctaTracks(punctum.astype(np.int64), np.empty((0, 2), np.int64), n_puncta)
    return Scene(movie, localizations, tracks, onsets, on, wave, stray)


def _apart(rng, n, shape, margin, least=8.0):
    kept = []
    while len(kept) < n:
        at = rng.uniform(margin, np.array(shape) - margin)
        if all(np.hypot(*(at - other)) > least for other in kept):
            kept.append(at)
    return np.array(kept)


def _spaced(rng, n, n_frames):
    """Return onsets at random, but each well after the last."""
    free = n_frames - 60 - 45 * (n - 1)
    return 25 + np.sort(rng.uniform(0, free, n)) + 45 * np.arange(n)


def matched(scene, events, within_frames=3.0):
    """Return how many events are right, wrong, and missed, and the errors of their onsets in frames."""
    right, errors = 0, []
    used = set()
    for k, of_one in enumerate(scene.onsets):
        for onset in of_one:
            near = [
                i
                for i in np.flatnonzero(events.track == k)
                if i not in used and abs(events.onset_s[i] / STEP_S - 0.5 - onset) <= within_frames
            ]
            if near:
                best = min(near, key=lambda i: abs(events.onset_s[i] / STEP_S - 0.5 - onset))
                used.add(best)
                right += 1
                errors.append(events.onset_s[best] / STEP_S - 0.5 - onset)
    total = sum(map(len, scene.onsets))
    return right, len(events.track) - right, total - right, np.array(errors)
