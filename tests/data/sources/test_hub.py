"""Datasets by the hub's library: from folders here, and what happens where the hub cannot be reached."""

import json
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mythos.contract.config import SourceConfig
from mythos.contract.errors import DataError
from mythos.data.sources import Report, hub, read, units

Found = list[tuple[str, str]]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    hub._open.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "dataset"
    root.mkdir()
    for shard in range(4):
        table = pa.table({"text": [f"row {shard}.{i}" for i in range(10)], "id": range(10)})
        pq.write_table(table, root / f"train-{shard}.parquet")
    return root


def source_of(dataset: object, **settings: Any) -> SourceConfig:
    return SourceConfig(source="hf", dataset=str(dataset), **settings)


def read_all(source: SourceConfig, report: Report | None = None) -> Found:
    report = report or Report()
    return [(d.id, d.text) for unit in units(source) for d in read(unit, source, report, lambda n_bytes: None)]


def test_shards_are_units_and_rows_documents(folder: Path) -> None:
    source, told = source_of(folder), list[int]()
    found = units(source)
    assert [unit.id for unit in found] == [f"train-0000{i}" for i in range(4)]
    third = list(read(found[2], source, Report(), told.append))
    assert [(d.id, d.text) for d in third] == [(f"train-00002#{i + 1}", f"row 2.{i}") for i in range(10)]
    assert sum(told) == len("row 2.0") * 10
    assert len(read_all(source)) == 40


def test_json_lines_and_bad_rows(tmp_path: Path) -> None:
    rows = [{"body": "one"}, {"body": None}, {"body": "  "}, {"body": "four"}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = Report()
    assert read_all(source_of(tmp_path, text_key="body"), report) == [
        ("train-00000#1", "one"),
        ("train-00000#4", "four"),
    ]
    assert report.skipped == {"without text under 'body'": 1, "empty": 1}
    assert report.files == 1


@pytest.mark.parametrize("wanted", [1, 7, 20, 39, 100])
def test_some_documents_come_from_all_over_and_keep_their_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    monkeypatch.setattr(hub, "AT_ONCE", 5)
    everything = read_all(source_of(folder))
    some = read_all(source_of(folder, max_documents=wanted))
    assert len(some) == min(wanted, 40)
    assert set(some) <= set(everything)
    shards = {identity.partition("#")[0] for identity, _ in some}
    assert len(shards) == min(-(-wanted // 5), 4)


def test_a_damaged_file_costs_itself_alone(folder: Path) -> None:
    data = bytearray((folder / "train-1.parquet").read_bytes())
    data[4:60] = b"\xff" * 56
    (folder / "train-1.parquet").write_bytes(data)
    report = Report()
    found = read_all(source_of(folder), report)
    assert len(found) == 30
    assert report.skipped == {"broken": 1}
    assert "train-00001 after row 0" in report.samples["broken"][0]


def test_a_stop_and_a_lost_hub_are_passed_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(n_bytes: int) -> None:
        raise KeyError("stop")

    source = source_of(folder)
    unit = units(source)[0]
    with pytest.raises(KeyError, match="stop"):
        list(read(unit, source, Report(), stop))

    class Lost:
        num_shards = 4

        def shard(self, count: int, index: int) -> Any:
            yield {"text": "a"}
            raise ConnectionError("Server Disconnected")

    monkeypatch.setattr(hub, "_open", lambda *arguments: Lost())
    documents = read(unit, source, Report(), lambda n_bytes: None)
    assert next(documents).text == "a"
    with pytest.raises(DataError, match=r"cannot be reached: Server Disconnected\..*Check the network"):
        next(documents)


def test_a_changed_folder_is_told_by_its_fingerprint(folder: Path) -> None:
    before = {unit.fingerprint for unit in units(source_of(folder))}
    assert before == {unit.fingerprint for unit in units(source_of(folder))}
    pq.write_table(pa.table({"text": ["new"]}), folder / "train-0.parquet")
    assert before.isdisjoint(unit.fingerprint for unit in units(source_of(folder)))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"text_key": "body"}, "has no column 'body'; it has text, id"),
        ({"dataset_split": "test"}, "Bad split: test"),
        ({"subset": "none"}, "BuilderConfig 'none' not found"),
    ],
)
def test_wrong_settings_are_told_with_what_there_is(folder: Path, settings: dict[str, str], says: str) -> None:
    with pytest.raises(DataError) as caught:
        units(source_of(folder, **settings))
    assert says in caught.value.message
    assert "data." in caught.value.hint


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        units(source_of(tmp_path))


@pytest.mark.parametrize("dataset", ["wikipedia", "github-code", "someone/something", "no-such-name"])
def test_without_a_network_the_way_out_is_told_at_once(dataset: str) -> None:
    began = time.monotonic()
    with pytest.raises(DataError, match=r"cannot be reached.*data\.source=files"):
        units(source_of(dataset))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("name", ["./no/such", "/no/such", "~/no-such", "~no-such-user/x"])
def test_a_missing_folder_is_told_as_one(name: str) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        units(source_of(name))


class Hub:
    """A hub that knows one dataset, or is away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import huggingface_hub

        self.revision, self.away = "abc", False
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: self)
        monkeypatch.setattr(hub, "_open", self.open)

    def dataset_info(self, name: str, timeout: float) -> SimpleNamespace:
        self.answer()
        return SimpleNamespace(sha=self.revision)

    def open(self, dataset: hub.Dataset, split: str, revision: str) -> SimpleNamespace:
        self.answer()
        assert revision == self.revision
        return SimpleNamespace(num_shards=3)

    def answer(self) -> None:
        if self.away:
            raise ConnectionError("no route to the hub")


def test_the_revision_is_pinned_and_remembered_for_times_without_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Hub(monkeypatch)
    source = source_of("fineweb-edu", max_documents=25_000)
    online = units(source)
    assert [(u.id, u.fingerprint, u.limit) for u in online] == [
        ("sample-10BT-train-00000", "abc", 8333),
        ("sample-10BT-train-00001", "abc", 8333),
        ("sample-10BT-train-00002", "abc", 8334),
    ]
    there.away = True
    assert units(source) == online
    with pytest.raises(DataError, match="cannot be reached: no route to the hub"):
        list(read(online[0], source, Report(), lambda n_bytes: None))
    with pytest.raises(DataError, match="cannot be reached"):
        units(source_of("fineweb-edu", subset="sample-100BT"))
    there.away, there.revision = False, "def"
    assert {u.fingerprint for u in units(source)} == {"def"}


def test_short_names() -> None:
    code = hub._dataset(source_of("github-code"))
    assert (code.name, code.text_key, code.files) == ("codeparrot/github-code-clean", "code", "data/train-*.parquet")
    assert hub._dataset(source_of("wikipedia")).subset == "20231101.en"
    assert hub._dataset(source_of("wikipedia", subset="20231101.de", text_key="title")).text_key == "title"
    with pytest.raises(DataError, match="no subsets"):
        hub._dataset(source_of("github-code", subset="Python-all"))
