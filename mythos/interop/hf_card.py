"""README.md of an exported folder: what the checkpoint itself knows, and how to load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mythos.checkpoint import Checkpoint
from mythos.contract.checkpoints import describe
from mythos.contract.config import DataConfig, DenseConfig, SourceConfig
from mythos.models.build import count_parameters

HEAD = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- mythos
---
"""
LOAD = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(FOLDER{trust})
model = AutoModelForCausalLM.from_pretrained(FOLDER{trust}, dtype="float32")
inputs = tokenizer({prompt}, return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=100{loops})[0]))
```
"""
OPENING = "Every text that it was trained on opens with `{token}`, which the tokenizer does not add by itself.\n"
RECURRENT = """The code of the model lies in this folder, which is why it asks to be trusted: read it first. `num_loops`, {loops}
unless it is given, is how often the looped block runs per token, in `forward` and in `generate`. There is no cache of keys
and values: every token of an answer costs a pass over the whole text. `exit` may be {exits}.
Where it was trained, the model answers with `{own}`{most}.
"""


def model_card(checkpoint: Checkpoint, dtype: str) -> str:
    """The card's text; a card that lies in the checkpoint comes at its end."""
    info = describe(checkpoint.path.absolute())
    rows = "".join(f"| {name} | {_cell(value)} |\n" for name, value in facts(checkpoint, dtype).items())
    settings = yaml.safe_dump(checkpoint.config.model.model_dump(), sort_keys=False)
    parts = [
        f"{HEAD}\n# {info.title if info else checkpoint.path.name}\n",
        f"| | |\n|---|---|\n{rows}",
        f"## Use\n\n{_usage(checkpoint)}",
        f"## Configuration\n\n```yaml\n{settings}```\n",
    ]
    card = checkpoint.path / "README.md"
    if card.is_file():
        parts.append(f"---\n\n{card.read_text(encoding='utf-8')}")
    return "\n".join(parts)


def facts(checkpoint: Checkpoint, dtype: str) -> dict[str, Any]:
    """What is known, by name; what nobody recorded is left out."""
    config, manifest = checkpoint.config, checkpoint.manifest
    model, metrics, tokens = config.model, manifest.get("metrics") or {}, manifest.get("tokens") or 0
    known = {
        "family": model.family,
        "parameters": f"{count_parameters(checkpoint.model):,}",
        "weights": dtype,
        "vocabulary": f"{model.vocab_size:,}",
        "context": f"{model.context:,} tokens",
        "data": describe_data(config.data) if tokens else None,
        "steps of its run": f"{manifest['step']:,}" if manifest.get("step") else None,
        "tokens of its run": f"{tokens:,}" if tokens else None,
        "held-out loss": f"{metrics['loss']:.4f} nats per token" if metrics.get("loss") is not None else None,
        "bits per byte": f"{metrics['bits_per_byte']:.4f}" if metrics.get("bits_per_byte") is not None else None,
        "note": config.note.strip() or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def describe_data(data: DataConfig) -> str:
    """The sources by name, as in `hf fineweb-edu, files notes.txt`."""
    return ", ".join(_describe_source(source) for source in data.sources)


def _describe_source(source: SourceConfig) -> str:
    names = {
        "stdlib": "Python's standard library" + (" with its tests" if source.include_tests else ""),
        "files": "files " + ", ".join(Path(path).name for path in source.paths),
        "hf": f"hf {source.dataset} {source.subset}",
        "synthetic": f"synthetic {source.task or 'tasks'}",
    }
    return names[source.source].strip()


def _usage(checkpoint: Checkpoint) -> str:
    """How to load it, and what is to be known about prompts and loops."""
    model, tokenizer, infer = checkpoint.config.model, checkpoint.tokenizer, checkpoint.config.infer
    added = tokenizer.frame.opening is not None
    prompt = '"Once upon a time"' if added else 'tokenizer.bos_token + "Once upon a time"'
    opening = "" if added else OPENING.format(token=tokenizer.token_text(tokenizer.start))
    if isinstance(model, DenseConfig):
        return "\n".join([LOAD.format(trust="", prompt=prompt, loops=""), opening])
    exits = ["`fixed`", "`state_delta:EPS`", *{"act": ["`act`"], "gate": ["`gate:P`"]}.get(model.halting, [])]
    loops = f", num_loops={infer.loops or model.loops}"
    text = RECURRENT.format(
        loops=model.loops,
        exits=" or ".join(exits),
        own=infer.exit,
        most=f" with at most {infer.loops} loops" if infer.loops else "",
    )
    return "\n".join([LOAD.format(trust=", trust_remote_code=True", prompt=prompt, loops=loops), opening + text])


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
