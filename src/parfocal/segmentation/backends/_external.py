"""Any program of another environment as a backend: an OME-Zarr goes in, labels come out."""

from __future__ import annotations

import hashlib
import math
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.files import read_ome_zarr, write_ome_zarr
from parfocal.segmentation._segmentation import Labels, Segmentation
from parfocal.segmentation.backends._input import as_volume, checked_voxel_size, renumbered
from parfocal.segmentation.backends._options import told_settings

_PLACEHOLDER = re.compile(r"\{([a-z_]*)\}")
_TAIL = 300


@dataclass(frozen=True)
class ExternalSettings:
    """Which command, and what it is told.

    Parameters
    ----------
    command : str or sequence of str
        The program and its arguments; a string is parted as a POSIX shell would, but no shell is run. In every
        argument `{input}` stands for the OME-Zarr to read, `{output}` for the OME-Zarr to write, both paths in a
        temporary folder, `{voxel_z_um}`, `{voxel_y_um}`, `{voxel_x_um}` and `{diameter_um}` for numbers,
        `{weights}` for the path of that option. `{{` and `}}` stand for braces.
    weights : path, optional
        A file that the program reads; its SHA-256 becomes the `model_hash`.
    diameter_um : float, optional
        Of a typical nucleus; `0` is handed over where not told.
    timeout_s : float
        The program, and all that it started, is ended after so long.
    environment : tuple of (str, str)
        Variables to add. Those that point Python at our own packages are taken away.
    """

    command: str | Sequence[str]
    weights: str | os.PathLike[str] | None = None
    diameter_um: float | None = None
    timeout_s: float = 3600.0
    environment: tuple[tuple[str, str], ...] = ()


class External:
    """Backend `external`: hand a volume to a command and read its labels back.

    The command finds an OME-Zarr 0.5 image (z, y, x; voxel size in um; the pixels' own dtype) at `{input}` and
    leaves one at `{output}`, of the same shape, of whole numbers, 0 for background, one id an object. It ends with
    exit code 0. What it prints goes nowhere, but the end of its stderr into the error where it fails.

    Raises
    ------
    BadInputError
        The command names no `{input}` or `{output}`, or an unknown placeholder; later: it cannot be started,
        failed, took too long, or left something else than labels.
    """

    name = "external"

    def __init__(self, settings: ExternalSettings | None = None, **options: Any) -> None:
        if settings is None and "command" not in options:
            raise BadInputError("external: no command was named; expected one with {input} and {output}")
        self.settings = told = told_settings(ExternalSettings, settings, options, self.name)
        self._template = _template(told.command)
        if not (math.isfinite(told.timeout_s) and told.timeout_s > 0):
            raise BadInputError(f"external: timeout {told.timeout_s} s, expected a positive number")
        weights = None if told.weights is None else Path(told.weights).expanduser().absolute()
        if weights is not None and not weights.is_file():
            raise BadInputError(f"{weights}: no such file, expected weights for the command")
        if weights is None and any("{weights}" in part for part in self._template):
            raise BadInputError("external: the command names {weights}, but none were told")
        self._weights = weights
        self.model_hash = None if weights is None else hashlib.sha256(weights.read_bytes()).hexdigest()

    def segment_planes(
        self, planes: Iterable[NDArray[np.generic]], voxel_size_um: tuple[float, float, float]
    ) -> Generator[Labels, None, Segmentation]:
        """Yield labels of all planes once the last one has come; see `Backend`."""
        found = self.segment_volume(np.stack(list(planes)), voxel_size_um)
        yield from found.labels
        return found

    def segment_volume(
        self, volume: NDArray[np.generic], voxel_size_um: tuple[float, float, float]
    ) -> Segmentation:
        """Label a volume; see `Backend`."""
        voxel_size_um = checked_voxel_size(voxel_size_um)
        pixels = np.ascontiguousarray(as_volume(volume))
        with tempfile.TemporaryDirectory(prefix="parfocal-external-") as folder:
            given, left = Path(folder) / "image.ome.zarr", Path(folder) / "labels.ome.zarr"
            write_ome_zarr(given, pixels, voxel_size_um)
            command = self._command(given, left, voxel_size_um)
            _run(command, Path(folder), self.settings)
            labels = _labels_of(left, (pixels.shape[0], pixels.shape[1], pixels.shape[2]), command[0])
        return Segmentation(
            labels, voxel_size_um, self.name, self.model_hash, remarks=(f"by {shlex.join(self._template)}",)
        )

    def _command(self, given: Path, left: Path, voxel_size_um: tuple[float, float, float]) -> list[str]:
        values = {
            "input": str(given),
            "output": str(left),
            "voxel_z_um": f"{voxel_size_um[0]:.9g}",
            "voxel_y_um": f"{voxel_size_um[1]:.9g}",
            "voxel_x_um": f"{voxel_size_um[2]:.9g}",
            "diameter_um": f"{self.settings.diameter_um or 0.0:.9g}",
            "weights": str(self._weights),
        }
        return [_filled_in(part, values) for part in self._template]


