"""The workbench in a browser: `mythos-tui --web`."""
