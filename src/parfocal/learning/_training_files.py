"""What has to be true of files before a long training begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from parfocal.errors import BadInputError


def check_training_files(target: Path, checkpoints: Sequence[Path], resume: bool) -> None:
    """Refuse a training that would fail at its end, or replace what is there.

    Parameters
    ----------
    target : Path
        The weights to write, `NAME.safetensors`; their card goes beside them.
    checkpoints : sequence of Path
        What a training leaves while it runs.
    resume : bool
        Whether it is to go on from one.

    Raises
    ------
    BadInputError
        Weights, card or an earlier training are there, one to resume is not, or the weights cannot be written.
    """
    for path in (target, target.with_suffix(".json")):
        if path.exists():
            raise BadInputError(f"{path}: is there already and is not replaced; choose another --out")
    begun = [path for path in checkpoints if path.exists()]
    if begun and not resume:
        raise BadInputError(f"{begun[0]}: a training was begun; --resume goes on with it, or delete it")
    if resume and not begun:
        raise BadInputError(f"{target}: no checkpoint beside it to resume from; expected {checkpoints[0].name}")
    if target.suffix != ".safetensors":
        raise BadInputError(f"{target}: weights end in .safetensors")
    if not target.parent.is_dir():
        raise BadInputError(f"{target.parent}: no such folder")