def _template(command: str | Sequence[str]) -> list[str]:
    try:
        parts = shlex.split(command) if isinstance(command, str) else [str(part) for part in command]
    except ValueError as error:
        raise BadInputError(f"external: the command cannot be read: {error}") from error
    if not parts:
        raise BadInputError("external: the command is empty; expected one with {input} and {output}")
    known = {"input", "output", "voxel_z_um", "voxel_y_um", "voxel_x_um", "diameter_um", "weights"}
    named = {n for part in parts for n in _PLACEHOLDER.findall(part.replace("{{", "").replace("}}", ""))}
    if unknown := sorted(named - known):
        there_are = ", ".join(f"{{{name}}}" for name in sorted(known))
        raise BadInputError(f"external: unknown placeholder {{{unknown[0]}}}; there are {there_are}")
    if missing := sorted({"input", "output"} - named):
        raise BadInputError(f"external: the command names no {{{missing[0]}}}: {shlex.join(parts)}")
    return parts


def _filled_in(part: str, values: dict[str, str]) -> str:
    pieces = re.split(r"(\{\{|\}\})", part)
    return "".join(
        piece[0] if piece in ("{{", "}}") else _PLACEHOLDER.sub(lambda m: values[m[1]], piece) for piece in pieces
    )


def _run(command: list[str], folder: Path, told: ExternalSettings) -> None:
    """Run a command to its end; it is ended with all that it started where it takes too long or we are stopped."""
    # Our PYTHONPATH or virtual environment in the other program's interpreter would hand it our packages.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}
    with (folder / "stderr.txt").open("w+b") as complaints:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                cwd=folder,
                env={**inherited, **dict(told.environment)},
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            raise BadInputError(f"external: {command[0]} cannot be started: {error.strerror or error}") from error
        try:
            code = process.wait(told.timeout_s)
        except subprocess.TimeoutExpired:
            raise BadInputError(
                f"external: {command[0]} did not end within {told.timeout_s:g} s{_last_words(complaints)}"
            ) from None
        finally:
            _end(process)
        if code != 0:
            raise BadInputError(f"external: {command[0]} ended with exit code {code}{_last_words(complaints)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        try:
            os.killpg(process.pid, signal.SIGKILL)  # what it left behind, too
        except (ProcessLookupError, PermissionError):
            pass
    elif process.poll() is None:
        process.kill()
    process.wait()


def _last_words(complaints: IO[bytes]) -> str:
    complaints.flush()
    complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, complaints.tell() - 4 * _TAIL))
    said = " ".join(complaints.read().decode("utf-8", "replace").split())
    return f": ...{said[-_TAIL:]}" if len(said) > _TAIL else f": {said}" if said else ": it said nothing"


def _labels_of(left: Path, shape: tuple[int, int, int], program: str) -> Labels:
    """Read what the command left, and check that it is labels of this volume."""
    if not left.exists():
        raise BadInputError(f"external: {program} ended well but left nothing at {{output}}")
    labels, _ = read_ome_zarr(left)
    where = f"external: what {program} left at {{output}}"
    if labels.shape != shape:
        raise BadInputError(f"{where} has shape {labels.shape}, expected {shape}")
    if labels.dtype.kind not in "bui":
        raise BadInputError(f"{where} is {labels.dtype}, expected whole numbers")
    if labels.dtype.kind == "i" and int(labels.min()) < 0:
        raise BadInputError(f"{where} goes down to {int(labels.min())}, expected ids from 0")
    return renumbered(labels)
