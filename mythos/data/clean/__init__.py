"""Cleaning: functions of one document (`Cleaner`), its fingerprints, and the search for duplicates among them.

    Cleaner(data, source)(text, path) → Verdict        encoding, language, quality rules
    exact_key(text), signature(text)                   what is kept of a document for deduplication
    find_duplicates(keys, signatures)                  which documents repeat an earlier one

No heavy library is loaded before the first document that needs it.
"""

from mythos.data.clean.cleaner import Cleaner, Verdict
from mythos.data.clean.duplicates import VERIFY, find_duplicates
from mythos.data.clean.fingerprints import SIGNATURE, exact_key, signature
from mythos.data.clean.language import check_languages

__all__ = [
    "SIGNATURE",
    "VERIFY",
    "Cleaner",
    "Verdict",
    "check_languages",
    "exact_key",
    "find_duplicates",
    "signature",
]
