"""Real texts that every machine has which runs the tests, and a few written here."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from benchmarks import data as benchmark

SHAKESPEARE = Path(__file__).parents[4] / "shared" / "data" / "tinyshakespeare.txt"

ESSAY = """The harbour town had two bakeries, and everybody who lived there belonged to one of them. Those who bought
their bread on the hill would tell you that the oven by the water was damp. Those who went down to the water said
nothing of the kind about the hill, but they smiled, and it was worse. My grandmother, who had married down from the
one side to the other, kept both addresses in a tin box with the photographs, and on Sundays she sent us out twice.

When the older baker died, his daughter put a notice on the door: the shop would open again after the thaw. Nobody
believed it. She had studied in the city, people said, and would sell the building to a dentist. But in March there
was smoke over the roof, and by the end of the week the queue went round the corner as far as the chapel.
"""

CHINESE = (
    "小镇的港口有两家面包店，镇上的人都各有所属。住在山坡上的人说，海边的炉子太潮湿，烤出来的面包没有香味。"
    "海边的居民从不反驳，只是微微一笑。我的祖母从山上嫁到海边，她把两家店的地址都放在装照片的铁盒里。"
    "每到星期天，她总要让我们跑两趟。老面包师去世以后，他的女儿在门上贴了一张告示：等冰雪融化，店铺会重新开张。"
    "没有人相信她的话。可是到了三月，屋顶上升起了炊烟，周末排队的人一直站到教堂门口。"
)

GERMAN = """Die Hafenstadt hatte zwei Bäckereien, und jeder, der dort wohnte, gehörte zu einer von ihnen. Wer sein Brot
oben am Hang kaufte, erzählte gern, der Ofen am Wasser sei feucht. Wer hinunter ans Wasser ging, sagte nichts
dergleichen über den Hang, aber er lächelte, und das war schlimmer. Meine Großmutter bewahrte beide Adressen in einer
Blechdose bei den Fotos auf, und sonntags schickte sie uns zweimal los. Als der ältere Bäcker starb, hängte seine
Tochter einen Zettel an die Tür. Niemand glaubte daran. Im März aber stand Rauch über dem Dach."""


@cache
def licences() -> list[str]:
    """Licence files of the installed packages, each once."""
    return benchmark.licences() or pytest.skip("no installed package brings its licence")


@cache
def topics() -> list[str]:
    """The language reference that comes with Python: prose with tables and examples."""
    return benchmark.topics()


@cache
def scenes() -> list[str]:
    """Shakespeare in pieces of forty speeches."""
    if not SHAKESPEARE.exists():
        pytest.skip(f"{SHAKESPEARE} is not there")
    speeches = SHAKESPEARE.read_text().split("\n\n")
    return ["\n\n".join(speeches[start : start + 40]) for start in range(0, len(speeches), 40)]


@cache
def stdlib() -> list[str]:
    """Every fifth source file of the standard library that holds anything."""
    return [text for text in benchmark.stdlib()[::5] if text.strip()]
