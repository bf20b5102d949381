"""Made-up tasks with a known difficulty per token, for studies of depth."""

from __future__ import annotations

from mythos.contract.errors import DataError
from mythos.data.tasks.arithmetic import ADDITION, SUMS
from mythos.data.tasks.boolean import BOOLEAN
from mythos.data.tasks.running import HEADINGS, MODULAR, PARITY, SHELLS
from mythos.data.tasks.sequences import BRACKETS, HOPS
from mythos.data.tasks.task import VERSION, Example, Task, examples

__all__ = ["TASKS", "VERSION", "Example", "Task", "examples", "find_tasks"]

TASKS = {task.name: task for task in (ADDITION, BOOLEAN, BRACKETS, HEADINGS, HOPS, MODULAR, PARITY, SHELLS, SUMS)}

_HARDER = "-harder"


def find_tasks(names: str) -> list[tuple[Task, range]]:
    """Tasks with their difficulties: `hops`, or beyond what is trained on, `hops-harder`; several with commas between, all
    for nothing.

    Raises DataError for an unknown one.
    """
    if not names:
        return [(task, task.trained) for task in TASKS.values()]
    found = []
    for name in names.split(","):
        task = TASKS.get(name.removesuffix(_HARDER))
        if task is None:
            raise DataError(
                f"data.task: there is no task {name!r}.",
                f"Choose from {', '.join(TASKS)}, with commas between, also with {_HARDER} for more than training "
                "shows; or none for all.",
            )
        found.append((task, task.harder if name.endswith(_HARDER) else task.trained))
    return found
