"""`parfocal queue`: the unattended microscope."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from parfocal.cli._catalog import DataOption, JsonOption, folder_of
from parfocal.cli._queue_watch import watch_command
from parfocal.errors import BadInputError, HardwareError
from parfocal.queue import (
    ON_FAILURE,
    OnFailure,
    PlanFileError,
    QueueStatus,
    SupervisorPolicy,
    allowed_by_profile,
    ask,
    check_items,
    client_settings,
    connect,
    end_running_plan,
    find_profile,
    find_queue,
    queue_status,
    read_plan_file,
    running_queue,
    start_queue,
    stop_queue,
)

ProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        envvar="PARFOCAL_PROFILE",
        help="The instrument: a folder, a name in the data folder's profiles/, or a shipped one.",
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    queue = typer.Typer(help="Run plans unattended, through bluesky's queueserver.", no_args_is_help=True)
    queue.command("start")(start_command)
    queue.command("stop")(stop_command)
    queue.command("status")(status_command)
    queue.command("add")(add_command)
    queue.command("list")(list_command)
    queue.command("watch")(watch_command)
    queue.command("run")(run_command)
    queue.command("pause")(pause_command)
    queue.command("resume")(resume_command)
    queue.command("abort")(abort_command)
    queue.command("clear")(clear_command)
    app.add_typer(queue, name="queue")


def start_command(
    profile: ProfileOption = "simulated",
    data: DataOption = None,
    redis: Annotated[
        str | None,
        typer.Option(
            help="redis://host:port of a site's, kept for later; 'own': one of its own.", show_default=False
        ),
    ] = None,
    on_failure: Annotated[
        str | None,
        typer.Option(help=f"When a plan fails that declares nothing: {', '.join(ON_FAILURE)}. Default: retry."),
    ] = None,
    silent_s: Annotated[
        float,
        typer.Option("--silent-s", min=0, help="A worker whose plan says nothing for so long is ended; 0: never."),
    ] = SupervisorPolicy().silent_s,
    no_supervisor: Annotated[
        bool, typer.Option("--no-supervisor", help="Nobody mends anything: the queue stands where it fails.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start Redis, RE Manager, worker and supervisor, and wait until plans can run; they outlive this command."""
    folder = folder_of(data)
    before = find_queue(folder)
    policy = SupervisorPolicy(on_failure=_policy(on_failure) or "retry", silent_s=silent_s)
    with _waiting() as say:
        info = start_queue(folder, profile, redis, policy=None if no_supervisor else policy, say=say)
    if as_json:
        typer.echo(json.dumps({"was_running": before is not None, **_as_json(queue_status(folder))}))
    elif before is not None:
        typer.echo(f"runs already, as process {info.manager_pid}, with {info.profile}")
    else:
        typer.echo(f"ready, with {info.profile}")
        typer.echo("next: parfocal queue add plan.yml; parfocal queue run")


def stop_command(
    data: DataOption = None,
    now: Annotated[bool, typer.Option("--now", help="Abort the plan that runs, safely.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds that the running plan may take; default: any.", show_default=False),
    ] = None,
) -> None:
    """Stop the queue when the plan that runs has ended; items that wait are kept for the next start."""
    with _waiting() as say:
        stopped = stop_queue(folder_of(data), now=now, say=say, timeout_s=timeout)
    typer.echo("stopped" if stopped else "no queue was running")


