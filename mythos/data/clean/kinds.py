"""Prose or code: by the file's name, by the first line, and for rows of a dataset by what most lines look like."""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["prose", "code"]

_END = r"(?:\.(?:gz|zst))?(?:[#:~@](?:part-|@)?\d+)?$"  # compressed; the number of a part
_CODE_NAME = re.compile(
    r"(?:\.(?:py[iwx]?|pxd|ipynb|[chmrsvd]|cc|cpp|cxx|hh|hpp|cu|cuh|mm|java|kts?|scala|groovy|gradle|clj|[cm]?[jt]sx?"
    r"|vue|svelte|s?css|less|x?html?|xml|svg|go|rs|zig|swift|dart|[cf]s|vb|rb|php|p[lm]|lua|jl|hs|mli?|exs?|erl|elm|nim"
    r"|f90|f|pas|ad[ab]|asm|sv|vhdl?|lisp|el|scm|rkt|sql|(?:ba|z|fi)?sh|ps1|bat|cmd|awk|vim|cmake|mk|proto|thrift"
    r"|graphql|tf|ya?ml|toml|ini|cfg|conf|properties|diff|patch)"
    r"|(?:^|/)(?:(?:gnu)?makefile|dockerfile|cmakelists\.txt|rakefile|gemfile|jenkinsfile|vagrantfile))" + _END,
    re.IGNORECASE,
)
_PROSE_NAME = re.compile(
    r"(?:\.(?:txt|te?xt|md|markdown|rst|adoc|org|tex)|(?:^|/)(?:[a-z]+[-_.])?(?:readme|licen[sc]e|copying|copyright"
    r"|news|authors|changelog|notice|metadata)[\w.-]*)" + _END,
    re.IGNORECASE,
)
_CODE_START = re.compile(r"#!|\s*(?:<!doctype html|<html|<\?xml|<\?php)", re.IGNORECASE)
_CODE_LINE = re.compile(
    r"(?m)^[ \t]*(?:"
    r"[^\n]*(?:[;{}()\[\]\\]|[)\]}\"'],)$"  # ends like a statement or an open bracket
    r"|[\w.\[\]\"']+ *[-+*/|&]?= *\S[^\n]*$|[\w.]+\([^\n]*\)$"  # assignment, call
    r"|(?:def|class|import|from|return|raise|fn|func|function|let|const|var|use|using|package|public|private|static|end"
    r"|elif|else|try|break|continue|pass|yield|assert|echo|fi|done|local|require|include|module|struct|#\w+)\b[^.\n]*$"
    r"|//|/\*|\*/|@\w|</?\w[^\n]*>$|--|#)"
)
_LOOKED_AT = 20_000  # characters
_CODE_SHARE = 0.4  # of the lines that are not blank


def kind_of(text: str, path: str) -> Kind:
    """What the document is. A path may end in the number of a row; JSON, CSV and Parquet hold either kind."""
    if _CODE_NAME.search(path) or _CODE_START.match(text):
        return "code"
    if _PROSE_NAME.search(path):
        return "prose"
    return "code" if looks_like_code(text) else "prose"


def looks_like_code(text: str) -> bool:
    """Whether four of ten lines end in brackets or semicolons, assign, call, comment or begin with a keyword."""
    text = text[:_LOOKED_AT]
    rows = sum(map(bool, map(str.strip, text.split("\n"))))
    return rows > 0 and len(_CODE_LINE.findall(text)) >= _CODE_SHARE * rows
