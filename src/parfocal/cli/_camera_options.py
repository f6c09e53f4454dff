"""What options say of a camera and its pixels, for the commands that read movies."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Annotated

import numpy as np
import typer

from parfocal.cli._localize_source import Movie
from parfocal.errors import BadInputError
from parfocal.optics import CameraModel

OffsetOption = Annotated[
    float | None,
    typer.Option(
        help="What the camera adds to each pixel. Default: 100; without any of the camera's numbers, guessed."
    ),
]
ElectronsOption = Annotated[
    float | None,
    typer.Option("--electrons-per-adu", help="Photoelectrons (behind the EM register) an ADU. Default: 1."),
]
ReadNoiseOption = Annotated[
    float | None, typer.Option("--read-noise", help="Photoelectrons; of an EMCCD behind the register.")
]
EmGainOption = Annotated[float, typer.Option("--em-gain", help="Of an EMCCD; above 1 doubles the variance.")]


def camera_told(
    offset: float | None, electrons_per_adu: float | None, read_noise: float | None = None
) -> dict[str, float]:
    """Return what options say of a camera, as `camera_of` takes it."""
    said = {"offset_adu": offset, "e_per_adu": electrons_per_adu, "read_noise_e": read_noise}
    return {name: value for name, value in said.items() if value is not None}


def camera_of(
    movie: Movie, told: Mapping[str, float], em_gain: float = 1.0
) -> tuple[CameraModel, tuple[str, ...]]:
    """Return the run's camera, or that of the options, or one guessed; and what to say of it: a file tells none.

    `told` is what `camera_told` returns.
    """
    from parfocal.puncta.detection import guess_camera

    if movie.camera_model is not None and not told and em_gain == 1:
        return movie.camera_model, ()
    if not told and em_gain == 1:
        guessed = guess_camera(*(np.asarray(frame) for frame in islice(movie.frames(), 2)))
        said = (
            f"camera not told: offset {guessed.offset_adu:g} and {1 / float(np.mean(guessed.gain_adu_per_e)):.3g} "
            "photoelectrons an ADU taken from the noise; photons and standard errors are rough"
        )
        return guessed, (said,)
    e_per_adu = told.get("e_per_adu", 1.0)
    if not e_per_adu > 0:
        raise BadInputError(f"--electrons-per-adu {e_per_adu:g}: expected a number above 0")
    camera = CameraModel(
        offset_adu=told.get("offset_adu", 100.0),
        gain_adu_per_e=em_gain / e_per_adu,
        read_noise_e=told.get("read_noise_e", 1.6) / em_gain,
        saturation_adu=_saturation(movie),
        em_gain=em_gain,
    )
    return camera, ()


def pixel_size_of(text: str | None) -> tuple[float, float] | None:
    """Return (y, x) in um of one number or of `y,x`; None where nothing was said."""
    if text is None:
        return None
    try:
        sizes = [float(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) not in (1, 2) or not all(0 < size < float("inf") for size in sizes):
        raise BadInputError(f"--pixel-size {text!r}: expected um, such as 0.13 or y,x as 0.13,0.13")
    return sizes[0], sizes[-1]


def known_pixel_size(movie: Movie, told: tuple[float, float] | None) -> tuple[float, float]:
    """Return (y, x) in um as the option says, or the movie.

    Raises
    ------
    BadInputError
        Neither does.
    """
    size = told or movie.pixel_size_um
    if size is None:
        raise BadInputError(f"{movie.source}: its pixel size is not known; say it with --pixel-size, in um")
    return size


def known_interval_s(movie: Movie, told: float | None) -> float:
    """Return the frame interval, s, as the option says, or the movie.

    Raises
    ------
    BadInputError
        Neither does.
    """
    interval_s = told or movie.frame_interval_s
    if interval_s is None:
        raise BadInputError(f"{movie.source}: its frame interval is not known; say it with --frame-interval, in s")
    return interval_s


def _saturation(movie: Movie) -> float:
    dtype = next(movie.frames()).dtype
    return float(np.iinfo(dtype).max) if dtype.kind in "ui" else float(np.finfo(np.float32).max)
