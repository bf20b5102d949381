"""One registry of actions: key bindings, footer, help and command palette all follow from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from textual.binding import Binding, BindingType


@dataclass(frozen=True)
class Action:
    """Something a person can do. `show` puts it into the footer; `help` is the sentence of help and palette."""

    scope: str
    key: str
    name: str
    title: str
    help: str
    show: bool = True
    key_display: str | None = None
    priority: bool = False

    @property
    def id(self) -> str:
        """Its name in settings and tests."""
        return f"{self.scope}.{self.name}"


SCREENS = (
    ("1", "train", "Train", "Runs: states, live charts, log"),
    ("2", "configure", "Configure", "Choose a preset, change it, launch a run"),
    ("3", "chat", "Chat", "Generate text with a checkpoint"),
    ("4", "inspect", "Inspect", "See how deep each token thought and what attention did"),
)
"""Key, mode, title and help of every screen."""

OF_SCREENS = {"checkpoint": ("chat", "inspect")}
"""Screens that a scope belongs to, where it is not the scope's own name. Those of `app` work everywhere."""

CHAT = (
    Action("chat", "minus", "loops(-1)", "Loops", "Fewer loops at most for each token", True, "- +"),
    Action("chat", "plus,equals_sign", "loops(1)", "More loops", "More loops at most for each token", False, "+"),
    Action("chat", "x", "rule", "Rule", "Next rule by which a token stops earlier"),
    Action("chat", "less_than_sign", "threshold(-1)", "Threshold", "Lower the threshold of the rule", True, "< >"),
    Action("chat", "greater_than_sign", "threshold(1)", "Higher", "Raise the threshold of the rule", False, ">"),
    Action(
        "chat", "b", "beside", "Two", "Two answers side by side, at other depths or by other checkpoints; or one again"
    ),
    Action("chat", "o", "other_side", "Side", "Of two answers side by side, the one that keys act on"),
    Action("chat", "e", "edit", "Edit", "Edit a message and send it again; the conversation as it was is kept"),
    Action("chat", "c", "conversations", "Conversations", "Search, open and delete conversations"),
    Action("chat", "t", "tint", "Tint", "Tint tokens by loops, by probability or by entropy"),
    Action("chat", "m", "export('md')", "Markdown", "Write the conversation as Markdown into this folder", False),
    Action("chat", "j", "export('json')", "JSON", "Write the conversation as JSON into this folder", False),
)
"""What single keys do in Chat; with alt they do it while a text is written."""

