"""`mythos launch`: one run over several machines, under SLURM or by hand."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from mythos.cli.options import DEFAULT_RUNS, Overrides, Runs
from mythos.contract.errors import ConfigError, MythosError
from mythos.contract.load import load_config
from mythos.contract.rundir import run_paths, write_named

Nodes = Annotated[int, typer.Option("--nodes", min=1, max=10_000, help="Machines.")]
Processes = Annotated[
    int, typer.Option("--gpus-per-node", min=1, max=64, help="GPUs, and so processes, of each machine.")
]
RunName = Annotated[str, typer.Option("--run", help="Name of the run; resumed where it exists.")]
SCRIPT = """\
#!/bin/bash
{options}
set -uo pipefail
cd {folder}
python=({python} -m mythos)
stopped=0
stop() {{ stopped=1; "${{python[@]}}" stop {run} --runs {runs} --wait 0 || true; }}
trap stop USR1 TERM
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --kill-on-bad-exit=1 "${{python[@]}}" launch node {config} {settings}--run {run} --runs {runs} \\
  --nodes {nodes} --gpus-per-node {gpus} --meet "$head:$((20000 + SLURM_JOB_ID % 20000))" --id "$SLURM_JOB_ID" &
while kill -0 $! 2>/dev/null; do wait $!; code=$?; done
if [ "$stopped" = 1 ]; then exec scontrol requeue "$SLURM_JOB_ID"; fi
exit "${{code:-1}}"
"""


def slurm(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML configuration.")],
    out: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to write the script; else stdout.")
    ] = None,
    overrides: Overrides = None,
    runs: Runs = DEFAULT_RUNS,
    run: RunName = "",
    nodes: Nodes = 1,
    gpus_per_node: Processes = 8,
    time: Annotated[str, typer.Option("--time", help="Limit of the job, as SLURM writes it: D-HH:MM:SS.")] = "24:00:00",
    partition: Annotated[str, typer.Option("--partition", help="SLURM partition.")] = "",
) -> None:
    """Write an sbatch script that trains on several machines, and that resumes by itself after preemption or its time limit."""
    from mythos.train.ranks import check_parts

    check_parts(load_config(config, overrides or []).train, nodes * gpus_per_node)
    name = run or re.sub(r"[^A-Za-z0-9._-]+", "-", config.stem).strip("-._") or "run"
    run_paths(runs, name)
    for option, text, allowed in (("--time", time, r"[0-9:-]+"), ("--partition", partition, r"[A-Za-z0-9_.,-]*")):
        if not re.fullmatch(allowed, text):
            raise ConfigError(f"{option} {text!r} is nothing that SLURM knows.", "See sbatch(1).")
    script = SCRIPT.format(
        options=_options(name, nodes, gpus_per_node, time, partition),
        folder=shlex.quote(os.getcwd()),
        python=shlex.quote(sys.executable),
        run=shlex.quote(name),
        runs=shlex.quote(str(runs)),
        config=shlex.quote(str(config)),
        settings="".join(f"--set {shlex.quote(setting)} " for setting in overrides or []),
        nodes=nodes,
        gpus=gpus_per_node,
    )
    if out is None:
        print(script, end="")
        return
    try:
        write_named(out, script)
    except OSError as error:
        raise MythosError(
            f"{out} cannot be written: {error.strerror}.", "Name a file in a folder that exists."
        ) from None


def _options(name: str, nodes: int, gpus: int, time: str, partition: str) -> str:
    options = {
        "job-name": f"mythos-{name}",
        "nodes": nodes,
        "ntasks-per-node": 1,
        "gpus-per-node": gpus,
        "time": time,
        **({"partition": partition} if partition else {}),
        "signal": "B:USR1@180",
        "output": f"mythos-{name}-%j.log",
        "open-mode": "append",
    }
    return "\n".join([*(f"#SBATCH --{key}={value}" for key, value in options.items()), "#SBATCH --requeue"])


def node(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML configuration, the same on every machine.")],
    meet: Annotated[str, typer.Option("--meet", metavar="HOST:PORT", help="A port of the first machine.")],
    run: RunName,
    overrides: Overrides = None,
    runs: Runs = DEFAULT_RUNS,
    nodes: Nodes = 1,
    gpus_per_node: Processes = 1,
    number: Annotated[
        int, typer.Option("--node", min=0, envvar="SLURM_NODEID", help="Which machine this is; 0 is the first.")
    ] = 0,
    identity: Annotated[str, typer.Option("--id", help="The same word on every machine.")] = "mythos",
) -> None:
    """Train on this machine as one of several that share a disk: run it on each. Creates the run, or resumes it."""
    from mythos.contract.rundir import acquire_lock, create_run
    from mythos.train import launch

    found = re.fullmatch(r"\[?[\w.:-]+\]?:(\d{1,5})", meet)
    if not found or not 0 < int(found[1]) < 1 << 16:
        raise ConfigError(f"--meet {meet!r} is no HOST:PORT.", "For example: --meet first-machine:29500")
    paths, lock = run_paths(runs, run), -1
    if number == 0:
        if not paths.identity.is_file():
            create_run(runs, run, load_config(config, overrides or []), sys.argv)
        lock = acquire_lock(paths, wait_s=30)
        launch.begin_again(paths)
        os.set_inheritable(lock, True)
    command = launch.node_command(paths, lock, nodes, gpus_per_node, meet, identity)
    os.execve(command[0], command, launch.worker_environment(gpus_per_node))
