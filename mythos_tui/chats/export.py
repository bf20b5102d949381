"""A conversation as Markdown for people and as JSON for programs."""

from __future__ import annotations

import re
import time
from pathlib import Path

from mythos.contract.words import counted
from mythos_tui.chats.conversation import Answer, Conversation
from mythos_tui.settings_file import write_atomically
from mythos_tui.widgets.text import visible

REASONS = {
    "length": "max tokens reached",
    "end": "the model ended the text",
    "stop": "a text that ends answers came",
    "cancelled": "stopped by you",
    "context": "the context is full",
    "failed": "broken off",
}


def markdown(conversation: Conversation) -> str:
    """Messages and answers as they read, each answer with its checkpoint, settings and numbers."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(conversation.created))
    lines = [f"# {visible(conversation.title)[:80]}", "", f"{when} · template `{visible(conversation.template)}`"]
    if conversation.system:
        lines += ["", "System:", "", fenced(conversation.system)]
    for number, turn in enumerate(conversation.turns, 1):
        lines += ["", f"## {number}", "", fenced(turn.text)]
        for answer in turn.answers:
            lines += ["", f"**{visible(answer.title)}** · {' · '.join(settings(answer))}", ""]
            lines += [fenced(answer.text), "", " · ".join(statistics(answer))]
    return "\n".join(lines) + "\n"


def fenced(text: str) -> str:
    """A code block around a text, whatever backticks are in it; control characters are made visible."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{visible(text, keep=chr(10) + chr(9))}\n{fence}"


def settings(answer: Answer) -> list[str]:
    """The settings that were sent, each as a word or two."""
    return [f"{name} {visible(str(value))}" for name, value in answer.settings.items() if value not in ("", None)]


def statistics(answer: Answer) -> list[str]:
    """Facts about an answer that has ended: length, speed, depth, what depth saved, and why it ended."""
    parts = [counted(len(answer.tokens), "token")]
    if answer.tokens_per_s:
        parts.append(f"{answer.tokens_per_s:.1f} tokens/s")
    if answer.limit > 1 and answer.tokens and answer.mean_loops:
        parts.append(f"loops {answer.mean_loops:.2f} of {answer.limit}")
        if answer.saved is not None:
            parts.append(computation(answer.saved))
    if answer.reason:
        parts.append(REASONS.get(answer.reason, visible(answer.reason)))
    if "seed" in answer.settings:
        parts.append(f"seed {answer.settings['seed']}")
    return parts


def computation(saved: float) -> str:
    """What stopping early did to the FLOPs, the exit rule's own included."""
    if abs(saved) < 0.005:
        return "FLOPs as at full depth"
    return f"{saved:.0%} of FLOPs saved" if saved > 0 else f"{-saved:.0%} more FLOPs: the rule costs more than it saves"


def export(conversation: Conversation, kind: str, folder: Path) -> Path:
    """Write it as `md` or `json` into a folder. Raises OSError."""
    path = folder / f"chat-{conversation.id}.{kind}"
    text = markdown(conversation) if kind == "md" else conversation.model_dump_json(indent=1) + "\n"
    write_atomically(path, text)
    return path
