"""The workbench's own themes: ink and paper, a high-contrast one, and the terminal's own colours."""

from __future__ import annotations

from textual.theme import BUILTIN_THEMES, Theme


def _quiet(cursor: str, on_cursor: str, selection: str, edge: str) -> dict[str, str]:
    """Variables of calm widgets: one colour under the cursor, soft edges, no shouting text styles."""
    return {
        "block-cursor-background": cursor,
        "block-cursor-foreground": on_cursor,
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": edge,
        "input-selection-background": selection,
        "border-blurred": edge,
    }


DARK = Theme(
    name="mythos-dark",
    primary="#6fc3c3",
    secondary="#8aa6d6",
    accent="#e2b86b",
    foreground="#d6d9e0",
    background="#0f1218",
    surface="#151a22",
    panel="#1e2530",
    success="#86c287",
    warning="#e8a05a",
    error="#e5737b",
    dark=True,
    variables=_quiet("#2b4a55", "#ffffff", "#2f5a5e", "#262e3a"),
)

LIGHT = Theme(
    name="mythos-light",
    primary="#0f6f74",
    secondary="#3a5a98",
    accent="#8a5a00",
    foreground="#1f242c",
    background="#faf9f6",
    surface="#f2f0ea",
    panel="#e4e1d8",
    success="#2f6f35",
    warning="#9a5200",
    error="#b3262f",
    dark=False,
    variables=_quiet("#bfe0df", "#10201f", "#a9d8d8", "#d5d1c5"),
)

CONTRAST = Theme(
    name="mythos-contrast",
    primary="#00e5ff",
    secondary="#9ecbff",
    accent="#ffd800",
    foreground="#ffffff",
    background="#000000",
    surface="#1c1c1c",
    panel="#303030",
    success="#5cff7a",
    warning="#ffb000",
    error="#ff6b6b",
    dark=True,
    text_alpha=1.0,
    variables=_quiet("#ffffff", "#000000", "#005f6b", "#808080"),
)

TERMINAL = Theme(
    name="mythos-terminal",
    ansi=True,
    primary="ansi_cyan",
    secondary="ansi_magenta",
    accent="ansi_yellow",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_red",
    variables={
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "block-cursor-background": "ansi_blue",
        "block-cursor-foreground": "ansi_bright_white",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "ansi_bright_black",
        "border-blurred": "ansi_bright_black",
        "input-cursor-background": "ansi_white",
        "input-cursor-foreground": "ansi_black",
        "input-selection-background": "ansi_blue",
        "input-selection-foreground": "ansi_white",
    },
)
"""The sixteen colours as the terminal has them, on its own background, dark or light."""

THEMES = (DARK, LIGHT, CONTRAST, TERMINAL)


def theme_names() -> list[str]:
    """Every theme that can be chosen: the workbench's own first, then Textual's."""
    return [*(one.name for one in THEMES), *sorted(BUILTIN_THEMES)]


STATES: dict[str, tuple[str, str]] = {
    "starting": ("◌", "$secondary"),
    "preparing": ("◔", "$secondary"),
    "running": ("●", "$success"),
    "paused": ("‖", "$accent"),
    "stalled": ("◍", "$warning"),
    "finished": ("✓", "$primary"),
    "stopped": ("■", "$foreground-muted"),
    "failed": ("✗", "$error"),
    "crashed": ("✖", "$error"),
}
"""Glyph and theme colour of every state of a run; glyph and word differ too, so that colour is never alone."""
