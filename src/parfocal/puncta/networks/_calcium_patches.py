"""The calcium channel of a simulated patch, with what must not be taken for a signal of a punctum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parfocal.puncta.networks._normalise import Floats, seen_counts
from parfocal.puncta.networks._patch_draws import log_uniform, recorded_counts, uneven_field
from parfocal.puncta.networks._recipe import PatchRecipe

Doubles = NDArray[np.float64]


def calcium_frames(
    rng: np.random.Generator,
    recipe: PatchRecipe,
    x: Doubles,
    y: Doubles,
    photons: Doubles,
    sigma_px: float,
    read_variance: Floats,
) -> tuple[list[Floats], Doubles]:
    """Return three frames of the calcium channel as the network sees them, and where calcium is on in the middle.

    An event is a spot wider than the PSF around its punctum, in proportion to the rest there, that rises and
    decays over the frames. Waves (the whole patch brightens), events without a punctum, what is left of an event
    long ago, bleed-through of the puncta themselves and a rest that is uneven, as a cell's is, are there too, and
    are not on.

    Parameters
    ----------
    x, y, photons : float64[frame, punctum]
        Of the puncta.
    sigma_px : float
        Of the puncta channel.
    read_variance : float32[y, x]

    Returns
    -------
    frames : list of float32[2, y, x]
    is_on : float64[punctum]
    """
    from parfocal.puncta.networks._patch_kernel import add_gaussians

    side, n = recipe.crop_px, x.shape[1]
    field = uneven_field(rng, side, recipe.uneven_calcium_share)
    rest = float(log_uniform(rng, (15.0, 300.0))) * field
    spread = sigma_px * rng.uniform(1.3, 2.5)
    is_on = (rng.random(n) < rng.uniform(0.05, 0.6)) & (photons[1] > 0)
    # dF/F0 at the middle of the spot; between what is left of an old event and a new one nothing is asked
    peak = np.where(is_on, rng.uniform(0.35, 3.0, n), rng.uniform(0.0, 0.08, n) * (rng.random(n) < 0.5))
    strength = peak * np.stack([rng.choice([0.0, 0.5, 1.0, 1.15], n), np.ones(n), rng.uniform(0.3, 1.0, n)])
    core = 2 * np.pi * spread**2  # makes the middle of a spot 1
    wave = 1.0 + (rng.uniform(0.0, 2.0) * rng.uniform(0.2, 1.0, 3) if rng.random() < 0.25 else np.zeros(3))
    n_others = rng.poisson(1.0 if rng.random() < 0.4 else 0.0)
    other_x, other_y = rng.uniform(0, side, (2, n_others))
    other = rng.uniform(0.4, 3.0, n_others)
    far = np.ones(n_others, bool)
    if n and n_others:
        far = np.hypot(other_x[:, None] - x[1], other_y[:, None] - y[1]).min(axis=1) > 3 * spread
    bleed = rng.uniform(0.0, 0.08) if rng.random() < 0.4 else 0.0
    seen: list[Floats] = []
    for frame in range(3):
        rise = np.zeros((side, side))  # dF/F0
        add_gaussians(rise, x[frame], y[frame], strength[frame] * core, spread, spread)
        add_gaussians(rise, other_x, other_y, other * far * core * rng.uniform(0.3, 1.0), spread, spread)
        image = rest * (wave[frame] + rise)
        add_gaussians(image, x[frame], y[frame], bleed * photons[frame], sigma_px, sigma_px)
        seen.append(seen_counts(recorded_counts(rng, image, 1.0, read_variance), read_variance).planes)
    return seen, is_on.astype(np.float64)
