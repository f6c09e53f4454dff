"""Focus scores of every frame as it is taken, and the best plane of every stack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from parfocal.callbacks._analysis import Analysis, RunAnalysis
from parfocal.callbacks._run_view import RunView
from parfocal.devices import Auditor, Camera
from parfocal.focus import best_plane
from parfocal.frames import Frame
from parfocal.imaging import FocusScoreSet, sharpness
from parfocal.optics import CameraModel
from parfocal.slices import Verdict

ScoreName = Literal[
    "laplacian_variance", "tenengrad", "brenner", "normalized_variance", "vollath_f4", "mean_abs_log"
]
_NUMBER: dict[str, Any] = {"dtype": "number", "dtype_numpy": "<f8", "shape": []}
_INTEGER: dict[str, Any] = {"dtype": "integer", "dtype_numpy": "<i8", "shape": []}
_TEXT: dict[str, Any] = {"dtype": "string", "shape": []}


_COLUMNS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "scores": {
        "z_um": {**_NUMBER, "units": "um"},
        **dict.fromkeys(FocusScoreSet.names(), _NUMBER),
        "noise_sd_adu": {**_NUMBER, "units": "ADU"},
        "mean_adu": {**_NUMBER, "units": "ADU"},
        "position": _INTEGER,
        "time_point": _INTEGER,
        "channel": _TEXT,
    },
    "stacks": {
        "position": _INTEGER,
        "time_point": _INTEGER,
        "tile": _INTEGER,
        "channel": _TEXT,
        "best_z_um": {**_NUMBER, "units": "um"},
        "sigma_z_um": {**_NUMBER, "units": "um"},
        "best_frame": _INTEGER,
        "n_planes": _INTEGER,
        "peak_at_edge": _INTEGER,
        "reason": _TEXT,
    },
}


@dataclass(frozen=True)
class FocusParameters:
    """What the scores depend on.

    `score` names the one that the best plane is judged by; all six are kept. `noise` says where the noise floor
    comes from: the camera's own model (where the run tells it), the image itself, or nowhere.
    """

    score: ScoreName = "tenengrad"
    noise: Literal["auto", "model", "immerkaer", "none"] = "auto"
    log_sigma_px: float = 1.5


class FocusScores(Analysis):
    """Score each frame; at the end of the run, give each stack its best plane.

    Streams of the derived run: `scores`, a row a frame (six debiased scores, noise, z, position, time point,
    channel), and `stacks`, a row a stack (best plane, its z and standard error, whether the peak lies at the
    edge). The verdict is `in_focus` if every stack brackets its focus, `not_bracketed` if one does not, and
    `no_stack` where there was none.
    """

    name = "focus_scores"
    version = "1"

    def __init__(self, parameters: FocusParameters | None = None, **kwargs: Any) -> None:
        self.focus = parameters if parameters is not None else FocusParameters()
        super().__init__(self.focus, **kwargs)

    def open(self, run: RunView) -> RunAnalysis:
        """Return the scoring of one run."""
        # Live, the plan has the first call on the cores.
        n_threads = 1 if self.mode == "live" else None
        return _RunFocus(self.focus, run.camera_model(), run.axis_key("z"), _plain_z(run), n_threads)


def _plain_z(run: RunView) -> str:
    """Return the motor's key in runs of other plans (`bp.scan`): the first hinted dimension."""
    dimensions = run.start.get("hints", {}).get("dimensions", [])
    fields = dimensions[0][0] if dimensions else []
    return fields[0] if fields and fields[0] != "time" else ""


@dataclass
class _RunFocus:
    parameters: FocusParameters
    camera_model: CameraModel | None
    z_key: str
    plain_z_key: str
    n_threads: int | None
    _stacks: dict[tuple[Any, ...], dict[int, tuple[float, float, int]]] = field(
        default_factory=dict[tuple[Any, ...], dict[int, tuple[float, float, int]]]
    )
    _verdict: str = "no_stack"

    @property
    def columns(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        return _COLUMNS

    @property
    def verdict(self) -> str:
        return self._verdict

    def frame(self, frame: Frame) -> Iterable[tuple[str, Mapping[str, Any]]]:
        columns = frame.columns
        scored = sharpness(
            frame.pixels,
            self.camera_model,
            None if self.parameters.noise == "auto" else self.parameters.noise,
            self.parameters.log_sigma_px,
            self.n_threads,
        )
        z_um = float(columns.get(self.z_key, columns.get("z_um", columns.get(self.plain_z_key, float("nan")))))
        where = (
            int(columns.get("point_time_point", 0)),
            int(columns.get("point_position", 0)),
            int(columns.get("point_tile", 0)),
            str(columns.get("point_channel", "")),
        )
        value = float(getattr(scored.debiased, self.parameters.score))
        # By seq_num, so that a repeated event replaces the one before it.
        self._stacks.setdefault(where, {})[frame.seq_num] = (z_um, value, frame.index)
        yield (
            "scores",
            {
                "z_um": z_um,
                **{name: float(getattr(scored.debiased, name)) for name in FocusScoreSet.names()},
                "noise_sd_adu": float(scored.noise_sd_adu),
                "mean_adu": float(scored.mean_adu),
                "position": where[1],
                "time_point": where[0],
                "channel": where[3],
            },
        )

    def finish(self) -> Iterable[tuple[str, Mapping[str, Any]]]:
        bracketed: list[bool] = []
        for (time_point, position, tile, channel), planes in self._stacks.items():
            z_um, scores, frames = zip(*planes.values())
            if len(set(z_um)) < 3:
                continue
            best = best_plane(z_um, scores)
            bracketed.append(best.found)
            yield (
                "stacks",
                {
                    "position": position,
                    "time_point": time_point,
                    "tile": tile,
                    "channel": channel,
                    "best_z_um": best.z_um,
                    "sigma_z_um": best.sigma_z_um,
                    "best_frame": frames[best.index] if best.index >= 0 else -1,
                    "n_planes": len(planes),
                    "peak_at_edge": int(best.peak_at_edge),
                    "reason": best.reason,
                },
            )
        if bracketed:
            self._verdict = "in_focus" if all(bracketed) else "not_bracketed"


def focus_probe(
    camera: Camera, score: ScoreName = "tenengrad", *, name: str = "focus_probe", timeout_s: float = 5.0
) -> Auditor:
    """Return an Auditor that scores the camera's last frame, for autofocus in plans.

    Kernels are compiled here: the first time on a machine that takes longer than a verdict may.
    """
    facts = camera.facts
    sharpness(np.indices(facts.shape).sum(axis=0).astype(facts.dtype), facts.camera_model)

    def judge(pixels: Any) -> Verdict:
        model = camera.facts.camera_model
        return Verdict(True, "", float(getattr(sharpness(pixels, model).debiased, score)))

    return Auditor(name, camera, judge, timeout_s=timeout_s, on_timeout="fail")