ACTIONS: tuple[Action, ...] = (
    *(Action("app", key, f"open('{mode}')", title, help, False) for key, mode, title, help in SCREENS),
    # The same from inside a text field, where a digit is typed.
    *(
        Action("app", f"alt+{key}", f"open('{mode}')", title, help, False, priority=True)
        for key, mode, title, help in SCREENS
    ),
    Action("app", "question_mark", "help", "Help", "Keys and help for what has the focus", True, "?"),
    Action("app", "f1", "help", "Help", "", True, "f1"),
    Action("app", "f2", "messages", "Messages", "What was said lately, whole, to read and copy", False, "f2"),
    Action("app", "f3", "tour", "Tour", "A short tour, from its beginning; the same key ends it", False, "f3"),
    Action("app", "ctrl+p", "command_palette", "Palette", "Search everything that can be done here", True, "^p"),
    Action("app", "ctrl+t", "change_theme", "Theme", "Choose colours; the choice is remembered", False, "^t"),
    Action("app", "ctrl+s", "save_picture", "Picture", "Save the screen as SVG into this folder", False, "^s"),
    Action("app", "q", "leave", "Quit", "Leave, from a text field with ^q; training goes on without the workbench"),
    Action("app", "ctrl+q", "leave", "Quit", "", True, "^q", priority=True),
    Action("train", "p", "pause", "Pause", "Pause the run, or let a paused run go on"),
    Action("train", "w", "send('save')", "Save", "Write a checkpoint now"),
    Action("train", "T", "stop", "Stop", "Save a checkpoint and end the run; asks first"),
    Action(
        "train", "R", "resume_run", "Go on", "Start a stopped, failed or crashed run again from its latest checkpoint"
    ),
    Action("train", "c", "chat", "Chat", "Chat with the run's latest checkpoint"),
    Action("train", "i", "inspect", "Inspect", "Look inside the run's latest checkpoint"),
    Action("train", "n", "page", "Charts", "Next page of charts"),
    Action("train", "l,right_square_bracket", "toggle_log", "Log", "Show or hide the log", True, "l"),
    Action("train", "slash", "filter", "Filter", "Show only runs whose name or state holds a text", True, "/"),
    Action("train", "left_square_bracket", "toggle_list", "Run list", "Show or hide the list of runs", False, "["),
    Action("train", "x", "x_axis", "x axis", "Charts over steps, tokens or minutes", False),
    Action("train", "enter", "zoom", "Full screen", "Show the focused chart on the full screen, or go back", False),
    Action("train", "K", "kill", "Kill", "End the worker at once, without a checkpoint; asks first", False),
    Action("train", "e", "error", "Error", "Show the whole error of a failed run, to read and copy", False),
    Action(
        "configure", "ctrl+l", "launch", "Launch", "Start training with this configuration", True, "^l", priority=True
    ),
    Action("configure", "pagedown", "section(1)", "Section", "Next section of the configuration", True, "pgdn"),
    Action("configure", "pageup", "section(-1)", "Previous section", "Section before", False, "pgup"),
    Action("configure", "down", "step(1)", "Next field", "Down to the next field", False),
    Action("configure", "up", "step(-1)", "Previous field", "Up to the previous field", False),
    Action("configure", "ctrl+r", "reset", "Default", "Put the focused setting back to its default", True, "^r"),
    Action(
        "configure", "escape", "presets", "Presets", "Back to the list of presets; single keys work there", True, "esc"
    ),
    Action("configure", "ctrl+z", "undo", "Undo", "Take the last change back", True, "^z", priority=True),
    Action("configure", "ctrl+y", "redo", "Redo", "Make the change again that was undone", False, "^y", priority=True),
    Action("configure", "f2", "save_yaml", "Save", "Save as YAML; in the folder of configurations it becomes a preset"),
    Action("configure", "f3", "differences", "Changes", "What is not as in the preset"),
    Action("configure", "f4", "diagram", "Diagram", "The architecture as a drawing, or the budget again"),
    Action("configure", "f5", "editor", "Editor", "Edit everything as YAML in $VISUAL or $EDITOR"),
    Action("configure", "left_square_bracket", "toggle_presets", "Preset list", "Show or hide the presets", False, "["),
    Action("configure", "right_square_bracket", "toggle_budget", "Budget", "Show or hide the budget", False, "]"),
    Action("checkpoint", "ctrl+o", "choose_checkpoint", "Checkpoint", "Choose another checkpoint"),
    Action("checkpoint", "right_square_bracket", "toggle_panel", "Panel", "Show or hide the side panel", True, "]"),
    Action("chat", "escape", "stop", "Stop", "Stop the generation", True, "esc"),
    Action("chat", "escape", "close_column", "Close", "Take the cursor away, and the column behind it", True, "esc"),
    Action(
        "chat", "escape", "leave_field", "Single keys", "Leave the text field, so that single keys work", True, "esc"
    ),
    *CHAT,
    # The same from inside the text field, where a letter is typed.
    *(
        replace(
            one,
            key=",".join(f"alt+{key}" for key in one.key.split(",")),
            key_display=f"alt {one.key_display or one.key}",
        )
        for one in CHAT
    ),
    Action("chat", "ctrl+r", "regenerate", "Again", "Answer the last message again, with the settings of now"),
    Action("chat", "ctrl+n", "new", "New", "Begin a new conversation; this one is kept", True, "^n"),
    Action(
        "inspect", "escape", "leave_field", "Views", "Leave the text field for the picture, so that single keys work"
    ),
    Action("inspect", "h", "view('halting')", "Halting", "Exit signal of every token at every loop", False),
    Action(
        "inspect",
        "a",
        "view('attention')",
        "Attention",
        "Attention entropy: tokens by heads, at one layer or loop",
        False,
    ),
    Action(
        "inspect",
        "d",
        "view('depth')",
        "By depth",
        "Attention entropy: layers and loops by heads, for one token",
        False,
    ),
    Action("inspect", "l", "view('loss')", "Loss", "Loss of every token", False),
    Action(
        "inspect", "r", "relative", "Nats/share", "Attention entropy in nats, or as a share of its maximum log(t+1)"
    ),
    Action("inspect", "comma", "step(-1)", "Layer/token", "Layer or loop before (by depth: token before)", True, ", ."),
    Action("inspect", "full_stop", "step(1)", "Forth", "Layer or loop after (by depth: token after)", False, "."),
    Action("inspect", "e", "edit", "Text", "Edit the text"),
    Action("inspect", "g", "from_chat", "From Chat", "Take the last text of Chat"),
)


def bindings(scope: str, actions: Iterable[Action] = ACTIONS) -> list[BindingType]:
    """Textual bindings of all actions of a scope."""
    return [
        Binding(
            one.key,
            one.name,
            one.title,
            show=one.show,
            key_display=one.key_display,
            tooltip=one.help,
            priority=one.priority,
            id=one.id,
        )
        for one in actions
        if one.scope == scope
    ]


def offered(screen: Any) -> list[tuple[str, str, str, str, Any]]:
    """(key, title, help, action, node) of everything that can be done on a screen now, nearest to the focus first."""
    found = []
    seen = set()
    for active in screen.active_bindings.values():
        binding = active.binding
        if (
            binding.system
            or not active.enabled
            or not (binding.description and binding.tooltip)
            or binding.action in seen
        ):
            continue
        seen.add(binding.action)
        key = screen.app.get_key_display(binding)
        found.append((key, binding.description, binding.tooltip, binding.action, active.node))
    return found
