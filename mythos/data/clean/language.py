"""Which language a text is in, by py3langid (naive Bayes over byte n-grams, 140 languages; Lui & Baldwin 2012)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from mythos.contract.errors import ConfigError

LEAST = 0.5
"""Probability that a text is in one of the wanted languages from which it is kept."""

_SLICE, _SLICES = 800, 5  # characters; a longer text is judged by slices that are spread evenly over it


@cache
def _identifier() -> Any:
    """Loaded once per process, in about 0.7 s."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def check_languages(codes: Sequence[str]) -> None:
    """Raises ConfigError for a language that py3langid does not know."""
    known = _identifier().labels
    if unknown := [code for code in codes if code not in known]:
        hint = f"Known are two-letter codes: {', '.join(sorted(known))}."
        raise ConfigError(f"data.languages: {', '.join(map(repr, unknown))} is no known language.", hint)


def likeliest(text: str) -> tuple[str, float]:
    """(code, probability); ("", 0.0) for a text without letters."""
    sample = sampled(text)
    return _identifier().classify(sample) if any(map(str.isalpha, sample)) else ("", 0.0)


def is_english(text: str) -> bool:
    return likeliest(text)[0] == "en"


def probability(text: str, codes: Sequence[str]) -> float:
    """That the text is in one of these languages; 1 for a text without letters, which is in none."""
    sample = sampled(text)
    if not any(map(str.isalpha, sample)):
        return 1.0
    return sum(share for code, share in _identifier().rank(sample) if code in codes)


def sampled(text: str) -> str:
    """The text, or five slices of it."""
    if len(text) <= _SLICE * _SLICES:
        return text
    step = (len(text) - _SLICE) // (_SLICES - 1)
    return "\n".join(text[start : start + _SLICE] for start in range(0, step * _SLICES, step))
