"""The pictures hold every point, whatever it is called, and are whole or not there."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from mythos.scaling import charts
from mythos.scaling.fit import Fit, fit_points
from mythos.scaling.law import Law
from mythos.scaling.points import Point, ScalingError

LAW = Law(E=1.7, A=500.0, B=2000.0, alpha=0.35, beta=0.37)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def fit() -> Fit:
    pairs = [(n, d) for n in (1e6, 1e7, 1e8) for d in (1e8, 1e9, 1e10)]
    return fit_points([Point(f"<run> & \x1b[31m{i}", n, d, float(LAW(n, d))) for i, (n, d) in enumerate(pairs)], 50)


def test_points_lie_on_the_curve_without_the_other_term(fit: Fit) -> None:
    by_size, by_text = charts.panels(fit)
    assert by_size.y == pytest.approx(LAW.E + LAW.size_term(by_size.x), abs=1e-3)
    assert by_text.y == pytest.approx(LAW.E + LAW.text_term(by_text.x), abs=1e-3)


def test_an_svg_shows_every_point_inside_its_frame(fit: Fit, tmp_path: Path) -> None:
    charts.save(fit, tmp_path / "fit.svg")
    root = ElementTree.parse(tmp_path / "fit.svg").getroot()
    dots = root.findall(f".//{SVG}circle")
    assert len(dots) == 2 * len(fit.points) and len(root.findall(f".//{SVG}polyline")) == 2
    assert all(charts.LEFT < float(dot.get("cx", 0)) < charts.WIDTH - charts.RIGHT for dot in dots)
    assert all(charts.TOP < float(dot.get("cy", 0)) < charts.HEIGHT - charts.BOTTOM for dot in dots)
    assert (dots[0].findtext(f"{SVG}title") or "").startswith("<run> & �[31m0: ")
    assert [path.name for path in tmp_path.iterdir()] == ["fit.svg"]


def test_a_larger_loss_is_higher_up(fit: Fit) -> None:
    root = ElementTree.fromstring(charts.svg(charts.panels(fit)[:1]))
    heights = [float(dot.get("cy", 0)) for dot in root.findall(f".//{SVG}circle")]
    assert heights == pytest.approx(sorted(heights), abs=0.2) and heights[-1] > heights[0] + 100


def test_a_png_is_made_where_the_library_is(fit: Fit, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="the extra `charts` is not installed")
    charts.save(fit, tmp_path / "fit.png")
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["fit.png"]


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ScalingError, match=r"neither \.svg nor \.png"):
        charts.check(tmp_path / "fit.pdf")
    with pytest.raises(ScalingError, match="no folder"):
        charts.check(tmp_path / "ghost" / "fit.svg")
    monkeypatch.setattr(charts, "find_spec", lambda name: None)
    with pytest.raises(ScalingError, match=r"resvg-py.*\[charts\]"):
        charts.check(tmp_path / "fit.png")


def test_the_terminal_gets_eighty_columns(fit: Fit) -> None:
    for panel in charts.panels(fit):
        drawn = charts.text(panel, colours=False)
        assert "\x1b" not in drawn and max(map(len, drawn.splitlines())) <= 80
        assert drawn.count("o") > 3 and "1M" in drawn + charts.text(charts.panels(fit)[0], colours=False)
    assert np.isfinite(fit.rms)
