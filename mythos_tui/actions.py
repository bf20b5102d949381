"""One registry of actions: key bindings, footer, help and command palette all follow from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from textual.binding import Binding, BindingType

from mythos_tui.actions_on_charts import OF_CHARTS


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
    ("5", "compare", "Compare", "Lay runs over each other: curves, values, settings that differ"),
)
"""Key, mode, title and help of every screen."""

OF_SCREENS = {
    "checkpoint": ("chat", "inspect"),
    "runs": ("train",),
    "log": ("train",),
    "alerts": ("train",),
    "table": ("compare",),
    "view": ("train", "compare"),
    "chart": ("train", "compare"),
    "map": ("train",),
    "heatmap": ("inspect",),
}
"""Screens that a scope belongs to, where it is not the scope's own name. Those of `app` work everywhere."""
ON_CHARTS = ("view", "chart", "map", "heatmap")
"""Scopes of moving about in a picture, which nobody wants to do from another screen."""

CHAT = (
    Action("chat", "minus", "loops(-1)", "Loops", "Fewer loops at most for each token", True, "- +"),
    Action("chat", "plus,equals_sign", "loops(1)", "More loops", "More loops at most for each token", False, "+"),
    Action("chat", "x", "rule", "Rule", "Next rule by which a token stops earlier"),
    Action("chat", "less_than_sign", "threshold(-1)", "Threshold", "Lower the threshold of the rule", True, "< >"),
    Action("chat", "greater_than_sign", "threshold(1)", "Higher", "Raise the threshold of the rule", False, ">"),
    Action(
        "chat", "s", "beside", "Two", "Two answers side by side, at other depths or by other checkpoints; or one again"
    ),
    Action("chat", "o", "other_side", "Side", "Of two answers side by side, the one that keys act on"),
    Action("chat", "e", "edit", "Edit", "Edit a message and send it again; the conversation as it was is kept"),
    Action("chat", "c", "conversations", "Conversations", "Search, open and delete conversations"),
    Action("chat", "t", "tint", "Tint", "Tint tokens by loops, by probability or by entropy"),
    Action("chat", "m", "export('md')", "Markdown", "Write the conversation as Markdown into this folder", False),
    Action("chat", "j", "export('json')", "JSON", "Write the conversation as JSON into this folder", False),
)
"""What single keys do in Chat."""

WHILE_WRITING = {
    "minus": "alt+down",
    "plus,equals_sign": "alt+up",
    "less_than_sign": "alt+left",
    "greater_than_sign": "alt+right",
    **{letter: f"alt+{letter}" for letter in "xsoectmj"},
}
ALT = {"minus": "alt ↓↑", "plus,equals_sign": "alt ↑", "less_than_sign": "alt ←→", "greater_than_sign": "alt →"}
"""The same from inside the text field. Terminals tell alt apart with letters (not b and f) and arrows, not with signs."""

