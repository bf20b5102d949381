"""The quality rules as data: what is measured, by which paper, and the value that a document has to keep.

Thresholds are the published ones:
  Gopher    Rae et al. 2021, arXiv 2112.11446, section A1.1 and table A1
  C4        Raffel et al. 2020, JMLR 21(140), section 2.2
  FineWeb   Penedo et al. 2024, arXiv 2406.17557, section 3.6
  Stack     Kocetkov et al. 2022, arXiv 2211.15533; StarCoder (Li et al. 2023, arXiv 2305.06161, section 3.1) and
            The Stack v2 (Lozhkov et al. 2024, arXiv 2402.19173, section 2.1)

Left out on purpose: C4's curly bracket (every text about code has one), its list of bad words and its terminal
punctuation per line (as FineWeb did); Gopher's upper limit of 100,000 words (it drops whole books). FineWeb's limit
on duplicated lines is the paper's 0.1; the code published with it says 0.01.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Rule:
    """A document breaks the rule where the measured value is not at least, or not at most, `bound`."""

    name: str  # paper and what is measured; the key of the figures and of counters
    keep: Literal["at least", "at most"]
    bound: float
    reason: str  # with the value, in format()'s notation

    def broken_by(self, value: float) -> bool:
        return value < self.bound if self.keep == "at least" else value > self.bound

    def says(self, value: float) -> str:
        """For example `top 2-gram 31% of characters, over 20%`."""
        spec = self.reason[self.reason.index("{") + 1 : self.reason.index("}")].lstrip(":")
        side = "under" if self.keep == "at least" else "over"
        return f"{self.reason.format(value)}, {side} {format(self.bound, spec)}"


def first_broken(rules: Sequence[Rule], figures: Mapping[str, float]) -> tuple[Rule, float] | None:
    """The first rule that the figures break, with its value. A rule without a figure does not apply to the text."""
    for rule in rules:
        if rule.name in figures and rule.broken_by(figures[rule.name]):
            return rule, figures[rule.name]
    return None


PROSE = (
    Rule("gopher.words", "at least", 50, "{:.0f} words"),
    Rule("gopher.mean_word_least", "at least", 3, "mean word {:.1f} letters"),
    Rule("gopher.mean_word_most", "at most", 10, "mean word {:.1f} letters"),
    Rule("gopher.hashes", "at most", 0.1, "{:.2f} hash signs per word"),
    Rule("gopher.ellipses", "at most", 0.1, "{:.2f} ellipses per word"),
    Rule("gopher.bullet_lines", "at most", 0.9, "{:.0%} of lines begin with a bullet"),
    Rule("gopher.ellipsis_lines", "at most", 0.3, "{:.0%} of lines end with an ellipsis"),
    Rule("gopher.alphabetic_words", "at least", 0.8, "{:.0%} of words have a letter"),
    Rule("gopher.stop_words", "at least", 2, "{:.0f} common English words"),
    Rule("gopher.duplicate_paragraphs", "at most", 0.3, "{:.0%} of paragraphs repeated"),
    Rule("gopher.duplicate_paragraph_characters", "at most", 0.2, "{:.0%} of characters in repeated paragraphs"),
    Rule("gopher.duplicate_lines", "at most", 0.3, "{:.0%} of lines repeated"),
    Rule("gopher.duplicate_line_characters", "at most", 0.2, "{:.0%} of characters in repeated lines"),
    *(
        Rule(f"gopher.top_{n}_gram", "at most", bound, f"top {n}-gram {{:.0%}} of characters")
        for n, bound in ((2, 0.20), (3, 0.18), (4, 0.16))
    ),
    *(
        Rule(f"gopher.duplicate_{n}_grams", "at most", bound, f"{{:.0%}} of characters in repeated {n}-grams")
        for n, bound in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    ),
    Rule("c4.lorem_ipsum", "at most", 0, "{:.0f} times 'lorem ipsum'"),
    Rule("c4.sentences", "at least", 3, "{:.0f} sentences"),
    Rule("fineweb.line_punctuation", "at least", 0.12, "{:.0%} of lines end with punctuation"),
    Rule("fineweb.duplicate_line_characters", "at most", 0.1, "{:.0%} of characters in repeated lines"),
    Rule("fineweb.short_lines", "at most", 0.67, "{:.0%} of lines of 30 characters or less"),
    Rule("fineweb.lines_per_word", "at most", 0.3, "{:.2f} lines per word"),
)

CODE = (
    Rule("stack.longest_line", "at most", 1000, "longest line {:,.0f} characters"),
    Rule("stack.mean_line", "at most", 100, "mean line {:.0f} characters"),
    Rule("stack.alphanumeric", "at least", 0.25, "{:.0%} letters and digits"),
    Rule("stack.alphabetic", "at least", 0.25, "{:.0%} letters"),
    Rule("stack.generated", "at most", 0, "{:.0f} marks of generated code at the top"),
    Rule("stack.longest_data", "at most", 1024, "{:,.0f} characters of encoded data in a row"),
    Rule("stack.data", "at most", 0.5, "{:.0%} encoded data"),
)
