"""Learn from corrections through the queue: at night, or between two runs."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import InvalidCommand, Msg, MsgGenerator, plan

from parfocal.catalog import DataFolder
from parfocal.devices import Columns
from parfocal.errors import BadInputError
from parfocal.plans import stubs
from parfocal.plans._failures import close_failed

_COMMAND = "from parfocal.cli import main; main()"
_LOOK_EVERY_S = 0.5
_END_WITHIN_S = 10.0
_OUTCOME: dict[str, Any] = {
    "promoted": 0,
    "verdict": "",
    "reason": "",
    "version": "",
    "weights_sha256": "",
    "n_new": 0,
    "corrections_ap50_before": float("nan"),
    "corrections_ap50": float("nan"),
    "simulated_ap50_before": float("nan"),
    "simulated_ap50": float("nan"),
}


@plan
def retrain_nuclei(
    model: str = "nuclei2d",
    method: Literal["adapter", "full"] = "adapter",
    steps: int = 150,
    min_new: int = 20,
    force: bool = False,
    promote: bool = True,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    scheduler: str = "",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Teach a network the corrections of the data folder, in a process of its own, and record what came of it.

    One run: its start document names the model and its versions, stream `retraining` has one event with the
    outcome (`promoted`, `candidate` or `not due`), the gate's numbers and the new version. A run that is ended
    early ends the process too; nothing is half promoted.

    Parameters
    ----------
    model : str
        Which network: `nuclei2d`, `nuclei3d`, or one that was imported.
    method : {"adapter", "full"}
        A few per cent of its weights, or all.
    steps : int
        Of training.
    min_new : int
        So many new corrections make it due; with fewer nothing is trained.
    force : bool
        Train though it is not due.
    promote : bool
        Promote what passes the gate; else it stays a candidate.
    device : {"auto", "cpu", "cuda"}
        Where to train.
    scheduler : str
        Address of a Dask scheduler, `tcp://...`; empty for this machine.
    md : dict, optional
        More for the start document.

    Returns
    -------
    str
        Uid of the run.

    Raises
    ------
    BadInputError
        There is no such model, nothing to learn from, or PyTorch is missing; the message is the process's own.
    """
    folder = yield from _data_folder()
    asked = ["--name", model, "--method", method, "--steps", str(steps), "--min-new", str(min_new)]
    asked += ["--device", device, "--promote" if promote else "--no-promote"]
    asked += ["--force"] if force else []
    asked += ["--scheduler", scheduler] if scheduler else []
    about: dict[str, Any] = {
        "plan_name": "retrain_nuclei",
        "plan_args": {"model": model, "method": method, "steps": steps, "min_new": min_new, "force": force},
        "parfocal": {"model": model, "parents": _versions(folder, model)},
    }
    outcome = Columns("retraining", _OUTCOME)

    def recorded() -> MsgGenerator[str]:
        uid = yield from bps.open_run(about | (md or {}))
        told = yield from _in_its_own_process([*asked, "--data", str(folder.root), "--json"])
        columns = _columns(told)
        yield from stubs.record(outcome, columns, stream="retraining")
        yield from bps.close_run(exit_status="success", reason=f"{columns['verdict']}: {columns['reason']}")
        return uid

    return (yield from bpp.contingency_wrapper(recorded(), except_plan=close_failed))


def _data_folder() -> MsgGenerator[DataFolder]:
    """Return the folder of the session that runs the plan; of a RunEngine without one, the default folder."""
    try:
        root: Any = yield Msg("data_folder")
    except InvalidCommand:
        root = None
    return DataFolder() if root is None else DataFolder(Path(root))


def _versions(folder: DataFolder, model: str) -> list[str]:
    """Return the hashes of the model in use, and of what it was trained from."""
    import parfocal
    from parfocal.learning import ModelStore

    store = ModelStore(folder.models, shipped=sorted(Path(parfocal.__file__).parent.glob("*/weights")))
    return [one.weights_sha256 for one in store.lineage(store.find(model))]


def _in_its_own_process(arguments: list[str]) -> MsgGenerator[dict[str, Any]]:
    """Run `parfocal train adapter` beside the RunEngine, which stays free to pause and to abort."""
    with tempfile.TemporaryDirectory(prefix="parfocal-retrain-") as made:
        said, complained = Path(made, "said.json"), Path(made, "complained.txt")
        command = [sys.executable, "-c", _COMMAND, "train", "adapter", *arguments]
        with said.open("wb") as out, complained.open("wb") as errors:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors)

        def wait() -> MsgGenerator[None]:
            while process.poll() is None:
                yield Msg("checkpoint")
                yield Msg("sleep", None, _LOOK_EVERY_S)

        def end() -> MsgGenerator[None]:
            _end(process)
            yield from bps.null()

        yield from bpp.finalize_wrapper(wait(), end)
        if process.returncode:
            lines = complained.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            reason = lines[-1].removeprefix("error: ") if lines else f"it ended with {process.returncode}"
            raise BadInputError(f"retrain_nuclei: {reason}")
        return json.loads(said.read_text(encoding="utf-8").strip().splitlines()[-1])


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _columns(told: dict[str, Any]) -> dict[str, Any]:
    if "gate" not in told:
        return {"verdict": "not due", "reason": told["reason"], "n_new": int(told["n_new"])}
    gate = told["gate"]
    return {
        "promoted": int(told["promoted"]),
        "verdict": "promoted" if told["promoted"] else "candidate",
        "reason": gate["reason"],
        "version": told["version"],
        "weights_sha256": told["weights_sha256"],
        "n_new": int(told["n_new"]),
        "corrections_ap50_before": gate["corrections_before"],
        "corrections_ap50": gate["corrections_after"],
        "simulated_ap50_before": gate["simulated_before"],
        "simulated_ap50": gate["simulated_after"],
    }
