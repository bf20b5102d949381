"""Made-up tasks as documents."""

import re

import pytest

from mythos.contract.config import SourceConfig
from mythos.contract.errors import DataError
from mythos.data.sources import Report, read, units
from mythos.data.tasks import TASKS


def documents(**settings: object) -> dict[str, str]:
    source = SourceConfig(source="synthetic", **settings)  # type: ignore[arg-type]
    return {d.id: d.text for unit in units(source) for d in read(unit, source, Report(), lambda n_bytes: None)}


def test_documents_are_fifty_lines_of_each_task_in_turn() -> None:
    found = documents(max_documents=45)
    assert len(found) == 45
    assert all(text.count("\n") == 50 and text.endswith("\n") for text in found.values())
    names = [*TASKS, next(iter(TASKS))]
    assert list(found)[: len(names)] == [f"all-{len(TASKS)}/{number:06d}-{name}" for number, name in enumerate(names)]


def test_taking_more_changes_nothing_before_and_another_seed_everything() -> None:
    few, many = documents(task="hops", max_documents=21), documents(task="hops", max_documents=44)
    assert few.items() <= many.items()
    other = documents(task="hops", max_documents=21, task_seed=1)
    assert other.keys() == few.keys()
    assert not set(other.values()) & set(few.values())
    assert len(set(many.values())) == 44


def test_a_last_question_that_ends_its_line_is_the_only_change() -> None:
    asked, ending = (documents(task="shells,sums", max_documents=4, task_ends=ends) for ends in (False, True))
    assert asked.keys() == ending.keys()
    for name, text in asked.items():
        assert ending[name] == re.sub(r"\?(.)\n", r"=\1\n", text)
        assert ("?" in text) == (ending[name] != text) == ("shells" in name.rpartition("-")[2])
    first, other = (
        units(SourceConfig(source="synthetic", task="shells", task_ends=ends))[0].fingerprint for ends in (False, True)
    )
    assert first != other


def test_units_hold_a_thousand_examples_and_know_the_seed() -> None:
    found = units(SourceConfig(source="synthetic", task="parity"))
    assert (len(found), found[0].stop, found[-1].stop) == (500, 20, 10_000)
    assert len({unit.id for unit in found}) == 500
    other = units(SourceConfig(source="synthetic", task="parity", task_seed=1))
    assert found[0].fingerprint != other[0].fingerprint


def test_bytes_told_add_up_to_the_size_of_the_unit() -> None:
    source = SourceConfig(source="synthetic", max_documents=25)
    for unit in units(source):
        told: list[int] = []
        found = list(read(unit, source, Report(), told.append))
        assert sum(told) == unit.size > 0
        assert unit.size / 2 < sum(len(d.text) for d in found) < unit.size * 2


def test_an_unknown_task_is_told_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"no task 'hopps'.*addition, .*hops"):
        units(SourceConfig(source="synthetic", task="hopps"))


def test_harder_tasks_are_chosen_by_name() -> None:
    (easy,), (hard,) = (
        documents(task="parity", max_documents=1).values(),
        documents(task="parity-harder", max_documents=1).values(),
    )
    short, long = ([len(re.sub(r"\?.", "", line)) for line in text.split()] for text in (easy, hard))
    assert max(short) < min(long)


def test_harder_documents_share_no_puzzle_with_training() -> None:
    easy, hard = (documents(task=name, max_documents=3) for name in ("hops", "hops-harder"))
    puzzles = [{line[:77] for text in found.values() for line in text.splitlines()} for found in (easy, hard)]
    assert len(puzzles[0]) == len(puzzles[1]) == 150
    assert puzzles[0].isdisjoint(puzzles[1])
