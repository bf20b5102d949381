"""The shipped configurations of data name sources that there are."""

from pathlib import Path

import pytest

from mythos.contract.load import load_config
from mythos.data.sources import hub, units

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("path", sorted((ROOT / "configs/data").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_names_sources_that_exist(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for source in load_config(path).data.sources:
        if source.source == "hf":
            assert source.dataset in hub.PRESETS
            assert source.max_documents, "a first preparation takes minutes, not days"
        else:
            assert units(source)
