"""Conversations as they are kept: what was said, with which template, and files of them. No widget in here."""
