"""Made-up tasks with a known difficulty per token, for studies of depth."""

from __future__ import annotations

from mythos.contract.errors import DataError
from mythos.data.tasks.arithmetic import ADDITION
from mythos.data.tasks.boolean import BOOLEAN
from mythos.data.tasks.running import HEADINGS, MODULAR, PARITY, SHELLS
from mythos.data.tasks.sequences import BRACKETS, HOPS
from mythos.data.tasks.task import VERSION, Example, Task, examples

__all__ = ["TASKS", "VERSION", "Example", "Task", "examples", "find_tasks"]

TASKS = {task.name: task for task in (ADDITION, BOOLEAN, BRACKETS, HEADINGS, HOPS, MODULAR, PARITY, SHELLS)}

_HARDER = "-harder"


def find_tasks(name: str) -> list[tuple[Task, range]]:
    """Tasks with their difficulties: `hops`, or beyond what is trained on, `hops-harder`; all for an empty name.

    Raises DataError for an unknown one.
    """
    if not name:
        return [(task, task.trained) for task in TASKS.values()]
    task = TASKS.get(name.removesuffix(_HARDER))
    if task is None:
        raise DataError(
            f"data.task: there is no task {name!r}.",
            f"Choose one of {', '.join(TASKS)}, also with {_HARDER} for more than training shows, or none for all.",
        )
    return [(task, task.harder if name.endswith(_HARDER) else task.trained)]
