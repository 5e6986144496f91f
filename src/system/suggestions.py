"""Suggest the word that a misspelled one most likely means."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return " Did you mean WORD?" with the word that ``word`` misspells or begins; "" if there is none."""
    words = list(words)
    longer = [other for other in words if len(word) > 2 and other.startswith(word)]
    found = longer if len(longer) == 1 else difflib.get_close_matches(word, words, n=1, cutoff=0.65)
    return f" Did you mean {found[0]}?" if found else ""
