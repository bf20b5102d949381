"""alt with a digit, in terminals without the newer keyboard protocol.

Textual reads ESC 1 as the ¡ that a Mac's option key writes. Terminals that send ESC 1 mean alt+1, and those that write ¡ send ¡.
"""

from __future__ import annotations

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS


def tell_alt_digits() -> None:
    """Have alt+0 to alt+9 arrive under these names."""
    table = ANSI_SEQUENCES_KEYS
    if isinstance(table, dict):
        for digit in "0123456789":
            table.pop(f"\x1b{digit}", None)
