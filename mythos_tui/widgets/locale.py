"""What the locale lets a terminal show. Apart from the glyphs, because the first frame waits for this and not for them."""

from __future__ import annotations

from collections.abc import Mapping


def speaks_unicode(environ: Mapping[str, str]) -> bool:
    """Whether the locale writes UTF-8. One that is not set at all, as in most containers, counts as UTF-8.

    Python sets LC_CTYPE=C.UTF-8 by itself where it was started in the C locale, so that beside LANG=C it says nothing.
    """
    plain = ("C", "POSIX")
    of_kind, language = environ.get("LC_CTYPE", ""), environ.get("LANG", "")
    if language in plain and of_kind in ("C.UTF-8", "C.utf8", "UTF-8"):
        of_kind = ""
    locale = environ.get("LC_ALL") or of_kind or language
    return not locale or "utf8" in locale.lower().replace("-", "")
