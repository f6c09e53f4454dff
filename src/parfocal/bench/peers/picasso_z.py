"""Peer of `calibration`: Picasso's fit of widths and its z calibration."""
# pyright: reportMissingImports=false

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from _serve import serve

matplotlib.use("Agg")  # its calibration draws
warnings.simplefilter("ignore")

from picasso import gaussmle, zfit  # noqa: E402


def predict(path: str, n_frames: int, step_nm: float) -> dict[str, Any]:
    """Calibrate on some beads, return z (nm) of the others, and which could be told.

    The file holds photoelectrons: `train` and `test` [n, s, s], `train_frame` and `test_frame` [n].
    """
    with np.load(path) as given:
        data = {name: given[name] for name in given.files}
    info = [{"Frames": n_frames, "Width": 4096, "Height": 4096, "Pixelsize": 100}]
    train = locs(data["train"], data["train_frame"])
    calibration = zfit.calibrate_z(train, info, step_nm, 1.0)
    test = locs(data["test"], data["test_frame"]).reset_index(drop=True)
    cx, cy = (np.array(calibration[f"{axis} Coefficients"]) for axis in "XY")
    z = [
        zfit.minimize_scalar(zfit._fit_z_target, bounds=[-1000, 1000], args=(sx, sy, cx, cy)).x  # noqa: SLF001
        for sx, sy in zip(test["sx"], test["sy"])
    ]
    return {"z_nm": [float(value) for value in z], "index": [int(value) for value in test["index"]]}


def locs(spots: Any, frames: Any) -> Any:
    """Return widths by Picasso's maximum-likelihood fit."""
    theta, crlb, _, _ = gaussmle._gaussmle(spots.astype(np.float32), 1e-3, 1000, "sigmaxy")  # noqa: SLF001
    table = pd.DataFrame(
        {
            "frame": frames.astype(np.int64),
            "x": 100 + theta[:, 0],
            "y": 100 + theta[:, 1],
            "photons": theta[:, 2],
            "bg": theta[:, 3],
            "sx": theta[:, 4],
            "sy": theta[:, 5],
            "lpx": np.sqrt(crlb[:, 0]),
            "lpy": np.sqrt(crlb[:, 1]),
            "index": np.arange(len(theta)),
        }
    )
    return table[np.isfinite(table[["sx", "sy", "lpx", "lpy"]]).all(axis=1)]


serve({"picassosr": version("picassosr")}, predict=predict)
