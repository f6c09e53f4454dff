"""Raw numbers, which the ledger does not keep: one JSON a slice, by stage."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from parfocal.errors import BadInputError
from parfocal.files import natural_key, write_atomically
from parfocal.slices.ledger._cells import as_slice_id
from parfocal.slices.ledger._stage import Metric, StageResult


def write_metrics(folder: str | os.PathLike[str], result: StageResult) -> tuple[Path, ...]:
    """Write the metrics of a stage, one JSON a slice: `slice_z03.json`; return the files.

    What other stages wrote there stays; what this stage wrote before is replaced. A number that is not finite
    becomes null, which is all that JSON has for it.

    Parameters
    ----------
    folder : str or path
        Where; made if need be.
    result : StageResult
        What the stage found.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> _ = write_metrics(folder, StageResult("register", metrics={"03": {"z_correlation": 0.83}}))
    >>> read_metrics(folder)
    {'03': {'register': {'z_correlation': 0.83}}}
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for slice_id, numbers in result.metrics.items():
        sid = as_slice_id(slice_id)
        target = root / f"slice_z{sid}.json"
        stages = _read(target)[1] if target.exists() else {}
        stages[result.stage] = {name: _finite(value) for name, value in numbers.items()}
        content = json.dumps({"slice_id": sid, "stages": stages}, indent=1, allow_nan=False, ensure_ascii=False)
        with write_atomically(target) as temporary:
            temporary.write_text(content + "\n", encoding="utf-8")
        written.append(target)
    return tuple(written)


def read_metrics(folder: str | os.PathLike[str]) -> dict[str, dict[str, dict[str, Metric]]]:
    """Read what `write_metrics` wrote: slice id, stage and name to number.

    Raises
    ------
    BadInputError
        There is no such folder, or a file in it is not what `write_metrics` writes.
    """
    root = Path(folder)
    if not root.is_dir():
        raise BadInputError(f"{root}: no such folder of metrics")
    return dict(_read(path) for path in sorted(root.glob("slice_z*.json"), key=natural_key))


def _read(path: Path) -> tuple[str, dict[str, dict[str, Metric]]]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        stages = content["stages"]
        if not all(isinstance(numbers, Mapping) for numbers in stages.values()):
            raise TypeError
        return as_slice_id(content["slice_id"]), cast(dict[str, dict[str, Metric]], stages)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadInputError(
            f"{path}: is no file of a slice's metrics; slice_id and stages were expected"
        ) from None


def _finite(value: Metric) -> Metric:
    return None if isinstance(value, float) and not math.isfinite(value) else value