def status_command(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Say what runs, what waits, whether all parts are well, and how other clients get in."""
    status = queue_status(folder_of(data))
    if as_json:
        typer.echo(json.dumps(_as_json(status)))
        return
    item = status.running_item
    rows = {
        "manager": status.manager + (", stops after this plan" if status.stops_after_this else ""),
        "environment": status.environment,
        "running": _told(item) if item else "nothing",
        "waiting": str(status.n_waiting),
        "done": str(status.n_done),
        "catalog": status.catalog
        + (f", {_runs(status.waiting_logs)} not yet in it" if status.waiting_logs else ""),
    }
    if status.info is not None:
        rows |= {
            "redis": status.redis,
            "documents": f"{status.documents} ({status.info.documents_out})",
            "supervisor": status.supervisor,
            "profile": status.info.profile,
        }
    for name, value in rows.items():
        typer.echo(f"{name:<12} {value}")
    if status.info is not None:
        typer.echo("for qserver and other clients:")
        for name, value in client_settings(status.info).items():
            typer.echo(f"  export {name}='{value}'")


def add_command(
    file: Annotated[Path, typer.Argument(help="A list of plans in YAML.", show_default=False)],
    data: DataOption = None,
    on_failure: Annotated[
        str | None,
        typer.Option(help=f"When a plan fails, where the file does not say: {', '.join(ON_FAILURE)}."),
    ] = None,
    front: Annotated[bool, typer.Option("--front", help="Before what waits; default: after it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge the file, add nothing.")] = False,
    run: Annotated[bool, typer.Option("--run", help="Run the queue, where it does not.")] = False,
    profile: ProfileOption = "simulated",
) -> None:
    """Add plans from a file: all of them, or none where one of them could not run.

    With --dry-run and no queue, the file is judged by the plans of --profile.
    """
    folder = folder_of(data)
    try:
        items = read_plan_file(file, _policy(on_failure))
        if dry_run and find_queue(folder) is None:
            check_items(file, items, *allowed_by_profile(find_profile(profile, folder)))
        else:
            with connect(running_queue(folder)) as client:
                plans = ask(client.plans_allowed)["plans_allowed"]
                check_items(file, items, plans, ask(client.devices_allowed)["devices_allowed"])
                if not dry_run:
                    ask(lambda: client.item_add_batch(items, pos="front" if front else "back"))
                if run and not dry_run:
                    _run(client)
    except PlanFileError as error:
        for problem in error.problems[:-1]:
            Console(stderr=True, highlight=False).print(
                "error:", problem, style="red", markup=False, soft_wrap=True
            )
        raise BadInputError(error.problems[-1]) from error
    typer.echo(f"{len(items)} plans {'could be' if dry_run else 'were'} added")


def list_command(
    data: DataOption = None,
    limit: Annotated[int, typer.Option(help="At most so many that are done, the newest.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """List what is done, what runs and what waits, in that order."""
    with connect(running_queue(folder_of(data))) as client:
        content = ask(client.queue_get)
        done = ask(client.history_get)["items"][-limit:] if limit > 0 else []
    if as_json:
        listed = {"done": done, "running": content["running_item"] or None, "waiting": content["items"]}
        typer.echo(json.dumps(listed))
        return
    table = Table(box=None, header_style="bold")
    for column in ("", "plan", "parameters", "runs"):
        table.add_column(column)
    for item in done:
        result = item["result"]
        runs = ", ".join(uid[:8] for uid in result["run_uids"])
        table.add_row(result["exit_status"], item["name"], _parameters(item), runs)
    if content["running_item"]:
        table.add_row("running", content["running_item"]["name"], _parameters(content["running_item"]), "")
    for item in content["items"]:
        table.add_row("waiting", item["name"], _parameters(item), "")
    if table.row_count:
        Console().print(table)
    else:
        typer.echo("the queue is empty")


def run_command(data: DataOption = None) -> None:
    """Run what waits, until the queue is empty or a plan fails."""
    with connect(running_queue(folder_of(data))) as client:
        typer.echo(_run(client))


def pause_command(
    data: DataOption = None,
    after_plan: Annotated[
        bool, typer.Option("--after-plan", help="Let the plan that runs end, and run nothing after it.")
    ] = False,
) -> None:
    """Pause the plan that runs, where it can go on from later."""
    with connect(running_queue(folder_of(data))) as client:
        if after_plan:
            ask(client.queue_stop)
            typer.echo("nothing runs after this plan; `parfocal queue run` goes on")
        else:
            ask(lambda: client.re_pause(option="deferred"))
            typer.echo("pauses at its next checkpoint; `parfocal queue resume` goes on")


def resume_command(data: DataOption = None) -> None:
    """Let a paused plan go on."""
    with connect(running_queue(folder_of(data))) as client:
        ask(client.re_resume)
    typer.echo("goes on")


def abort_command(data: DataOption = None) -> None:
    """Abort the plan that runs: z is put back, the light put out, and the plan waits again as the first."""
    with connect(running_queue(folder_of(data))) as client, _waiting() as say:
        if problem := end_running_plan(client, now=True, say=say):
            raise HardwareError(problem)
    typer.echo("aborted; it waits in the queue, `parfocal queue run` runs it again")


def clear_command(data: DataOption = None) -> None:
    """Take everything that waits out of the queue; the plan that runs goes on."""
    with connect(running_queue(folder_of(data))) as client:
        n_waiting = len(ask(client.queue_get)["items"])
        ask(client.queue_clear)
    typer.echo(f"{n_waiting} plans were taken out")


def _run(client: Any) -> str:
    """Start the queue, or take back that it shall stop; return what was done."""
    status = ask(lambda: client.status(reload=True))
    if status["queue_stop_pending"]:
        ask(client.queue_stop_cancel)
        return "goes on after this plan"
    if status["manager_state"] == "executing_queue":
        return "runs already"
    if not status["items_in_queue"]:
        raise BadInputError("the queue is empty: `parfocal queue add plan.yml` fills it")
    ask(client.queue_start)
    n = status["items_in_queue"]
    return f"runs {n} plan{'' if n == 1 else 's'}"


def _runs(n: int) -> str:
    return f"{n} run{'' if n == 1 else 's'}"


def _policy(on_failure: str | None) -> OnFailure | None:
    for one in ON_FAILURE:
        if on_failure == one:
            return one
    if on_failure is not None:
        raise BadInputError(f"--on-failure {on_failure}: one of {', '.join(ON_FAILURE)} was expected")
    return None


def _as_json(status: QueueStatus) -> dict[str, Any]:
    content = asdict(status)
    if status.info is not None:
        content["info"]["redis"] = ""  # holds its password
        content["environment_variables"] = client_settings(status.info)
    return content


def _told(item: dict[str, Any]) -> str:
    return f"{item['name']} {_parameters(item)}".strip()


def _parameters(item: dict[str, Any]) -> str:
    given = [str(one) for one in item.get("args", [])]
    given += [f"{name}={value}" for name, value in item.get("kwargs", {}).items()]
    text = ", ".join(given)
    return text if len(text) <= 60 else f"{text[:57]}..."


@contextmanager
def _waiting() -> Generator[Callable[[str], object]]:
    """Say on a terminal what is being waited for."""
    with Console(stderr=True).status("") as spinner:
        yield lambda what: spinner.update(f"waiting for {what}")