ACTIONS: tuple[Action, ...] = (
    *(Action("app", key, f"open('{mode}')", title, help, False) for key, mode, title, help in SCREENS),
    # The same from inside a text field, where a digit is typed.
    *(
        Action("app", f"alt+{key}", f"open('{mode}')", title, help, False, priority=True)
        for key, mode, title, help in SCREENS
    ),
    Action("app", "question_mark", "help", "Help", "Keys and help for what has the focus", True, "?"),
    Action("app", "f1", "help", "Help", "", True, "f1"),
    Action("app", "f8", "messages", "Messages", "What was said lately, whole, to read and copy", False),
    Action("app", "f9", "tour", "Tour", "A short tour, from its beginning; the same key ends it", False),
    Action("app", "ctrl+p", "command_palette", "Palette", "Search everything that can be done here", True, "^p"),
    Action("app", "ctrl+t", "change_theme", "Theme", "Choose colours; the choice is remembered", False, "^t"),
    Action("app", "ctrl+s", "save_picture", "Picture", "Save the screen as SVG into this folder", False, "^s"),
    Action("app", "q", "leave", "Quit", "Leave, from a text field with ^q; training goes on without the workbench"),
    Action("app", "ctrl+q", "leave", "Quit", "", True, "^q", priority=True),
    Action("runs", "enter", "open_run", "Charts", "Into the charts of the run under the cursor", False),
    Action(
        "runs",
        "o",
        "sort",
        "Order",
        "Next order: newest, name, state, loss, steps, tokens, end; it is remembered",
        False,
    ),
    Action("runs", "O", "reverse", "Turn around", "Turn the order of the list around", False),
    Action("train", "p", "pin", "Pin", "Keep the run on top of the list, now and later, and in Compare"),
    Action("train", "space", "select", "Select", "Select the run for Compare, and go to the next", False),
    Action("train", "P", "pause", "Pause", "Pause the run, or let a paused run go on"),
    Action("train", "w", "send('save')", "Save", "Write a checkpoint now"),
    Action(
        "train",
        "t",
        "tune",
        "Tune",
        "Change learning rate, loops, intervals while it trains; of a resting run, and go on",
    ),
    Action("train", "T", "stop", "Stop", "Save a checkpoint and end the run; asks first"),
    Action(
        "train", "R", "resume_run", "Go on", "Start a stopped, failed or crashed run again from its latest checkpoint"
    ),
    Action("train", "f", "fork", "Fork", "Start a new run from one of its checkpoints, with other settings"),
    Action("train", "L", "new_run", "Launch", "Start a new run from a preset, or from this run's settings"),
    Action("train", "c", "chat", "Chat", "Chat with the run's latest checkpoint"),
    Action("train", "i", "inspect", "Inspect", "Look inside the run's latest checkpoint"),
    Action("train", "slash", "filter", "Filter", "Show only runs whose name or state holds a text", True, "/"),
    Action("train", "v", "panels", "Choose charts", "Choose which charts are shown, and in which order", True),
    Action("train", "n", "page(1)", "Charts", "Next page of charts; on the full screen the next chart"),
    Action(
        "train", "N", "page(-1)", "Charts back", "Page of charts before; on the full screen the chart before", False
    ),
    Action(
        "train", "right_curly_bracket", "resize(1)", "Larger charts", "Fewer and larger charts on a page", False, "}"
    ),
    Action(
        "train", "left_curly_bracket", "resize(-1)", "Smaller charts", "More and smaller charts on a page", False, "{"
    ),
    Action("train", "x", "x_axis", "x axis", "Charts over steps, tokens, minutes of training or FLOPs", False),
    Action(
        "train", "enter", "zoom", "Full screen", "Show the focused chart or log on the full screen, or go back", False
    ),
    Action("train", "l", "dock('log')", "Log", "Show the log below the charts, and go there; once more goes back"),
    Action(
        "train", "a", "dock('alerts')", "Alerts", "Show what the run's guard noticed, and go there; once more goes back"
    ),
    Action("train", "m", "dock('machine')", "Machine", "Show what the machine is doing; once more goes back"),
    Action(
        "train", "right_square_bracket", "toggle_dock", "Lower pane", "Show or hide log, alerts and machine", False, "]"
    ),
    Action("train", "left_square_bracket", "toggle_list", "Run list", "Show or hide the list of runs", False, "["),
    Action("train", "K", "kill", "Kill", "End the worker at once, without a checkpoint; asks first", False),
    Action("train", "e", "error", "Error", "Show the whole error of a failed run, to read and copy", False),
    Action("log", "slash", "search", "Search", "Search the log; enter goes into it", True, "/"),
    Action("log", "n", "match(1)", "Next match", "The next line that matches; after the last comes the first"),
    Action("log", "N", "match(-1)", "Match before", "The line before that matches", False),
    Action("log", "left", "shift(-1)", "Left", "Back to the beginning of long lines", False),
    Action("log", "right", "shift(1)", "Right", "Show the rest of long lines", False),
    Action(
        "alerts",
        "enter",
        "open",
        "Whole alert",
        "Evidence, likely cause and what to try, to read and copy",
        True,
        "enter",
    ),
    Action("panels", "space", "show", "Show", "Show the chart, or leave it out"),
    Action("panels", "shift+up,K", "move(-1)", "Up", "Move the chart up in the order", False),
    Action("panels", "shift+down,J", "move(1)", "Down", "Move the chart down in the order", False),
    Action(
        "panels", "r", "reset", "As delivered", "All charts but the extra ones, in their order, as large as delivered"
    ),
    Action("panels", "escape,enter,q,v", "dismiss", "Close", "Back to the charts", True, "esc"),
    Action(
        "tune",
        "enter",
        "apply",
        "Apply",
        "Send what was changed to the worker; its answer is told",
        True,
        priority=True,
    ),
    Action("tune", "down", "step(1)", "Next", "Next setting", False),
    Action("tune", "up", "step(-1)", "Previous", "Setting before", False),
    Action("tune", "escape", "cancel", "Cancel", "Close, changing nothing", True, "esc"),
    Action("start", "enter", "start", "Start", "Start the run", True, priority=True),
    Action("start", "escape", "cancel", "Cancel", "Close, starting nothing", True, "esc"),
    Action("compare", "p", "pin", "Pin", "Keep the run on top of the list and in the comparison, now and later"),
    Action("compare", "space", "select", "Select", "Take the run into the comparison or out of it, and go to the next"),
    Action("compare", "m", "metric(1)", "Metric", "Next metric"),
    Action("compare", "M", "metric(-1)", "Metric before", "Metric before", False),
    Action("compare", "x", "x_axis", "x axis", "Curves over steps, tokens, minutes of training or FLOPs"),
    Action("compare", "d", "differences", "All settings", "Show the settings that differ, or all of them"),
    Action("compare", "E", "export", "Export", "Save curves and table as CSV into this folder"),
    Action("compare", "slash", "filter", "Filter", "Show only runs whose name or state holds a text", True, "/"),
    Action("compare", "left_square_bracket", "toggle_list", "Run list", "Show or hide the list of runs", False, "["),
    Action("compare", "right_square_bracket", "toggle_table", "Table", "Show or hide the table", False, "]"),
    Action(
        "compare", "enter", "zoom", "Full screen", "Show the chart or the table on the full screen, or go back", False
    ),
    Action("table", "left", "shift(-1)", "Columns back", "Back to the columns before", False),
    Action("table", "right", "shift(1)", "Further columns", "Further columns of the table", False),
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
    *(replace(one, key=WHILE_WRITING[one.key], key_display=ALT.get(one.key), priority=True) for one in CHAT),
    Action("chat", "ctrl+r", "regenerate", "Again", "Answer the last message again, with the settings of now"),
    Action("chat", "ctrl+n", "new", "New", "Begin a new conversation; this one is kept", True, "^n"),
    Action(
        "inspect", "escape", "leave_field", "Views", "Leave the text field for the picture, so that single keys work"
    ),
    Action("inspect", "h", "view('halting')", "Halting", "Exit signal of every token at every loop", False),
    Action("inspect", "l", "view('lens')", "Lens", "What every loop or layer would say comes next", False),
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
    Action("inspect", "p", "view('pattern')", "Pattern", "What each token attends to, at one row and head", False),
    Action("inspect", "enter", "pattern", "Pattern", "What is attended to, behind the entropy at the cursor"),
    Action("inspect", "x", "view('experts')", "Experts", "Experts that each token used at every loop", False),
    Action("inspect", "s", "view('states')", "States", "Size of the state, and of each loop's step", False),
    Action("inspect", "o", "view('loss')", "Loss", "Loss of every token", False),
    Action("inspect", "w", "view('sweep')", "Sweep", "Loss of the text at every depth", False),
    Action(
        "inspect", "v", "measure", "Measure", "Show another number in this view, such as entropy as a share of its most"
    ),
    Action("inspect", "comma", "step(-1)", "Layer/token", "Layer or loop before (by depth: token before)", True, ", ."),
    Action("inspect", "full_stop", "step(1)", "Forth", "Layer or loop after (by depth: token after)", False, "."),
    Action("inspect", "less_than_sign", "head(-1)", "Head", "Head before", True, "< >"),
    Action("inspect", "greater_than_sign", "head(1)", "Head after", "Head after", False, ">"),
    Action("inspect", "F", "follow", "Follow", "Look into each new checkpoint of the run as it appears, or stop"),
    Action("inspect", "m", "export('md')", "Table", "Write the view as a Markdown table into this folder", False),
    Action("inspect", "i", "export('svg')", "Image", "Write the view as an SVG picture into this folder", False),
    Action("inspect", "n", "export('npz')", "Arrays", "Write the whole trace as .npz into this folder", False),
    Action("inspect", "e", "edit", "Text", "Edit the text"),
    Action("inspect", "g", "from_chat", "From Chat", "Take the last text of Chat"),
    *(Action(*one) for one in OF_CHARTS),
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
            id=None
            if one.key.startswith("alt+")
            else one.id,  # a person's own key stands beside these, not in their place
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
