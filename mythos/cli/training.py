"""`mythos train`, `runs`, and the commands to a running worker."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mythos.cli.options import DEFAULT_RUNS, Json, Overrides, Runs, duration, print_json, say
from mythos.cli.watching import await_free, facts, follow_run, present
from mythos.contract import liveness
from mythos.contract.changes import LIVE, current_config, differences, told
from mythos.contract.checkpoints import can_resume
from mythos.contract.config import check_vocabulary
from mythos.contract.errors import ConfigError, RunError
from mythos.contract.load import load_config
from mythos.contract.rundir import RunPaths, existing_run, fresh_name, send_command, spoken
from mythos.contract.watch import JsonTail, list_runs, read_json

CONTROL_HELP = {
    "pause": "Pause a run between two steps.",
    "resume": "Let a paused run go on. (A stopped or crashed one: mythos train --resume RUN.)",
    "save": "Write a checkpoint now.",
    "set": "Change settings of a run while it trains, such as train.lr=0.001.",
    "stop": "Save and stop a run; it can be resumed.",
    "kill": "End a run's worker at once, saving nothing.",
}


def train(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="A YAML configuration, such as configs/quickstart.yaml.")
    ] = None,
    overrides: Overrides = None,
    runs: Runs = DEFAULT_RUNS,
    run: Annotated[str, typer.Option("--run", help="Name of the new run; made up if left out.")] = "",
    resume: Annotated[str, typer.Option("--resume", metavar="RUN", help="Go on with a stopped or crashed run.")] = "",
    processes: Annotated[
        int,
        typer.Option(
            "--nproc", "--processes", min=1, max=64, help="Processes on this machine, one per GPU (torchrun)."
        ),
    ] = 1,
    detach: Annotated[bool, typer.Option("--detach", help="Return at once; the worker goes on by itself.")] = False,
) -> None:
    """Train a model in a worker of its own, and follow it. Ctrl-C only stops following."""
    from mythos.train import launch

    began = time.time()
    if resume:
        if config or run:
            raise ConfigError(
                "--resume goes on with a run as it was configured.",
                "Leave out CONFIG and --run, or start a new run. --set can change what a run does not stand on.",
            )
        before = current_config(_resting_run(runs, resume)) if overrides else None
        paths = launch.resume(runs, resume, processes, overrides or [])
        if before:
            say(told(differences(before, current_config(paths))))
    elif config is None:
        raise ConfigError("mythos train needs a configuration.", "Try: mythos train configs/quickstart.yaml")
    else:
        loaded = load_config(config, overrides or [])
        check_vocabulary(loaded.model.vocab_size)
        paths = launch.start(loaded, runs, run or fresh_name(config.stem), sys.argv, processes)
    say(paths.name)
    if not detach:
        follow_run(paths, since=began)


def _resting_run(runs: Path, name: str) -> RunPaths:
    paths = existing_run(runs, name)
    if liveness.is_locked(paths):
        raise RunError(
            f"A worker is already running {paths.name}.", f"Change it with: mythos set {spoken(paths)} KEY=VALUE"
        )
    return paths


def fork(
    parent: Annotated[str, typer.Argument(metavar="RUN", help="Name or directory of the run to go on from.")],
    at: Annotated[
        int | None, typer.Option("--at", metavar="STEP", help="Its checkpoint; the newest if left out.")
    ] = None,
    overrides: Overrides = None,
    runs: Runs = DEFAULT_RUNS,
    run: Annotated[str, typer.Option("--run", help="Name of the new run; made up if left out.")] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Return at once; the worker goes on by itself.")] = False,
) -> None:
    """Start a new run from a checkpoint of another one, optimizer and data position included, with other settings."""
    from mythos.train.fork import fork as start

    began = time.time()
    paths = start(runs, parent, at, overrides or [], run or fresh_name(existing_run(runs, parent).name), sys.argv)
    say(paths.name)
    if not detach:
        follow_run(paths, since=began)


def runs(folder: Runs = DEFAULT_RUNS, as_json: Json = False) -> None:
    """List runs, newest first, with what their workers are doing."""
    found = list_runs(folder)
    if as_json:
        print_json({"runs": [facts(run) for run in found]})
        return
    if not found:
        say(f"No runs in {folder}. Start one: mythos train configs/quickstart.yaml")
        return
    width = max(len(run.name) for run in found)
    print(f"{'RUN':<{width}}  {'STATE':<10} {'STEP':>15}  {'LOSS':>7}  {'ETA':>7}")
    for run in found:
        loss = "–" if run.loss is None else f"{run.loss:.4f}"
        step, eta = f"{run.step}/{run.steps}", duration(run.eta_s if run.is_live else None)
        print(f"{run.name:<{width}}  {run.state:<10} {step:>15}  {loss:>7}  {eta:>7}")


Target = Annotated[str, typer.Argument(help="Name or directory of a run.")]
Wait = Annotated[
    float,
    typer.Option("--wait", min=0, help="Seconds to wait for the worker's answer; after stop and kill, for its end."),
]


def control_command(command: str) -> Callable[..., None]:
    """The function behind `mythos pause` and its siblings."""

    def send(run: Target, runs: Runs = DEFAULT_RUNS, wait: Wait = 60.0) -> None:
        _ask(existing_run(runs, run), command, wait)

    def send_settings(
        run: Target,
        overrides: Annotated[list[str], typer.Argument(metavar="KEY=VALUE…", help=f"Of {', '.join(LIVE)}.")],
        runs: Runs = DEFAULT_RUNS,
        wait: Wait = 60.0,
    ) -> None:
        _ask(existing_run(runs, run), command, wait, overrides=overrides)

    return send_settings if command == "set" else send


def _ask(paths: RunPaths, command: str, wait: float, **arguments: Any) -> None:
    """Send a command to a living worker and print its answer. Raises RunError where it refuses or does not answer."""
    if not liveness.is_locked(paths):
        state = present(paths).state
        way_on = "It left no checkpoint to go on from; `mythos runs` shows its end."
        if can_resume(paths.checkpoints):
            wanted = [*arguments.get("overrides", ()), *(["train.steps=N"] if state == "finished" else ())]
            way_on = " --set ".join([f"Go on with it: mythos train --resume {spoken(paths)}", *wanted])
        raise RunError(f"{paths.name} has no living worker, its state is {state}.", way_on)
    events, end = JsonTail(paths.events, start_at_end_minus=0), time.monotonic() + wait
    answer = _await_answer(paths, events, send_command(paths, command, **arguments), end)
    if answer is None and command == "kill":
        liveness.kill(paths, read_json(paths.status))
        say(f"{paths.name}: killed")
    elif answer is None and not liveness.is_locked(paths):
        raise RunError(f"{paths.name} ended before it answered.", "`mythos runs` shows how.")
    elif answer is None:
        raise RunError(
            f"{paths.name} has not answered within {wait:g} s.",
            "The command stays in its inbox; `mythos watch` shows what it does.",
        )
    elif not answer.get("ok"):
        raise RunError(f"{paths.name}: {str(answer.get('message')).rstrip('.')}.")
    elif command in ("stop", "kill") and await_free(paths, end):
        _tell_the_end(paths)
    else:
        say(f"{paths.name}: {answer.get('message')}")


def _tell_the_end(paths: RunPaths) -> None:
    """Of a run that was asked to end and has. Raises RunError where it could not save."""
    run = present(paths)
    if run.error:
        raise RunError(str(run.error.get("message")), str(run.error.get("hint")))
    say(f"{paths.name}: {run.message}")


def _await_answer(paths: RunPaths, events: JsonTail, identity: str, end: float) -> dict[str, Any] | None:
    while True:
        for event in events.read_objects():
            if event.get("kind") == "command" and event.get("id") == identity:
                return event
        if time.monotonic() > end or not liveness.is_locked(paths):
            return None
        time.sleep(0.05)
