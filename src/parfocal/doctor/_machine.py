"""The machine: processor, memory, versions of what is installed, GPU."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distributions, requires
from importlib.util import find_spec

import psutil
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from parfocal.doctor._check import Check

_GB = 1e9
_FEW_CORES = 4
_LITTLE_MEMORY_GB = 4.0
_NO_MEMORY_GB = 1.0


def check_processor(n_cores: int | None = None, load: float | None = None) -> Iterator[Check]:
    """Look at how many cores there are, and whether they have something to give."""
    cores = n_cores if n_cores is not None else usable_cores()
    busy = load if load is not None else _load()
    found = f"{cores} cores, load {busy:.1f}; Python {platform.python_version()} on {platform.system()}"
    if cores < _FEW_CORES:
        yield Check(
            "machine: processor",
            "warn",
            found,
            "4 cores or more keep a fast lock and analyses out of each other's way",
        )
    elif busy > cores:
        yield Check("machine: processor", "warn", found, "something else is busy here: see `top`, and end it")
    else:
        yield Check("machine: processor", "ok", found)


def check_memory(total_gb: float | None = None, free_gb: float | None = None) -> Iterator[Check]:
    """Look at how much memory there is, and how much of it is free."""
    memory = psutil.virtual_memory()
    total = total_gb if total_gb is not None else memory.total / _GB
    free = free_gb if free_gb is not None else memory.available / _GB
    found = f"{free:.1f} of {total:.1f} GB are free"
    state = "fail" if free < _NO_MEMORY_GB else "warn" if free < _LITTLE_MEMORY_GB else "ok"
    yield Check("machine: memory", state, found, "" if state == "ok" else "close other programs, or add memory")


def check_versions(
    needed: Iterable[str] | None = None, installed: Mapping[str, str] | None = None
) -> Iterator[Check]:
    """Look at whether each installed package is of a version that works; extras that are missing are no fault.

    Parameters
    ----------
    needed : iterable of str
        Requirements; default: those of parfocal itself.
    installed : mapping of str to str
        Versions by name; default: those of this environment.
    """
    try:
        told = list(needed) if needed is not None else requires("parfocal") or []
    except PackageNotFoundError:
        yield Check("machine: versions", "fail", "parfocal is not installed", "pip install -e . in its folder")
        return
    have = installed if installed is not None else _installed()
    wrong: list[str] = []
    missing: list[str] = []
    advice: list[str] = []
    n_right = 0
    for text in told:
        try:
            one = Requirement(text)
        except InvalidRequirement:
            continue
        is_extra = one.marker is not None and "extra" in str(one.marker)
        if one.name == "parfocal" or (one.marker is not None and not is_extra and not one.marker.evaluate()):
            continue
        version = have.get(canonicalize_name(one.name))
        if version is None:
            if not is_extra:
                missing.append(one.name)
        elif not one.specifier.contains(version, prereleases=True):
            wrong.append(f"{one.name} {version}, needed {one.specifier}")
            advice.append(f"'{one.name}{one.specifier}'")
        else:
            n_right += 1
    # Extras may ask for the same package twice.
    wrong, advice = list(dict.fromkeys(wrong)), list(dict.fromkeys(advice))
    if missing:
        found = f"missing: {', '.join(missing)}"
        yield Check("machine: packages", "fail", found, f"pip install {' '.join(missing)}")
    if wrong:
        yield Check("machine: versions", "fail", "; ".join(wrong), f"pip install {' '.join(advice)}")
    if not missing and not wrong:
        yield Check("machine: versions", "ok", f"{n_right} packages are of versions that work")


def check_gpu() -> Iterator[Check]:
    """Look at whether networks have a GPU. PyTorch takes seconds to import: not where it has no CUDA in it."""
    if find_spec("torch") is None:
        yield Check("machine: GPU", "ok", "PyTorch is not installed: no networks (extra `torch`)")
        return
    version = _installed().get("torch", "")
    has_card = shutil.which("nvidia-smi") is not None
    if version.endswith("+cpu"):
        state, advice = ("warn", "install PyTorch for CUDA: see pytorch.org") if has_card else ("ok", "")
        card = (
            "there is an NVIDIA card, which this PyTorch cannot use"
            if has_card
            else "networks run on the processor"
        )
        yield Check("machine: GPU", state, f"PyTorch {version}: {card}", advice)
        return
    import torch

    if torch.cuda.is_available():
        names = ", ".join(
            f"{torch.cuda.get_device_name(k)} ({torch.cuda.get_device_properties(k).total_memory / _GB:.0f} GB)"
            for k in range(torch.cuda.device_count())
        )
        yield Check("machine: GPU", "ok", f"PyTorch {version}: {names}")
    elif has_card:
        yield Check(
            "machine: GPU",
            "warn",
            f"PyTorch {version} sees no GPU, though there is a driver",
            "update NVIDIA's driver",
        )
    else:
        yield Check("machine: GPU", "ok", f"PyTorch {version}, no GPU: networks run on the processor")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _load() -> float:
    return psutil.getloadavg()[0]


def _installed() -> dict[str, str]:
    return {canonicalize_name(one.name): one.version for one in distributions() if one.name}
