"""How well any linear lock can hold a walking focus."""

from __future__ import annotations

import math

from parfocal.errors import BadInputError


def kalman_bound(r: float, q: float, delay_frames: float = 0.0) -> float:
    """Return the RMS defocus that the best linear controller reaches against a random walk.

    The focus walks by N(0, q) a frame and is measured with N(0, r) noise. Let P be the variance of its
    prediction one frame ahead. Measuring makes P r / (P + r) of it, and walking on adds q; in the steady state
    that is P again::

        P = P r / (P + r) + q    =>    P = (q + sqrt(q² + 4 q r)) / 2

    A command that shows in the very next frame leaves sqrt(P). One that shows D frames later cancels a
    prediction that is D steps of the walk older: sqrt(P + D q). A known latency costs no more than that,
    since commands under way are known and nothing needs to be damped.

    Parameters
    ----------
    r : float
        Variance of a measurement, such as the squared Cramér-Rao bound.
    q : float
        Variance of the walk a frame, in the same unit.
    delay_frames : float
        Frames between the measured one and the first that shows the command, less one.

    Returns
    -------
    float
        In the square root of that unit.

    Raises
    ------
    BadInputError
        A variance or the delay is negative.

    Examples
    --------
    >>> round(kalman_bound(10.4**2, 4.0**2, 1), 1)  # nm
    8.1
    """
    if not (r >= 0 and q >= 0 and delay_frames >= 0):
        raise BadInputError(f"kalman bound: r={r}, q={q}, delay_frames={delay_frames}; expected 0 or more of each")
    predicted = (q + math.sqrt(q * q + 4 * q * r)) / 2
    return math.sqrt(predicted + delay_frames * q)
