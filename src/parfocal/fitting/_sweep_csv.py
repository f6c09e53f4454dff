"""`calibration_sweep.csv` and `.meta.json`, the files of Focus Feedback, both ways."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.fitting._calibration import Calibration
from parfocal.fitting._fit_defocus import samples_from
from parfocal.fitting._optics_facts import OpticsFacts
from parfocal.fitting._step_fits import StepFits

EllipticityConvention = Literal["auto", "ratio", "sqrt_ratio"]

_COLUMNS = (
    "z_um",
    "error",
    "weight",
    "sigma_x",
    "sigma_y",
    "ellipticity",
    "fit_r2",
    "sample_class",
    "used_for_zhuang_fit",
)
_OURS = (
    "t_s",
    "direction",
    "photons",
    "background",
    "x_px",
    "y_px",
    "sigma_x_var",
    "sigma_y_var",
    "sigma_xy_cov",
    "deviance",
    "is_saturated",
    "light_outside",
    "reason",
)
_NOMINAL_PHOTONS = 1000.0


def sweep_to_csv(
    steps: StepFits, is_used: NDArray[np.bool_], convention: Literal["ratio", "sqrt_ratio"] = "ratio"
) -> str:
    """Return the steps as CSV: the nine columns of Focus Feedback, then what it does not keep.

    With `sqrt_ratio` ellipticity and widths are what Focus Feedback itself would have fitted: it calls e the
    ratio but fits its square root, and rebuilds the widths from it. Only for use by that program.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_COLUMNS, *_OURS])
    for i in range(len(steps)):
        sx, sy = (float(v) for v in steps.sigma_px[i])
        parametric = bool(steps.is_parametric[i])
        ratio = sx / sy if sy > 0 else math.nan
        if convention == "sqrt_ratio" and parametric:
            mean, ratio = math.sqrt(sx * sy), math.sqrt(ratio)
            sx, sy = mean * math.sqrt(ratio), mean / math.sqrt(ratio)
        c = steps.covariance_px2[i]
        seed = [steps.z_um[i], steps.signal[i], steps.weight[i], sx, sy, ratio, steps.fit_r2[i]]
        ours = [steps.t_s[i], int(steps.direction[i]), steps.photons[i], steps.background[i], steps.x_px[i]]
        ours += [steps.y_px[i], c[0, 0], c[1, 1], c[0, 1], steps.deviance[i], int(steps.is_saturated[i])]
        ours += [steps.light_outside[i], str(steps.reason[i])]
        kind = "parametric_fit" if parametric else "moment_fallback"
        row = [*(float(v) for v in seed), kind, int(is_used[i])]
        writer.writerow([*row, *(float(v) if isinstance(v, np.floating) else v for v in ours)])
    return out.getvalue()


def sweep_from_csv(
    text: str,
    meta: Mapping[str, Any] | None = None,
    *,
    convention: EllipticityConvention = "auto",
    name: str = "calibration_sweep.csv",
) -> tuple[StepFits, Literal["ratio", "sqrt_ratio"]]:
    """Read a sweep, ours or that of Focus Feedback, and say which ellipticity it holds.

    `auto`: what the meta data say; else `ratio` for a file with our columns. A file with only the nine columns is
    Focus Feedback's, so `sqrt_ratio`, unless its error signal says otherwise: that is tanh(ln e) of a true ratio,
    or less (moments see a smaller difference), and up to twice that where e is the square root. Widths of
    `sqrt_ratio` are made true again: sqrt(sigma_x sigma_y) times e, and over e. Fallback rows hold
    plain moments in either.

    Raises
    ------
    BadInputError
        A column is missing, or a value is no number; says in which line.
    """
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff")))
    header = [column.strip() for column in reader.fieldnames or []]
    missing = [column for column in ("z_um", "error") if column not in header]
    if missing:
        raise BadInputError(
            f"{name}: has no column {' and '.join(missing)}; expected those of a calibration sweep"
        )
    rows = list(reader)
    if not rows:
        raise BadInputError(f"{name}: holds no samples")

    def column(key: str, default: float = math.nan) -> NDArray[np.float64]:
        return np.array(
            [_float(row.get(key), default, f"{name}, line {i + 2}, {key}") for i, row in enumerate(rows)]
        )

    z, e, r2 = column("z_um"), column("ellipticity"), column("fit_r2")
    if not np.isfinite(z).all():
        raise BadInputError(f"{name}, line {int(np.argmin(np.isfinite(z))) + 2}: z_um is no number")
    sigma = np.stack([column("sigma_x"), column("sigma_y")], axis=1)
    error, weight = column("error"), column("weight", 1.0)
    if "sample_class" in header:
        parametric = np.array([row["sample_class"] == "parametric_fit" for row in rows])
    else:
        parametric = np.isfinite(r2)
    parametric &= np.isfinite(sigma).all(axis=1) & (sigma > 0).all(axis=1)
    found = _convention(convention, meta, header, e[parametric], error[parametric], name)
    if found == "sqrt_ratio":
        mean = np.sqrt(sigma.prod(axis=1))
        true = np.stack([mean * e, mean / e], axis=1)
        sigma = np.where((parametric & np.isfinite(e) & (e > 0))[:, None], true, sigma)
    if "sigma_x_var" in header:
        cov = column("sigma_xy_cov")
        covariance = np.stack([column("sigma_x_var"), cov, cov, column("sigma_y_var")], axis=1).reshape(-1, 2, 2)
    else:  # no errors were kept: all alike, and the scatter about the model will say how large they are
        covariance = samples_from(z, sigma, np.full(z.size, _NOMINAL_PHOTONS)).covariance_px2
    direction = column("direction", 0.0)
    turn = np.where(np.arange(z.size) <= int(np.argmax(z)), 1, -1)
    steps = StepFits(
        z_um=z,
        t_s=column("t_s"),
        direction=np.where(direction == 0, turn, direction).astype(np.int8),
        is_parametric=parametric,
        reason=np.array([row.get("reason") or "" for row in rows]),
        sigma_px=sigma,
        covariance_px2=np.where(parametric[:, None, None], covariance, np.nan),
        x_px=column("x_px"),
        y_px=column("y_px"),
        photons=column("photons"),
        background=column("background"),
        deviance=column("deviance"),
        degrees_of_freedom=int((meta or {}).get("degrees_of_freedom") or 0),
        signal=error,
        weight=weight,
        fit_r2=r2,
        is_saturated=column("is_saturated", 0.0) > 0,
        light_outside=column("light_outside"),
    )
    return steps, found


