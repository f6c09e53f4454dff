"""What a lock says of itself in events and descriptors."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

from parfocal.devices.lock._armed import Armed
from parfocal.devices.lock._ring import Taken

Described = OrderedDict[str, dict[str, Any]]

_READING = {
    "in_lock": ("integer", ""),
    "state": ("string", ""),
    "error_um": ("number", "um"),
    "z_se_um": ("number", "um"),
    "offset_um": ("number", "um"),
    "n_samples": ("integer", ""),
}
_CONFIGURATION: dict[str, tuple[str, list[int]]] = {
    "law": ("string", []),
    "latency_frames": ("number", []),
    "calibration": ("string", []),
    "calibration_run": ("string", []),
    "roi_px": ("array", [4]),
}


def reading(name: str, held: bool, state: str, last: Taken, offset_um: float, n_samples: int) -> Described:
    """Return one reading: whether focus was held, and the numbers of the last sample."""
    now, nan = time.time(), float("nan")
    values: dict[str, Any] = {
        "in_lock": int(held),
        "state": state,
        "error_um": last.columns["error_um"][-1] if last.n else nan,
        "z_se_um": last.columns["z_se_um"][-1] if last.n else nan,
        "offset_um": offset_um,
        "n_samples": n_samples,
    }
    return OrderedDict((f"{name}_{key}", {"value": value, "timestamp": now}) for key, value in values.items())


def describe_reading(name: str) -> Described:
    """Describe what `reading` returns."""
    described: Described = OrderedDict()
    for key, (dtype, unit) in _READING.items():
        described[f"{name}_{key}"] = {"source": f"parfocal:{name}", "dtype": dtype, "shape": []}
        if unit:
            described[f"{name}_{key}"]["units"] = unit
    return described


def configuration(name: str, armed: Armed | None) -> Described:
    """Return the law, the calibration's hash and run, and the region; empty values before arming."""
    now = time.time()
    values: dict[str, Any] = {
        "law": armed.settings.law if armed else "",
        "latency_frames": armed.settings.latency_frames if armed else float("nan"),
        "calibration": armed.sha256 if armed else "",
        "calibration_run": armed.run_uid if armed else "",
        "roi_px": list(armed.roi_px) if armed else [0, 0, 0, 0],
    }
    return OrderedDict((f"{name}_{key}", {"value": value, "timestamp": now}) for key, value in values.items())


def describe_configuration(name: str) -> Described:
    """Describe what `configuration` returns."""
    return OrderedDict(
        (f"{name}_{key}", {"source": f"parfocal:{name}", "dtype": dtype, "shape": shape})
        for key, (dtype, shape) in _CONFIGURATION.items()
    )
