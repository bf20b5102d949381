"""`mythos scaling`: what it prints, what it refuses, and that its JSON feeds its plan."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mythos.cli import main
from mythos.scaling.law import Law

LAW = Law(E=1.7, A=500.0, B=2000.0, alpha=0.35, beta=0.37)
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "cli.md"


class Mythos:
    """The command in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """(exit code, stdout, stderr)."""
        self.monkeypatch.setattr(sys, "argv", ["mythos", "scaling", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *self.capsys.readouterr()


@pytest.fixture
def mythos(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Mythos:
    monkeypatch.chdir(tmp_path)
    rows = [(n, d) for n in (1e6, 1e7, 1e8, 1e9) for d in (1e8, 1e9, 1e10)]
    for name, chosen in (("good.csv", rows), ("two.csv", rows[:6])):
        lines = [f"{n:g},{d:g},{float(LAW(n, d)):.5f}" for n, d in chosen]
        Path(name).write_text("\n".join(["N,D,loss", *lines]))
    return Mythos(monkeypatch, capsys)


def documented(command: str) -> set[str]:
    section = DOCUMENTATION.read_text().split(f"## mythos {command}\n", 1)[1].split("\n## ", 1)[0]
    return {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}


def test_a_fit_is_told_in_eighty_columns(mythos: Mythos) -> None:
    code, said, _ = mythos("fit", "good.csv", "--samples", "50", "--chart", "fit.svg")
    assert code == 0 and "\x1b" not in said and max(map(len, said.splitlines())) <= 80
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line}
    assert float(rows["α"][1]) == pytest.approx(0.35, abs=0.01) and float(rows["β"][1]) == pytest.approx(0.37, abs=0.01)
    assert said.count("line ") == 12 and "+0.0" in said and "refused" not in said
    assert Path("fit.svg").read_text().startswith("<svg") and "Wrote fit.svg" in said


def test_two_sizes_are_refused_and_the_rest_is_told(mythos: Mythos) -> None:
    code, said, _ = mythos("fit", "two.csv", "--samples", "50")
    assert code == 0 and "α is refused: an exponent needs 3 sizes, the points have 2." in " ".join(said.split())
    assert "parameters on" in said and "FLOPs" in said
    table = said.split("95% interval", 1)[1].split("\n\n")[0]
    values = {line.split()[0]: line.split()[1] for line in table.splitlines() if line.strip()}
    assert values["α"] == values["A"] == values["E"] == "refused" and float(values["β"]) == pytest.approx(
        0.37, abs=0.05
    )


def test_json_has_the_documented_keys_and_feeds_the_plan(mythos: Mythos) -> None:
    code, said, _ = mythos("fit", "good.csv", "--samples", "50", "--json")
    found = json.loads(said)
    assert code == 0 and set(found) == documented("scaling fit")
    assert found["identified"] == dict.fromkeys(("E", "A", "B", "alpha", "beta"), True)
    assert set(found["points"][0]) == {"name", "n", "d", "loss", "fitted", "residual"}
    Path("fit.json").write_text(said)
    code, said, _ = mythos("plan", "--budget", "1e18", "--fit", "fit.json", "--samples", "50", "--json")
    plan = json.loads(said)
    assert code == 0 and set(plan) == documented("scaling plan")
    assert plan["best"]["n"]["value"] == pytest.approx(LAW.optimum(1e18)[0], rel=0.05)
    assert [choice["name"] for choice in plan["presets"]] and plan["beyond"] == 1.0


def test_what_is_refused_is_null_in_json(mythos: Mythos) -> None:
    found = json.loads(mythos("fit", "two.csv", "--samples", "50", "--json")[1])
    assert found["alpha"] is None and found["intervals"]["alpha"] == [None, None] and not found["identified"]["alpha"]
    assert "2" in found["refusals"]["alpha"] and set(found["add"]["alpha"][0]) == {"n", "d"}
    assert found["beta"] == pytest.approx(0.37, abs=0.05)


def test_a_plan_by_published_constants_says_so(mythos: Mythos) -> None:
    code, said, _ = mythos("plan", "--budget", "1e18")
    assert code == 0 and "published constants (besiroglu)" in said and "80m" in said
    assert max(map(len, said.splitlines())) <= 80
    assert "published constants (hoffmann)" in mythos("plan", "--budget", "1e18", "--published", "hoffmann")[1]


def test_a_plan_far_beyond_the_points_is_called_an_extrapolation(mythos: Mythos) -> None:
    said = " ".join(mythos("plan", "--budget", "1e24", "--fit", "good.csv", "--samples", "50")[1].split())
    assert "beyond the points: it is an extrapolation" in said and "Interval of N" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fit", "ghost.csv"], "no file ghost.csv"),
        (["fit", "ghost"], "no run 'ghost'"),
        (["fit", "../up"], "no run at '../up'"),
        (["fit", "bad.csv"], "bad.csv, line 2: d is '\\x1b[31m'"),
        (["fit", "few.csv"], "2 points cannot carry a law"),
        (["fit", "good.csv", "--chart", "x.gif"], "neither .svg nor .png"),
        (["fit", "good.csv", "--samples", "3"], "--samples"),
        (["plan", "--budget", "-1"], "buys nothing"),
        (["plan", "--budget", "1e18", "--fit", "two.csv", "--samples", "50"], "α is not identified"),
        (["plan", "--budget", "1e18", "--fit", "two.csv", "--published", "hoffmann"], "exclude each other"),
        (["plan", "--budget", "1e18", "--presets", "ghost"], "no folder ghost"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_a_paragraph_and_exit_code_2(mythos: Mythos, arguments: list[str], says: str) -> None:
    Path("bad.csv").write_text("N,D,loss\n1,\x1b[31m,2\n")
    Path("few.csv").write_text("N,D,loss\n1e6,1e8,3\n1e7,1e8,2.9\n")
    before = sorted(Path().iterdir())
    code, said, wrong = mythos(*arguments)
    assert code == 2 and says in wrong and not said and "\x1b" not in wrong
    assert sorted(Path().iterdir()) == before
