"""One document through the cleaning steps of its source: encoding → language → quality."""

from __future__ import annotations

from dataclasses import dataclass

from mythos.contract.config import DataConfig, SourceConfig
from mythos.data.clean import code, prose
from mythos.data.clean.encoding import repair
from mythos.data.clean.kinds import Kind, kind_of
from mythos.data.clean.language import LEAST, check_languages, likeliest, probability


@dataclass(frozen=True)
class Verdict:
    """What became of a document."""

    text: str | None  # None: dropped
    step: str = ""  # the step that dropped it: repair, language or quality
    reason: str = ""  # short, with the figure, as "top 2-gram 31% of characters, over 20%"
    rule: str = ""  # a stable key for counting, as "gopher.top_2_gram"
    changed: tuple[str, ...] = ()  # steps that changed the text and kept it


class Cleaner:
    """The steps that a source asks for, as one function of a document. Cheap to make and to pickle.

    The libraries' models are loaded at the first document that needs them, once per process. Raises ConfigError
    there if `languages` names one that is unknown; `check_languages` says so beforehand.
    """

    def __init__(self, data: DataConfig, source: SourceConfig) -> None:
        self._repair, self._languages, self._quality = data.repair, data.languages, source.quality
        self._checked = False

    def __call__(self, text: str, path: str) -> Verdict:
        """`path` tells code from prose where `quality` does not say it."""
        changed: tuple[str, ...] = ()
        if self._repair and (mended := repair(text)) != text:
            text, changed = mended, ("repair",)
        kind = self._kind(text, path)
        if self._languages and kind == "prose" and (foreign := self._foreign(text)):
            return Verdict(None, "language", foreign[1], f"language.{foreign[0]}")
        if self._quality == "none":
            return Verdict(text, changed=changed)
        if kind == "prose" and (shorter := prose.without_notices(text)) != text:
            text, changed = shorter, (*changed, "quality")
        if found := prose.broken(text) if kind == "prose" else code.broken(text):
            rule, value = found
            return Verdict(None, "quality", rule.says(value), rule.name)
        return Verdict(text, changed=changed)

    def _kind(self, text: str, path: str) -> Kind:
        return self._quality if self._quality in ("prose", "code") else kind_of(text, path)

    def _foreign(self, text: str) -> tuple[str, str] | None:
        """(language, reason) for a text that is in none of the wanted languages."""
        if not self._checked:
            check_languages(self._languages)
            self._checked = True
        wanted = probability(text, self._languages)
        if wanted >= LEAST:
            return None
        code, share = likeliest(text)
        return code, f"{code} {share:.0%}, {' or '.join(self._languages)} {wanted:.0%}"
