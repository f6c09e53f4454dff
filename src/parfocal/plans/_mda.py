"""Sequences of the useq-schema, as napari-micromanager and pymmcore-plus write them."""

from pathlib import Path
from typing import Any, Literal

from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator, plan
from pydantic import ValidationError
from useq import MDASequence

from parfocal.errors import BadInputError
from parfocal.plans._acquire import Policy, acquire
from parfocal.plans._parts import parts_of


@plan
def run_mda(
    microscope: Readable[Any],
    sequence: dict[str, Any],
    *,
    probe: Readable[Any] | None = None,
    autofocus_half_range_um: float = 3.0,
    z: Movable[Any] | None = None,
    on_error: Literal["abort", "skip", "retry"] = "abort",
    retries: int = 2,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Run a multi-dimensional acquisition: positions, channels, planes, times, grids, autofocus.

    Autofocus actions (`autofocus_plan` with `axes`) sweep z and go to the best plane by the probe's score; what
    is found holds for the planes that follow at that position. Not supported, and refused before anything
    moves: SLM images, device properties, custom actions, ROIs, `keep_shutter_open_across`.

    Parameters
    ----------
    microscope : Microscope or Readable
        What to image with.
    sequence : dict, useq.MDASequence or path of a YAML or JSON file
        What to do; as a dict in a queue.
    probe : Auditor, optional
        Scores frames for autofocus: `parfocal.callbacks.focus_probe(microscope.camera)` makes one.
    autofocus_half_range_um : float
        Reach of the autofocus sweep, um.
    z, on_error, retries, md
        As in `z_stack`.

    Returns
    -------
    str
        The run's uid.
    """
    mda = read_sequence(sequence)
    return (
        yield from acquire(
            parts_of(microscope, z),
            mda,
            plan_name="run_mda",
            plan_args={},
            policy=Policy(on_error, retries),
            probe=probe,
            autofocus_half_range_um=autofocus_half_range_um,
            md=md,
        )
    )


def read_sequence(sequence: Any) -> MDASequence:
    """Return a sequence from what people have: an MDASequence, a dict, or a YAML or JSON file.

    Raises
    ------
    BadInputError
        With the first thing that is wrong, and where.
    """
    try:
        if isinstance(sequence, MDASequence):
            return sequence
        if isinstance(sequence, str | Path):
            return MDASequence.from_file(sequence)
        return MDASequence.model_validate(sequence)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "sequence"
        raise BadInputError(f"sequence: {where}: {first['msg']}") from error
    except OSError as error:
        raise BadInputError(f"sequence {sequence} cannot be read: {error.strerror}") from error
