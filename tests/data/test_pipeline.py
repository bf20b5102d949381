"""Mixtures, duplicates, weights, reused tokenizers, bad input: what becomes of every document, and what is told of it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mythos.contract.config import DataConfig
from mythos.contract.errors import ConfigError, DataError
from mythos.data.pipeline import plan as plan_module
from mythos.data.prepare import find, prepare
from mythos.data.shards import Corpus
from mythos.data.split import is_held_out
from mythos.data.tokenizer import Tokenizer
from tests.data._corpora import config, contents, files, prose, texts_of, write_texts
from tests.data._foreign import llama2


def documents_of(corpus: Corpus) -> dict[str, str]:
    return dict(texts_of(corpus, "train") + texts_of(corpus, "held_out"))


def dropped(corpus: Corpus) -> dict[tuple[str, str], int]:
    return {(drop["step"], drop["rule"]): drop["documents"] for drop in corpus.meta["report"]["dropped"]}


# Mixtures


def test_two_sources_with_equal_names_stay_apart(tmp_path: Path) -> None:
    one, two = write_texts(tmp_path / "one", 30), write_texts(tmp_path / "two", 30, first=0)
    for path in two.iterdir():
        path.write_text("The other source's " + path.read_text())
    corpus = prepare(config(tmp_path / "cache", files(one), files(two)), 300)
    found = documents_of(corpus)
    assert len(found) == 60
    assert found["files:007.txt"] == (one / "007.txt").read_text()
    assert found["files~2:007.txt"] == (two / "007.txt").read_text()
    for name in ("train", "held_out"):
        split = corpus.split(name)
        assert [int(i.startswith("files~2")) for i in split.identities] == split.documents[:, 3].tolist()
        assert sum(source[name]["tokens"] for source in corpus.meta["sources"]) == split.n_tokens


def test_a_mixture_moves_no_document_to_the_other_split(tmp_path: Path) -> None:
    one, two = write_texts(tmp_path / "one", 30), write_texts(tmp_path / "two", 30, first=30)
    alone = prepare(config(tmp_path / "cache", files(one)), 300)
    mixed = prepare(config(tmp_path / "cache", files(two), files(one)), 300)
    held = {name.partition(":")[2] for name in mixed.split("held_out").identities}
    assert set(alone.split("held_out").identities) == {name for name in held if name < "030"}


@pytest.mark.parametrize("weight", [1.0, 2.5, 0.5])
def test_a_file_of_two_sources_is_not_trained_on_where_it_is_held_out(tmp_path: Path, weight: float) -> None:
    """It has another identity in each of them, so that either may be held out."""
    write_texts(tmp_path / "all/sub", 60)
    write_texts(tmp_path / "all", 20, first=60)
    sources = files(tmp_path / "all"), files(tmp_path / "all/sub", weight=weight)
    corpus = prepare(config(tmp_path / "cache", *sources), 300)
    train, held = texts_of(corpus, "train"), texts_of(corpus, "held_out")
    assert len({text for _, text in train + held}) == 80
    assert not {text for _, text in train} & {text for _, text in held}
    names = [f"files:sub/{i:03d}.txt" for i in range(60)] + [f"files:{i:03d}.txt" for i in range(60, 80)]
    names += [f"files~2:{i:03d}.txt" for i in range(60)]
    assert sorted(name for name, _ in held) == sorted(n for n in names if is_held_out(n.partition(":")[2], 20.0))
    twins = dropped(corpus)["mixture", "held-out text"]
    lost = dropped(corpus).get(("mixture", "weight"), 0)
    assert 0 < twins == len(names) - len(held) - lost - len({name for name, _ in train})


def test_a_single_source_keeps_its_copies_of_a_text(tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "a", 30)
    for path in list(folder.iterdir()):
        path.with_name(f"again-{path.name}").write_text(path.read_text())
    corpus = prepare(config(tmp_path / "cache", files(folder)), 300)
    assert len(documents_of(corpus)) == 60 and not dropped(corpus)


@pytest.mark.parametrize("count", [1, 2])
def test_a_mixture_whose_every_text_is_held_out_too_has_both_splits(tmp_path: Path, count: int) -> None:
    """One text is then trained on and held out nowhere; a single one is cut in two."""
    names = [f"{i}.txt" for i in range(60)]
    for folder, held in (("one", False), ("two", True)):
        (tmp_path / folder).mkdir()
        for i, name in enumerate([name for name in names if is_held_out(name, 20.0) == held][:count]):
            (tmp_path / folder / name).write_text(prose(i))
    corpus = prepare(config(tmp_path / "cache", files(tmp_path / "one"), files(tmp_path / "two")), 300)
    train, held_out = ({text for _, text in texts_of(corpus, name)} for name in ("train", "held_out"))
    if count == 1:
        assert "".join([*train, *held_out]) == prose(0)
        assert corpus.split("held_out").identities[0].endswith("#trailing")
    else:
        assert (train, held_out) == ({prose(0)}, {prose(1)})
        assert "every training text was held out as well; files~2:" in corpus.meta["report"]["notes"][-1]


def test_weights_say_how_often_training_documents_appear(tmp_path: Path) -> None:
    folders = [write_texts(tmp_path / name, 40, first=100 * i) for i, name in enumerate("abc")]
    weights = (1.0, 2.5, 0.5)
    sources = [files(folder, weight=weight) for folder, weight in zip(folders, weights, strict=True)]
    corpus = prepare(config(tmp_path / "cache", *sources), 300)
    times, held = Counter(corpus.split("train").identities), corpus.split("held_out").identities
    assert not times.keys() & set(held) and len(set(held)) == len(held)
    for i, allowed in enumerate(({1}, {2, 3}, {0, 1})):
        names = [f"files{f'~{i + 1}' if i else ''}:{100 * i + n:03d}.txt" for n in range(40)]
        training = [name for name in names if name not in held]
        assert {times[name] for name in training} == allowed
        assert abs(sum(times[name] for name in training) / len(training) - weights[i]) < 0.3
        assert sum(not is_held_out(name.partition(":")[2], 20.0) for name in names) == len(training)
    assert dropped(corpus) == {("mixture", "weight"): sum(times[name] == 0 for name in training)}
    order = corpus.split("train").identities
    again = [i for i, name in enumerate(order) if name in order[:i]]
    assert again[0] == len(times) and not set(again) & set(range(len(times)))  # copies follow after all first ones


def test_weights_leave_something_to_train_on(tmp_path: Path) -> None:
    corpus = prepare(config(tmp_path / "cache", files(write_texts(tmp_path / "a", 10), weight=1e-9)), 300)
    assert corpus.split("train").n_documents == 1
    assert "weights left no training document" in corpus.meta["report"]["notes"][0]


@pytest.mark.parametrize("count", [2, 3, 20])
def test_there_is_always_something_held_out(tmp_path: Path, count: int) -> None:
    corpus = prepare(config(tmp_path / "cache", files(write_texts(tmp_path / "a", count)), held_out_percent=0.001), 300)
    assert corpus.split("held_out").n_documents == 1
    assert corpus.split("train").n_documents == count - 1


# Duplicates


@pytest.mark.parametrize(("kind", "gone"), [("none", 0), ("exact", 2), ("minhash", 3)])
def test_planted_duplicates_are_gone_from_the_shards(tmp_path: Path, kind: str, gone: int) -> None:
    folder = write_texts(tmp_path / "a", 30)
    original = prose(500, 200)
    nearly = "rock " + original.partition(" ")[2]
    planted = {"p0": original, "p1": original, "p2": original.replace(" ", "\n"), "p3": nearly}
    for name, text in planted.items():
        (folder / f"{name}.txt").write_text(text)
    corpus = prepare(config(tmp_path / "cache", files(folder), dedup=kind), 300)
    left = documents_of(corpus)
    assert len(left) == 34 - gone and left["p0.txt"] == original
    assert dropped(corpus) == ({("duplicates", kind): gone} if gone else {})
    if gone:
        samples = corpus.meta["report"]["dropped"][0]["samples"]
        assert {"id": "p1.txt", "reason": "like p0.txt"} in samples


def test_duplicates_are_found_across_sources_and_the_first_one_stays(tmp_path: Path) -> None:
    one = write_texts(tmp_path / "one", 20)
    two = write_texts(tmp_path / "two", 20)
    (two / "new.txt").write_text(prose(900))
    corpus = prepare(config(tmp_path / "cache", files(one), files(two), dedup="exact"), 300)
    assert documents_of(corpus).keys() == {f"files:{i:03d}.txt" for i in range(20)} | {"files~2:new.txt"}
    assert corpus.meta["sources"][1]["train"]["documents"] + corpus.meta["sources"][1]["held_out"]["documents"] == 1


def test_a_corpus_of_one_text_many_times_is_cut_in_two(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.txt").write_text("".join(f"Line {n}.\n" for n in range(50)))
    corpus = prepare(config(tmp_path / "cache", files(folder, weight=2), dedup="exact"), 300)
    assert corpus.split("train").identities == ["0.txt#leading"] * 2
    assert corpus.split("held_out").identities == ["0.txt#trailing"]


# Cleaning


def test_what_cleaning_dropped_and_changed_is_told_and_not_trained_on(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    for i in range(20):
        words = iter(prose(i + 1, 160).split())
        lines = [f"The {a} and a {b} of {c} have {d}." for a, b, c, d in zip(words, words, words, words, strict=True)]
        (folder / f"{i:02d}.txt").write_text("\n\n".join(lines))
    (folder / "list.txt").write_text("- one\n" * 3)
    (folder / "moji.txt").write_text(
        (folder / "03.txt").read_text() + " The cafÃ© is open, and it isnâ€™t closed to you."
    )
    corpus = prepare(config(tmp_path / "cache", files(folder, quality="prose"), repair=True), 300)
    report = corpus.meta["report"]
    assert report["documents"] == 22 and report["changed"]["repair"] == 1
    drops = [drop for drop in report["dropped"] if drop["step"] == "quality"]
    assert any(sample["id"] == "list.txt" and sample["reason"] for drop in drops for sample in drop["samples"])
    assert sum(drop["documents"] for drop in drops) + report["kept"] == 22
    left = documents_of(corpus)
    assert left.keys() == {f"{i:02d}.txt" for i in range(20)} | {"moji.txt"}
    assert left["moji.txt"].endswith("The café is open, and it isn’t closed to you.")


def test_a_corpus_that_cleaning_empties_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("short\n")
    with pytest.raises(DataError, match=r"passed cleaning: 1 file, 1 document; dropped 1 .*\(a.txt\)"):
        prepare(config(tmp_path / "cache", files(tmp_path / "a.txt", quality="prose")), 300)
    assert [path.suffix for path in (tmp_path / "cache/corpora").iterdir()] == [".lock"]


def test_an_unknown_language_is_named_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'klingon'"):
        prepare(config(tmp_path / "cache", files(write_texts(tmp_path / "a", 3)), languages=("klingon",)), 300)


# Whatever is in the way


def bad_files(folder: Path) -> dict[str, str]:
    """Files that can be read in part or not at all; returns the texts that must survive."""
    write_texts(folder, 10)
    (folder / "binary.txt").write_bytes(b"ab\0cd" * 100)
    (folder / "latin.txt").write_bytes(b"caf\xe9 " * 10)
    (folder / "empty.txt").write_text("")
    lines = [json.dumps({"text": f"line {i}"}) for i in range(5)]
    lines[2] = '{"text": "broken'
    (folder / "lines.jsonl").write_text("\n".join(lines))
    (folder / "other.jsonl").write_text('{"body": "x"}\n')
    (folder / "long.jsonl").write_text(json.dumps({"text": "y" * 5000}) + "\n" + json.dumps({"text": "after"}) + "\n")
    (folder / "table.csv").write_text("text,n\nfirst row,1\nsecond row,2\n")
    (folder / "columns.csv").write_text("body,n\nfirst row,1\n")
    whole = gzip.compress(b"packed text\n" * 50)
    (folder / "packed.txt.gz").write_bytes(whole)
    (folder / "torn.txt.gz").write_bytes(whole[:-12])
    (folder / "broken.parquet").write_bytes(b"PAR1 and no more")
    kept = {f"{i:03d}.txt": prose(i) for i in range(10)}
    kept |= {f"lines.jsonl#{i + 1}": f"line {i}" for i in (0, 1, 3, 4)}
    return kept | {"long.jsonl#2": "after", "table.csv#1": "first row", "table.csv#2": "second row"}


def test_bad_input_is_counted_with_file_and_line_and_costs_no_other_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mythos.data.sources.streams.LONGEST", 2000)
    expected = bad_files(tmp_path / "a")
    corpus = prepare(config(tmp_path / "cache", files(tmp_path / "a")), 300)
    found = documents_of(corpus)
    assert {name: found[name] for name in expected if name in found} == expected
    assert found["packed.txt.gz"] == "packed text\n" * 50
    assert len(found) == len(expected) + 1
    told = [sample["id"] for drop in corpus.meta["report"]["dropped"] for sample in drop["samples"]]
    for name in ("binary.txt", "latin.txt", "empty.txt", "lines.jsonl:3", "other.jsonl:1", "long.jsonl:1"):
        assert any(where.endswith(name) for where in told), (name, told)
    for name in ("columns.csv", "torn.txt.gz", "broken.parquet"):
        assert any(name in where for where in told), (name, told)
    assert corpus.meta["report"]["kept"] == len(found)


# Tokenizers


def test_every_document_opens_with_one_end_of_text(tmp_path: Path) -> None:
    folder = write_texts(tmp_path / "a", 40)
    (folder / "odd.txt").write_text("The text <|endoftext|> is not the token.\n")
    corpus = prepare(config(tmp_path / "cache", files(folder)), 300)
    total = 0
    for name in ("train", "held_out"):
        split = corpus.split(name)
        tokens = split.tokens.slice(0, split.n_tokens)
        assert np.flatnonzero(tokens == 0).tolist() == split.documents[:, 0].tolist()
        total += int((tokens == 0).sum())
    assert total == 41


@pytest.mark.parametrize("form", ["file", "folder"])
def test_a_tokenizer_is_reused(tmp_path: Path, form: str) -> None:
    folder = write_texts(tmp_path / "a", 20)
    first = prepare(config(tmp_path / "cache", files(folder)), 400)
    (folder / "more.txt").write_text(prose(77))
    name = first.tokenizer_path if form == "file" else first.path
    data = config(tmp_path / "cache", files(folder), tokenizer=str(name))
    corpus = prepare(data, 5000)
    assert corpus.tokenizer_path.read_bytes() == first.tokenizer_path.read_bytes()
    assert corpus.meta["vocab_size"] <= 400
    assert documents_of(corpus)["more.txt"] == prose(77)
    again = find(data, 6000)
    assert again is not None and again.path == corpus.path  # the model's vocabulary may be larger, by any amount
    with pytest.raises(ConfigError, match=r"tokens, the model's vocabulary only 270"):
        prepare(data, 270)


def test_a_tokenizer_that_is_nowhere_is_named(tmp_path: Path) -> None:
    data = config(tmp_path / "cache", files(write_texts(tmp_path / "a", 3)), tokenizer="./no/tokenizer.json")
    with pytest.raises(DataError, match=r"no tokenizer at \./no/tokenizer\.json"):
        prepare(data, 300)


def test_a_foreign_tokenizer_opens_and_closes_documents_in_its_own_way(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    llama2().save(str(path))
    corpus = prepare(config(tmp_path / "cache", files(write_texts(tmp_path / "a", 9)), tokenizer=str(path)), 5000)
    tokenizer = Tokenizer.load(path)
    assert tokenizer.start != tokenizer.eot
    tokens = corpus.split("train").document(0)
    assert tokens[0] == tokenizer.start and tokens[-1] == tokenizer.eot


# Independence


def test_the_number_of_processes_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "BLOCK_BYTES", 2048)
    folder = write_texts(tmp_path / "a", 30)
    bad_files(folder / "bad")
    found = []
    for workers in (1, 2):
        data = config(
            tmp_path / f"cache{workers}", files(folder), files(folder / "bad"), workers=workers, dedup="exact"
        )
        found.append(contents(prepare(data, 300).path))
    assert found[0] == found[1]
    assert json.loads(found[0]["meta.json"])["splits"]["train"]["documents"] > 20


def test_no_source_but_the_hub_needs_a_socket(tmp_path: Path) -> None:
    """Sockets fail in this process and in those that it starts, which find sitecustomize on their path."""
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\ndef refuse(*a, **k): raise OSError('no network here')\nsocket.socket.__init__ = refuse\n"
    )
    data = [files(write_texts(tmp_path / "a", 20)), {"source": "synthetic", "max_documents": 40}]
    told = config(tmp_path / "cache", *data, workers=2).model_dump_json()
    code = (
        "import socket\ntry: socket.socket()\nexcept OSError: print('blocked')\n"
        "from mythos.contract.config import DataConfig\nfrom mythos.data.prepare import prepare\n"
        f"print(prepare(DataConfig.model_validate_json({told!r}), 300).split('train').n_documents)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=100)
    assert done.stdout.startswith("blocked\n"), done.stderr
    assert 40 < int(done.stdout.split()[1]) < 60


def test_old_work_that_nobody_goes_on_with_is_removed(tmp_path: Path) -> None:
    corpora = tmp_path / "cache/corpora"
    for name in ("old", "young", "held"):
        (corpora / f"{name}.work/texts").mkdir(parents=True)
    week_ago = time.time() - 8 * 24 * 3600
    for name in ("old", "held"):
        for path in (corpora / f"{name}.work/texts", corpora / f"{name}.work"):
            os.utime(path, (week_ago, week_ago))
    import fcntl

    with (corpora / "held.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        prepare(config(tmp_path / "cache", files(write_texts(tmp_path / "a", 3))), 300)
    assert sorted(path.name for path in corpora.glob("*.work")) == ["held.work", "young.work"]


def test_the_key_depends_on_what_the_result_depends_on(tmp_path: Path) -> None:
    folder, cache = write_texts(tmp_path / "a", 3), tmp_path / "cache"

    def key(vocab_size: int = 300, **settings: Any) -> str:
        return plan_module.plan(config(cache, files(folder, **settings)), vocab_size).key

    assert key() == key(workers=3) == key(cache_dir=str(tmp_path / "b"))
    others = [key(301), key(dedup="exact"), key(weight=2.0), key(quality="prose"), key(repair=True), key(text_key="b")]
    assert len({key(), *others}) == 7


def test_settings_beside_a_mixture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="source has no effect beside a mixture"):
        DataConfig(source="files", paths=("x",), mixture=({"source": "stdlib"},))
