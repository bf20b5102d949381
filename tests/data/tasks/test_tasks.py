"""Every answer and every difficulty against a brute-force reckoning that shares no code with the tasks."""

import re
from collections.abc import Callable, Iterator

import pytest

from mythos.data.tasks import TASKS, Example, Task, examples

COUNT = 300


def made(task: Task, difficulties: range, seed: int = 0) -> list[Example]:
    return list(examples(task, difficulties, COUNT, (seed,)))


def solve_addition(question: str) -> tuple[str, list[int]]:
    """A carry has run k places into a digit if the k digits below sum beyond themselves, and fewer do not."""
    first, second = question[:-1].split("+")
    answer = f"{int(first) + int(second):0{len(first) + 1}d}"
    runs = []
    for place in range(len(answer) - 1, -1, -1):  # the digit's power of ten
        low = [(int(first) % 10**place) // 10**cut + (int(second) % 10**place) // 10**cut for cut in range(place)]
        sources = [place - cut for cut in range(place) if low[cut] >= 10 ** (place - cut)]
        runs.append(min(sources, default=0))
    return answer, runs


def solve_sums(question: str) -> tuple[str, list[int]]:
    """As addition of numbers with as many noughts before them as the longer one needs."""
    numbers = question[:-1].split("+")
    width = max(map(len, numbers))
    answer, runs = solve_addition("+".join(number.zfill(width) for number in numbers) + "=")
    short = str(int(answer))
    return short, runs[-len(short) :]


def proof(tree: object) -> tuple[bool, int]:
    """Value of a formula, and the operations that its shortest proof nests."""
    if isinstance(tree, bool):
        return tree, 0
    operation, *branches = tree  # type: ignore[misc]
    found = [proof(branch) for branch in branches]
    if operation == "!":
        return not found[0][0], found[0][1] + 1
    (left, deep), (right, deeper) = found
    if operation == "^":
        return left != right, max(deep, deeper) + 1
    value = left and right if operation == "&" else left or right
    decided = operation == "|"  # by a single branch with this value
    if value != decided:
        return value, max(deep, deeper) + 1
    return value, min(depth for branch, depth in found if branch == decided) + 1


class Parser:
    """Of `F`, `!x` and `(x&y)`."""

    def __init__(self, text: str) -> None:
        self.rest = list(text)

    def tree(self) -> object:
        match self.rest.pop(0):
            case "(":
                left, operation, right = self.tree(), self.rest.pop(0), self.tree()
                assert self.rest.pop(0) == ")"
                return operation, left, right
            case "!":
                return "!", self.tree()
            case letter:
                return {"T": True, "F": False}[letter]


def solve_boolean(question: str) -> tuple[str, list[int]]:
    parser = Parser(question)
    value, depth = proof(parser.tree())
    assert parser.rest == ["="]
    return "FT"[value], [depth]


def solve_brackets(question: str) -> tuple[str, list[int]]:
    text = question[:-1]
    while "()" in text:
        text = text.replace("()", "")
    assert set(text) <= {"("}
    return ")" * len(text) + ".", [len(text)] * (len(text) + 1)


def solve_hops(question: str) -> tuple[str, list[int]]:
    *pairs, hops, start = question[:-1].split()
    assert len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs}) == len(pairs)
    seen = [start]
    for _ in range(int(hops)):
        seen.append(next(pair[1] for pair in pairs if pair[0] == seen[-1]))
    assert len(set(seen)) == len(seen), "no shorter way leads there"
    return seen[-1], [int(hops)]


def solve_modular(question: str) -> tuple[str, list[int]]:
    """Signs and digits from left to right, with every bracket that says so."""
    first, *operations = re.findall(r"^\d|[+*]\d", question)
    nested = first
    for operation in operations:
        nested = f"({nested}{operation})"
        assert operation != "*0"
    return str(eval(nested) % 5), [len(operations)]  # noqa: S307 - digits and signs, as matched above


def solve_parity(question: str) -> tuple[str, list[int]]:
    return "01"[question.count("1") % 2], [len(question) - 1]


def solve_headings(question: str) -> tuple[str, list[int]]:
    """As a complex number: north is i, east 1."""
    heading = {"N": 1j, "E": 1 + 0j, "S": -1j, "W": -1 + 0j}[question[0]]
    for turn in question[1:]:
        heading = {"l": heading * 1j, "r": heading * -1j, "s": heading, "m": complex(-heading.real, heading.imag)}[turn]
    return {1j: "N", 1: "E", -1j: "S", -1: "W"}[heading], [len(question) - 1]


def solve_shells(question: str) -> tuple[str, list[int]]:
    """The table as a string with the ball in it."""
    table = "ABC".replace(question[0], "o")
    for swap in question[1:]:
        first, second = (i for i in range(3) if i != "xyz".index(swap))
        cells = list(table)
        cells[first], cells[second] = cells[second], cells[first]
        table = "".join(cells)
    return "ABC"[table.index("o")], [len(question) - 1]


def asked(task: Task, example: Example) -> Iterator[tuple[str, str, list[int]]]:
    """Questions with their answers and difficulties; a task that asks on the way leaves out what it asked before."""
    assert example.positions[-1] == len(example.text) - 1, "an answer is the end"
    if task.name not in RUNNING:
        start = example.positions[0]
        assert example.positions == list(range(start, len(example.text)))
        yield example.text[:start], example.text[start:], list(example.difficulty)
        return
    for place, difficulty in zip(example.positions, example.difficulty, strict=True):
        assert example.text[place - 1] == "?"
        yield re.sub(r"\?.", "", example.text[: place - 1]), example.text[place], [difficulty]


SOLVE: dict[str, Callable[[str], tuple[str, list[int]]]] = {
    "addition": solve_addition,
    "boolean": solve_boolean,
    "brackets": solve_brackets,
    "headings": solve_headings,
    "hops": solve_hops,
    "modular": solve_modular,
    "parity": solve_parity,
    "shells": solve_shells,
    "sums": solve_sums,
}
RUNNING = ("headings", "modular", "parity", "shells")


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
@pytest.mark.parametrize("split", ["trained", "harder"])
def test_answers_and_difficulties_are_right(task: Task, split: str) -> None:
    difficulties: range = getattr(task, split)
    reached = set()
    for example in made(task, difficulties):
        for question, answer, said in asked(task, example):
            assert (answer, said) == SOLVE[task.name](question)
        assert "\n" not in example.text
        reached.add(max(example.difficulty))
    assert reached == set(difficulties)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_harder_examples_are_beyond_training_but_written_alike(task: Task) -> None:
    assert max(task.trained) < min(task.harder)
    alphabets = [{char for e in made(task, split) for char in e.text} for split in (task.trained, task.harder)]
    assert alphabets[0] == alphabets[1]


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_no_single_answer_is_a_good_guess(task: Task) -> None:
    answers = ["".join(e.text[i] for i in e.positions) for e in made(task, task.trained)]
    assert max(answers.count(answer) for answer in set(answers)) < COUNT * 0.6


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_examples_follow_from_their_seed(task: Task) -> None:
    assert made(task, task.trained) == made(task, task.trained)
    assert made(task, task.trained) != made(task, task.trained, seed=1)
