"""Scaling laws: how the loss of runs falls with their size and their text, and what a budget should buy."""
