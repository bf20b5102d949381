"""The web mode: who is let in, and in a real browser launching, a chart and a chat."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mythos.contract.watch import list_runs
from mythos_tui.__main__ import main
from tests.e2e.browser import Browser, chromium

aiohttp = pytest.importorskip("aiohttp")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a workbench over an empty folder; runs that still train at the end are ended."""
    command = [sys.executable, "-m", "mythos_tui", "--web", "--port", "0", "--configs", str(ROOT / "configs")]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    server = subprocess.Popen(
        command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert server.stdout
    yield server.stdout.readline().split()[-1]
    server.send_signal(signal.SIGINT)
    server.wait(20)
    for run in list_runs(tmp_path / "runs"):
        if run.is_live:
            os.kill(run.status["pid"], signal.SIGKILL)


async def test_only_those_with_the_secret_and_no_other_site_are_let_in(served: str):
    plain = served.split("?")[0]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor:
        for path in ("", "ws", "static/js/textual.js", "?secret=guessed"):
            async with visitor.get(plain + path) as answer:
                assert answer.status == 403 and "with its secret" in await answer.text()
        async with visitor.get(served) as answer:
            page = await answer.text()
            assert answer.status == 200 and plain.replace("http", "ws") + "ws" in page and "://fonts." not in page
        for other in ("http://elsewhere.example", plain[:-1].replace("127.0.0.1", "localhost")):
            async with visitor.get(plain + "ws", headers={"Origin": other}) as answer:
                assert answer.status == 403


async def test_a_server_that_dies_takes_its_workbenches_along(served: str):
    """They went on for ever, shown to nobody."""
    plain = served.split("?")[0]
    (server,) = [one for one in psutil.Process().children() if "--web" in one.cmdline()]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor:
        await (await visitor.get(served)).read()
        async with visitor.ws_connect(f"{plain}ws?width=100&height=30", headers={"Origin": plain[:-1]}) as socket:
            await socket.receive(30)
            (workbench,) = server.children()
            server.kill()
    gone, left = psutil.wait_procs([workbench], 20)
    for one in left:
        one.kill()
    assert gone == [workbench]


def test_faults_of_the_web_mode_are_one_paragraph_and_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert main(["--web", "--host", "nowhere.invalid"]) == 2
    assert "--host nowhere.invalid" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    monkeypatch.delitem(sys.modules, "mythos_tui.web.server", raising=False)
    assert main(["--web"]) == 2
    said = capsys.readouterr().err
    assert "pip install 'mythos-tui[web]'" in said and said.count("\n") == 1


def test_an_address_that_others_reach_is_warned_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    from mythos_tui.web import server

    monkeypatch.setattr(server.WorkbenchServer, "serve", lambda self: None)
    assert server.serve([], "0.0.0.0", 0) is None
    assert "can be reached from other machines" in capsys.readouterr().err
    assert server.serve([], "127.0.0.1", 0) is None
    assert not capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(chromium() is None, reason="there is no Chromium here; install it, say apt-get install chromium")
async def test_launch_chart_and_chat_in_a_browser(served: str, tmp_path: Path):
    async with Browser(tmp_path / "profile") as browser:
        await browser.open(served)
        await browser.wait_for("No runs yet", seconds=60)
        await browser.press("2")
        await browser.wait_for("quickstart", "2.02M")
        await browser.press("^l")
        await browser.wait_for("running", seconds=120)
        await browser.wait_for("Loss", re.compile(r"step \d\d+ of"), re.compile("[⠁-⣿]{3}"), seconds=120)
        (run,) = list_runs(tmp_path / "runs")
        assert run.is_live
        drawn = await browser.picture(tmp_path / "train.png")
        await browser.press("w")
        await browser.wait_for("saved step-", seconds=90)
        await browser.press("c")
        await browser.wait_for("2.02M parameters", "· exit", seconds=120)
        await browser.press(*"import os")
        await browser.press("enter")
        await browser.wait_for(re.compile(r"\d+ tokens · [\d.]+ tokens/s"), seconds=180)
        chatted = await browser.picture(tmp_path / "chat.png")
        assert len({drawn, chatted}) == 2 and min(len(drawn), len(chatted)) > 20_000, "the page drew nothing"
