"""Suggest the word that a misspelled one most likely means."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, words: Iterable[str], likeness: float = 0.65) -> str:
    """Return " Did you mean WORD?" with the word that ``word`` misspells or begins; "" if there is none.

    Args:
        word: the word as it was written.
        words: those that may be meant.
        likeness: least ``SequenceMatcher.ratio`` of a misspelling, in 0..1.
    """
    words = list(words)
    longer = [other for other in words if len(word) > 2 and other.startswith(word)]
    found = longer if len(longer) == 1 else difflib.get_close_matches(word, words, n=1, cutoff=likeness)
    return f" Did you mean {found[0]}?" if found else ""
