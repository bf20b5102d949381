"""`mythos-tui`: check the surroundings, then start the workbench."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
from pathlib import Path
from threading import Thread

from mythos.memory import give_back_freed_memory
from mythos_tui.settings import MIN_COLUMNS, MIN_ROWS
from mythos_tui.settings_file import context_of, load_settings, tour_seen


def parser() -> argparse.ArgumentParser:
    """The command line of the workbench."""
    made = argparse.ArgumentParser(
        prog="mythos-tui", description="A workbench in the terminal for training and studying small language models."
    )
    made.add_argument("--runs", type=Path, metavar="DIR", help="folder of the runs (default: ./runs)")
    shipped = "else those that came along"
    made.add_argument(
        "--configs", type=Path, metavar="DIR", help=f"folder of the presets (default: ./configs, {shipped})"
    )
    made.add_argument(
        "--checkpoints",
        type=Path,
        metavar="DIR",
        help=f"folder of ready checkpoints (default: ./checkpoints, {shipped})",
    )
    made.add_argument("--theme", metavar="NAME", help="colours, such as mythos-dark, mythos-light or mythos-terminal")
    made.add_argument("--web", action="store_true", help="serve the workbench to a browser instead of this terminal")
    made.add_argument("--host", default="127.0.0.1", help="address for --web (default: this machine alone)")
    made.add_argument("--port", type=int, default=8000, help="port for --web, 0 for a free one (default: 8000)")
    made.add_argument("--served", action="store_true", help=argparse.SUPPRESS)
    return made


def fault(options: argparse.Namespace) -> str | None:
    """What keeps the workbench from starting, in a paragraph that says the way out."""
    for name in ("runs", "configs", "checkpoints"):
        path = getattr(options, name)
        if path is not None and path.exists() and not path.is_dir():
            return f"--{name} {path} is a file, not a folder. Name the folder that holds the {name}."
    if options.configs is not None and not options.configs.is_dir():
        return f"--configs {options.configs} does not exist. Name a folder of YAML presets, or leave the option out."
    if problem := theme_fault(options.theme):
        return problem
    return None if options.web or options.served else terminal_fault()


def terminal_fault() -> str | None:
    """Why the workbench cannot be shown where it was started."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return (
            "mythos-tui needs a terminal, but its input or output is none. "
            "Start it in one, or use the command line: mythos runs, mythos watch."
        )
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    if 0 < columns < MIN_COLUMNS or 0 < rows < MIN_ROWS:
        return (
            f"The terminal is {columns}x{rows}, but the workbench needs at least {MIN_COLUMNS}x{MIN_ROWS}. "
            "Make it larger and start again; no run is affected."
        )
    return None


def theme_fault(theme: str | None) -> str | None:
    """What is wrong with a theme's name, if anything."""
    if theme is None:
        return None
    from mythos_tui.theme import theme_names

    return None if theme in theme_names() else f"There is no theme {theme!r}. Choose one of {', '.join(theme_names())}."


def serve(options: argparse.Namespace) -> str | None:
    """Serve to a browser with the same options; what keeps that from starting."""
    try:
        from mythos_tui.web.server import serve as serve_forever
    except ModuleNotFoundError as error:
        return f"--web needs {error.name}, which is not installed. Install it: pip install 'mythos-tui[web]'."
    named = {name: getattr(options, name) for name in ("runs", "configs", "checkpoints", "theme")}
    arguments = [f"--{name}={value}" for name, value in named.items() if value is not None]
    return serve_forever(arguments, options.host, options.port)


def end_with_terminal() -> None:
    """Let the workbench end once its terminal is closed, or the server that shows it to a browser has died.

    SIGHUP does not always come: make, for one, keeps it to itself. Nobody could see or leave the workbench any more, and reading
    from such a terminal returns at once, over and over.
    """

    def wait() -> None:
        hung_up = select.poll()
        hung_up.register(sys.stdin.fileno(), 0)
        if any(event & select.POLLHUP for _, event in hung_up.poll()):
            os._exit(128 + signal.SIGHUP)

    if hasattr(select, "poll"):
        Thread(target=wait, name="hangup", daemon=True).start()


def main(argv: list[str] | None = None) -> int:
    """Run the workbench; 2 where it cannot start."""
    options = parser().parse_args(argv)
    problem = fault(options) or (serve(options) if options.web else None)
    if problem:
        print(f"mythos-tui: {problem}", file=sys.stderr)
        return 2
    if options.web:
        return 0
    give_back_freed_memory()
    from mythos_tui.app import MythosApp

    loaded = load_settings()
    context = context_of(loaded.settings, lambda name: getattr(options, name))
    app = MythosApp(context, options.theme, loaded, tour=not tour_seen())
    end_with_terminal()
    app.run()
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