def sweep_meta(calibration: Calibration, created_at_unix_s: float) -> dict[str, Any]:
    """Return `calibration_sweep.meta.json`: the keys of Focus Feedback, then ours."""
    facts = calibration.facts
    roi = facts.roi_px
    return {
        "objective": facts.objective,
        "roi_size": None if roi is None else [roi[3], roi[2]],
        "exposure_ms": None if facts.exposure_s is None else 1e3 * facts.exposure_s,
        "wavelength_nm": None if facts.wavelength_um is None else 1e3 * facts.wavelength_um,
        "camera_roi": None if roi is None else [roi[1], roi[0], roi[3], roi[2]],
        "camera_binning": str(facts.binning),
        "stage_type": facts.stage or None,
        "temperature_c": None,
        "created_at_unix_s": created_at_unix_s,
        "ellipticity_convention": "ratio",
        "pixel_size_um": facts.pixel_size_um,
        "na": facts.na,
        "magnification": facts.magnification,
        "immersion_index": facts.immersion_index,
        "camera": facts.camera,
        "theta_rad": None if calibration.model is None else calibration.model.theta_rad,
        "degrees_of_freedom": calibration.steps.degrees_of_freedom,
        "n_failed_moves": calibration.n_failed_moves,
    }


def facts_from_meta(meta: Mapping[str, Any], pixel_size_um: float | None = None) -> OpticsFacts:
    """Return the facts in a meta file; Focus Feedback keeps no pixel size, so it may have to be told.

    Raises
    ------
    BadInputError
        No pixel size there, nor given.
    """
    pixel = pixel_size_um if pixel_size_um is not None else meta.get("pixel_size_um")
    if not isinstance(pixel, int | float):
        raise BadInputError("calibration_sweep.meta.json: has no pixel_size_um; give it, in um at the sample")
    roi = meta.get("camera_roi")
    binning = str(meta.get("camera_binning") or "1").lower().split("x")[0]
    exposure, wavelength = meta.get("exposure_ms"), meta.get("wavelength_nm")
    return OpticsFacts(
        pixel_size_um=float(pixel),
        objective=str(meta.get("objective") or ""),
        na=meta.get("na"),
        magnification=meta.get("magnification"),
        immersion_index=meta.get("immersion_index"),
        wavelength_um=None if wavelength is None else float(wavelength) / 1e3,
        camera=str(meta.get("camera") or ""),
        binning=int(binning) if binning.isdigit() else 1,
        roi_px=None if roi is None else (int(roi[1]), int(roi[0]), int(roi[3]), int(roi[2])),
        exposure_s=None if exposure is None else float(exposure) / 1e3,
        stage=str(meta.get("stage_type") or ""),
    )


def meta_from_json(text: str, name: str = "calibration_sweep.meta.json") -> dict[str, Any]:
    """Return the content of a meta file.

    Raises
    ------
    BadInputError
        It is no JSON object.
    """
    try:
        meta = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInputError(f"{name}: is not JSON ({error})") from None
    if not isinstance(meta, dict):
        raise BadInputError(f"{name}: holds no JSON object")
    return dict(meta)


def _float(value: str | None, default: float, where: str) -> float:
    if value is None or not value.strip():
        return default
    try:
        return float(value)
    except ValueError:
        raise BadInputError(f"{where}: {value!r} is no number") from None


def _convention(
    asked: EllipticityConvention,
    meta: Mapping[str, Any] | None,
    header: Sequence[str],
    ellipticity: NDArray[np.float64],
    error: NDArray[np.float64],
    name: str,
) -> Literal["ratio", "sqrt_ratio"]:
    if asked != "auto":
        if asked not in ("ratio", "sqrt_ratio"):
            raise BadInputError(f"ellipticity convention: {asked!r} is none of auto, ratio, sqrt_ratio")
        return asked
    said = (meta or {}).get("ellipticity_convention")
    if said in ("ratio", "sqrt_ratio"):
        return said
    if said is not None:
        raise BadInputError(
            f"{name}: its meta data say ellipticity_convention {said!r}; expected ratio or sqrt_ratio"
        )
    if "sigma_x_var" in header:
        return "ratio"
    log_e = np.log(np.where(ellipticity > 0, ellipticity, np.nan))
    told = np.isfinite(log_e) & np.isfinite(error) & (np.abs(error) < 0.95)
    told &= np.abs(np.nan_to_num(log_e)) > 0.03
    if told.sum() >= 3:
        slope = float(np.median(np.arctanh(error[told]) / log_e[told]))
        if 0 < slope < 0.6:
            return "ratio"
    return "sqrt_ratio"
