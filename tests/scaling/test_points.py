"""Points come out of tables and run directories; what is wrong with them is told with file and line, or name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mythos.contract.budget import parameters
from mythos.contract.config import DenseConfig
from mythos.contract.errors import RunError
from mythos.scaling.points import Point, ScalingError, gather, read_csv, read_json_points
from tests.fakes.runs import FakeRun


def table(folder: Path, text: str) -> Path:
    path = folder / "points.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "N,D,loss\n1e6,2e8,3.5\n",
        "\ufeffModel Size,training-tokens,VAL_LOSS,notes\n1_000_000, 200000000 ,3.5,fine\n\n",
        "loss,flops,params\n3.5,1.2e15,1000000\n",
    ],
    ids=["plain", "aliases", "flops"],
)
def test_a_table_is_read_by_its_header(tmp_path: Path, text: str) -> None:
    (point,) = read_csv(table(tmp_path, text))
    assert (point.n, point.d, point.loss, point.name) == (1e6, 2e8, 3.5, "line 2")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("N,D,loss\n1e6,2e8,3.5\n1e6,x,3.4\n", r"points\.csv, line 3: d is 'x'"),
        ("N,D,loss\n1e6,2e8\n", r"line 2: loss is ''"),
        ("N,D,loss\n-1,2e8,3\n", r"line 2: n is '-1'"),
        ("N,D,loss\n1e6,2e8,nan\n", r"line 2: loss is 'nan'"),
        ("N,D,loss\n1e6,inf,3\n", r"line 2: d is 'inf'"),
        ("N,loss\n1,2\n", r"line 1: no column for D.*tokens.*or give the FLOPs"),
        ("D,C\n1,2\n", r"line 1: no column for N, loss"),
        ("N,params,D,loss\n", r"two columns stand for N, 'N' and 'params'"),
        ("", r"no column for N, loss, D"),
    ],
)
def test_a_fault_of_a_table_is_told_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ScalingError, match=says):
        read_csv(table(tmp_path, text))


def test_a_table_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    path = table(tmp_path, "N,D,loss,name\n1e6,2e8,3.5,a\n1e6,2e8,3.5,a\n1e7,2e8,3.1,b\n")
    fit = tmp_path / "fit.json"
    fit.write_text(json.dumps({"points": [{"name": "a", "n": 1e6, "d": 2e8, "loss": 3.5}]}))
    found = gather([str(path), str(path), str(fit)], tmp_path)
    assert [point.name for point in found.points] == ["a", "a", "b"], "a table may repeat itself: it tells of two runs"
    assert [remark.partition(" of ")[0] for remark in found.remarks] == ["3 points", "1 point"]


def test_a_table_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"N,D,loss\n\xff\xfe")
    with pytest.raises(ScalingError, match=r"x\.csv is no CSV table in UTF-8"):
        read_csv(tmp_path / "x.csv")
    with pytest.raises(ScalingError, match="no file"):
        read_csv(tmp_path / "ghost.csv")


def test_points_of_an_earlier_fit(tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    path.write_text(json.dumps({"points": [{"name": "a", "n": 1, "d": 2, "loss": 3, "fitted": 3.1}]}))
    assert read_json_points(path, "total") == [Point("a", 1, 2, 3)]
    for broken in ("{", '{"points": 3}', '{"points": [{"name": "a", "n": 0, "d": 2, "loss": 3}]}'):
        path.write_text(broken)
        with pytest.raises(ScalingError, match="is no fit"):
            read_json_points(path, "total")


def finish(
    run: FakeRun, loss: float, steps: int = 100, corpus: str = "/cache/abc", evaluated_at: int | None = None
) -> None:
    run.event("data", path=corpus, train_tokens=1_000_000)
    run.event("evaluation", step=steps // 2, loss=9.0)
    run.event("evaluation", step=evaluated_at or steps, loss=loss)
    run.status("finished", steps)
    run.close()


def test_runs_give_their_size_tokens_and_final_loss(tmp_path: Path) -> None:
    for name, loss in (("a", 3.5), ("b", 3.25)):
        finish(FakeRun(tmp_path, name, "dense"), loss)
    whole = parameters(DenseConfig())
    for sources in (["a", "b"], [str(tmp_path)], [str(tmp_path), str(tmp_path / "a"), "b"]):
        points = gather(sources, tmp_path).points
        assert sorted(points, key=lambda p: p.name) == [
            Point("a", whole.total, 409_600, 3.5),
            Point("b", whole.total, 409_600, 3.25),
        ]
    assert gather(["a"], tmp_path, "non-embedding").points[0].n == whole.total - whole.embedding


def test_runs_without_a_final_loss_are_named(tmp_path: Path) -> None:
    finish(FakeRun(tmp_path, "good", "dense"), 3.5)
    finish(FakeRun(tmp_path, "early", "dense"), 3.5, evaluated_at=90)
    finish(FakeRun(tmp_path, "nan", "dense"), float("nan"))
    finish(FakeRun(tmp_path, "loops", "recurrent"), 3.5)
    stopped = FakeRun(tmp_path, "stopped", "dense")
    stopped.status("stopped", 50)
    stopped.close()
    found = gather([str(tmp_path)], tmp_path)
    why = dict(found.left_out)
    assert [p.name for p in found.points] == ["good"] and set(why) == {"early", "nan", "loops", "stopped"}
    assert "no evaluation after its last step" in why["early"] and "nan" in why["nan"]
    assert "recurrent" in why["loops"] and "stopped, not finished" in why["stopped"]


def test_losses_of_different_texts_do_not_compare(tmp_path: Path) -> None:
    finish(FakeRun(tmp_path, "a", "dense"), 3.5)
    finish(FakeRun(tmp_path, "b", "dense"), 3.5, corpus="/cache/other")
    with pytest.raises(ScalingError, match="runs a and b have different texts"):
        gather(["a", "b"], tmp_path)


def test_repeated_text_is_remarked(tmp_path: Path) -> None:
    finish(FakeRun(tmp_path, "long", "dense", steps=500), 3.5, steps=500)
    assert "saw its text 2.0 times" in gather(["long"], tmp_path).remarks[0]


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run 'ghost'"):
        gather(["ghost"], tmp_path)


def test_a_fit_of_other_counts_does_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    path.write_text(json.dumps({"points": [{"name": "a", "n": 1, "d": 2, "loss": 3}], "count": "non-embedding"}))
    assert gather([str(path)], tmp_path, "non-embedding").points == [Point("a", 1, 2, 3)]
    with pytest.raises(ScalingError, match=r"is non-embedding, here total\. Add --count non-embedding") as refused:
        gather([str(path)], tmp_path)
    assert refused.value.hint
