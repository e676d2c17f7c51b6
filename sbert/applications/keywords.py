"""Keyword extraction: the words and phrases of a text that say most of what it says.

    phrases = candidate_phrases(text)
    distinctive_phrases(model.encode(text), model.encode(phrases), top_k=5)

EmbedRank (Bennani-Smires et al. 2018, arXiv 1801.04470): every phrase of the text is embedded like a text of its own, and
the nearest to the whole text are its keywords. The nearest are often near one another too ("honey bee", "bee colony",
"bee"), so the paper chooses by maximal marginal relevance: each next phrase has the best

    (1 - diversity) * cos(phrase, text) - diversity * max cos(phrase, those chosen before)

Korean words keep their particles: a phrase is cut out of the text as it stands, and nothing here takes words apart.
Shape letters: N phrases, D embedding width.
"""

import re

import numpy as np

from sbert.retrieval.search import SHORTEST

APOSTROPHE = "['\u2019]"
# don't, well-known; beside Hangul an apostrophe is a quotation mark
WORD = re.compile(rf"\w+(?:-\w+|{APOSTROPHE}[a-zA-Z]+)*")
INSIDE = f"(?<=[a-zA-Z]){APOSTROPHE}(?=[a-zA-Z])"
# no phrase goes across punctuation or a line's end
BREAK = re.compile(rf"(?!{INSIDE})[^\w\s-]|[\r\n]|\s-+\s")
STOP = (
    "a about after again all almost also although always am an and any are as at be because been before being but by can "
    "could did do does during each even every few for from had has have he her here his how i if in into is it its just "
    "made make many may me might more most much must my near no nor not of off on once one only or other our out over own "
    "same she should so some such than that the their them then there these they this those through to too under until up "
    "us very was we were what when where which while who whom whose why will with would you your "
    "및 또는 그리고 그러나 하지만 그래서 또한 이 그 저 것 수 등 더 가장 매우 때 때문에 위해 대한 있는 있다 하는 한다 된다 되는"
)
STOP_WORDS = frozenset(STOP.split())


def candidate_phrases(text: str, longest: int = 2) -> list[str]:
    """Runs of 1 to ``longest`` words of the text, each once (whatever its case), in the order of their first appearance.

    None begins or ends with a stop word, holds only digits, or goes across punctuation. Raises ValueError for longest < 1.
    """
    if longest < 1:
        raise ValueError(f"phrases of {longest} words: it must be at least 1")
    found: dict[str, str] = {}
    for part in BREAK.split(text):
        words = list(WORD.finditer(part))
        for start in range(len(words)):
            for end in range(start, min(start + longest, len(words))):
                first, last = words[start], words[end]
                if {first.group().lower(), last.group().lower()} & STOP_WORDS:
                    continue
                phrase = " ".join(word.group() for word in words[start : end + 1])
                if any(letter.isalpha() for letter in phrase):
                    found.setdefault(phrase.lower(), phrase)
    return list(found.values())


def distinctive_phrases(
    text: np.ndarray, phrases: np.ndarray, top_k: int = 5, diversity: float = 0.0
) -> list[tuple[int, float]]:
    """text (D,), phrases (N, D) -> at most top_k (position, cosine with the text), in the order chosen.

    diversity: 0 takes the nearest to the text, towards 1 those unlike one another. Equal ones: the earlier phrase.
    Raises ValueError for a diversity outside 0..1 and top_k < 1.
    """
    if not 0 <= diversity <= 1:
        raise ValueError(f"diversity {diversity}: allowed is 0 to 1")
    if top_k < 1:
        raise ValueError(f"top_k is {top_k}, it must be at least 1")
    text, phrases = _unit(text[None])[0], _unit(phrases)
    relevance = phrases @ text
    redundancy = np.zeros(len(phrases))  # nothing is chosen yet
    left = np.ones(len(phrases), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(top_k, len(phrases))):
        marginal = np.where(left, (1 - diversity) * relevance - diversity * redundancy, -np.inf)
        i = int(marginal.argmax())
        cosines = phrases @ phrases[i]
        redundancy = np.maximum(redundancy, cosines) if chosen else cosines
        chosen.append(i)
        left[i] = False
    return [(i, float(relevance[i])) for i in chosen]


def _unit(vectors: np.ndarray) -> np.ndarray:
    """(N, D) -> the same at length 1, fp64; a zero vector stays."""
    vectors = np.asarray(vectors, dtype=np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), SHORTEST)
