"""Which sentence answers a question, by its words alone: for a model too small to choose its quote itself.

A sentence is the better the more of the question's content words it holds, each counted by how rare it is in the
document (inverse document frequency), and the more of them it holds together with its neighbours; words of the same
beginning, words in the same order, what kind of thing is asked for (a number, a time, a name) and the rank of its
passage decide between equals. The weights are those of a logistic regression among the sentences of eight passages, of
3,100 training questions of SQuAD, SQuADShifts and FairytaleQA, rounded. The right sentence of a whole article is first
for 71 % of SQuAD's questions, among the first three for 86 % (`python -m tests.bench evidence`).
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import snowballstemmer

from app.source import called, defined, defines, in_code

_WORD = re.compile(r"[^\W_]+")
_WRITTEN = re.compile(r"\w+(?:\.\w+)*")
"""A name of code as it is written, whole, with what it is a part of."""
_NAME_LIKE = re.compile(r"\w*(?:[^\W_]_\w|\b_\w|[a-z\d][A-Z]|[A-Z]{2}|[A-Za-z]\d)\w*")
"""What hardly can be a word of prose."""
_USES = re.compile(r"(?i)\buse[sd]?\b")
_NOT = re.compile(r"(?i)\bnot\b|n't\b|\bnever\b|\bexcept\b")
_COMMON = frozenset(_WORD.findall("""
    a an the of in on at to for and or but is was are were be been being by with as that this these those it its from
    did do does done what which who whom whose when where why how many much he she they him her them his their there
    have has had can could would will shall should may might into than then so such not no nor if about also any some
    most more other one you your we our i me my s t
"""))
_NAMES = r"(\b_\w|\w_\w|[a-z][A-Z]|\w\(\))"
"""How the names of functions look in prose."""
_KINDS = {
    "caller": r"(?i:\b(function|method|class|module|file|code)s?\b.*\b(call|use|invoke)[sd]?\b)"
              rf"|(?i:\b(call|invoke)(s|d|ed)?\b|\bcallers? of\b).*{_NAMES}|{_NAMES}.*(?i:\b(called|invoked)\b)"
              rf"|(?i:\bwhere\b).*{_NAMES}.*(?i:\bused\b)",
    "definition": r"(?i)\b(defined?|defines|definition|declared?|implemented)\b",
    "number": r"(?i)\bhow (many|much|old|long|far|tall|large|big|high)\b|\bwhat (percent|number|percentage|amount)",
    "time": r"(?i)\bwhen\b|\b(what|which) (year|date|day|month|century|decade)\b",
    "name": r"(?i)\bwho(m|se)?\b|\bwhere\b"
            r"|\b(what|which) (person|man|woman|king|queen|city|country|state|place|town)\b",
}
_OF_CODE = frozenset(_WORD.findall("""
    define defined defines definition declare declared implemented file function class method module
    call calls called use uses used invoke invokes invoked files functions classes methods modules
"""))
"""What a question about a definition or a call asks for, not what it is called."""
_CALLER = re.compile(
    r"(?i)\b(which|what) (function|method)s?\b( (in|of|from)( \w+){1,3})? (call|use|invoke)s?\b|\bwho (calls|invokes)\b"
    r"|\b(called|invoked) (in|by|from)\b|\bin (which|what) (function|method)\b|\b(list|name|all|the) callers of\b"
)
"""How a question asks for the name of what calls something, not for what it calls."""
_FILE = re.compile(r"(?i)\b(which|what) (file|module)s?\b|\bwhere\b")
"""How it asks for the name of a file, not for how many there are."""
_NUMBER = re.compile(
    r"\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundreds?"
    r"|thousands?|millions?|billions?|half|dozen|twice)\b", re.IGNORECASE,
)
_TIME = re.compile(
    r"\b(1\d{3}|20\d\d)s?\b|\b\d{1,2}(st|nd|rd|th)\b|century"
    r"|January|February|March|April|May|June|July|August|September|October|November|December"
)
_stemmer = snowballstemmer.stemmer("porter")


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The stem of a word in small letters: Porter's, as in the index."""
    return _stemmer.stemWord(word)


@dataclass(frozen=True)
class Asked:
    """What a question asks for: its content words in order, and the kind of thing (empty if its words do not say).
    of_code: it asks where something is defined or who calls it; of_files: in which file; of_names: for the name
    of that file, or of the function that calls; names: what it names, as it is written; of_uses: who uses it."""

    words: tuple[str, ...]
    kind: str
    of_code: bool = False
    of_files: bool = False
    of_names: bool = False
    names: frozenset[str] = frozenset()
    of_uses: bool = False

    @staticmethod
    def of(question: str) -> "Asked":
        """Read a question."""
        words = [word.lower() for word in _WORD.findall(question)]
        kind = next((kind for kind, form in _KINDS.items() if re.search(form, question)), "")
        of_code = kind in ("definition", "caller")
        small = _COMMON | _OF_CODE if of_code else _COMMON
        content = tuple(word for word in words if word not in small) or tuple(words)
        written = _WRITTEN.findall(question)
        of_files = of_code and not {"file", "files", "module", "modules", "where"}.isdisjoint(map(str.lower, written))
        form = _FILE if of_files else _CALLER if kind == "caller" else None
        of_names = form is not None and form.search(question) is not None
        names = _names(written, content) if of_names and not _NOT.search(question) else frozenset()
        return Asked(content, kind, of_code, of_files, of_names, names, _USES.search(question) is not None)

    def has_name_of(self, line: str) -> bool:
        """Whether what a line of code defines, or something that it calls or uses, has its name in the question."""
        if self.kind == "definition":
            return defined(line) in self.names
        if self.of_uses:
            return defined(line) not in self.names and not self.names.isdisjoint(re.findall(r"\w+", in_code(line)))
        return not self.names.isdisjoint(name.rpartition(".")[2] for name in called(line))


def _names(written: Sequence[str], content: Sequence[str]) -> frozenset[str]:
    """What a question of code names word for word: what looks like names; else the one word that says anything."""
    last = [name.rpartition(".")[2] for name in written]
    alike = frozenset(filter(is_name, last))
    common = _COMMON | _OF_CODE
    plain = frozenset(name for name in last if name.lower() not in common) if len(set(content)) == 1 else frozenset()
    return alike or (plain if len(plain) == 1 else frozenset())


def is_name(word: str) -> bool:
    """Whether a word looks like a name of code (`read_state`, `isName`), as hardly one of prose does."""
    return _NAME_LIKE.fullmatch(word) is not None


def names_in(question: str) -> list[str]:
    """The words of a question that look like names of code."""
    return [name for name in re.findall(r"\w+", question) if is_name(name)]


def has_content(words: str) -> bool:
    """Whether any of these words is more than a common one, as "the" is."""
    return any(word.lower() not in _COMMON for word in _WORD.findall(words))


def is_answer_in_code(asked: Asked, line: str) -> bool:
    """Whether a line defines, or calls, what a question of that kind asks for."""
    wanted = {stem(word) for word in asked.words}
    if asked.kind == "definition":
        return defines(line) and not wanted.isdisjoint(_stems(line))
    return asked.kind == "caller" and any(_stems(name.rpartition(".")[2]) <= wanted for name in called(line))


def _stems(text: str) -> set[str]:
    return {stem(word.lower()) for word in _WORD.findall(text)}


SMOOTHING = 20
"""Passages without any word of the question are added, or a document of one passage would call every word common."""


def _rarity(holding: int, passages: int) -> float:
    """Inverse document frequency, as in BM25 (Robertson and Zaragoza, 2009). A word that stands nowhere counts like one
    that stands once: it may be another word for one that does."""
    return math.log(1 + (passages - holding + 0.5) / (holding + 0.5))


class Chooser:
    """Scores sentences for one question about one document."""

    def __init__(self, asked: Asked, passages: int, spread: Sequence[int]) -> None:
        """passages: how many the document has. spread: how many of them hold each of `asked.words`."""
        self.asked = asked
        self._order = [stem(word) for word in asked.words]
        self._weights = {
            stem(word): _rarity(max(holding, 1), passages + SMOOTHING)
            for word, holding in zip(asked.words, spread, strict=True)
        }
        self._total = sum(self._weights.values()) or 1.0

    def score(self, sentence: str, rank: float = 0.0, context: str = "") -> float:
        """How well a sentence fits. rank: its passage's BM25 as a share of the best one's. context: the sentence with
        its neighbours."""
        words = [word.lower() for word in _WORD.findall(sentence)]
        stems = [stem(word) for word in words]
        says_more = any(s not in self._weights and w not in _COMMON for w, s in zip(words, stems, strict=True))
        return (
            0.6 * self.cover(stems)
            + 0.6 * self.cover_of(context or sentence)
            + 0.15 * self._alike(set(stems))
            + 0.3 * _common_order(self._order, [s for s in stems if s in self._weights]) / len(self._order or "?")
            + 0.4 * rank
            + 0.15 * self._has_kind(sentence, words, stems)
            - 0.15 * (not says_more)
        )

    def cover(self, stems: Iterable[str]) -> float:
        """The share of the question's weight that these stems hold, from 0 to 1."""
        return math.fsum(self._weights.get(each, 0.0) for each in set(stems)) / self._total  # in any order the same

    def cover_of(self, text: str) -> float:
        """`cover` of a text's words."""
        return self.cover(stem(word.lower()) for word in _WORD.findall(text))

    def _alike(self, stems: set[str]) -> float:
        """The share of the weight whose words only begin like one of the stems."""
        beginnings = {each[:5] for each in stems if len(each) > 4}
        missing = {w: v for w, v in self._weights.items() if w not in stems and len(w) > 5}
        return math.fsum(weight for word, weight in missing.items() if word[:5] in beginnings) / self._total

    def _has_kind(self, sentence: str, words: list[str], stems: list[str]) -> int:
        """1 if the sentence has the kind of thing asked for beside the question's own words, -1 if not, 0 unknown."""
        kind = self.asked.kind
        if self.asked.of_code:
            return 5 if is_answer_in_code(self.asked, sentence) else 0
        if not kind:
            return 0
        new = [word for word, s in zip(_WORD.findall(sentence), stems, strict=True) if s not in self._weights]
        left = " ".join(new)
        has = {"number": _NUMBER.search(left), "time": _TIME.search(left),
               "name": any(word[0].isupper() and word.lower() not in _COMMON for word in new)}[kind]
        return 1 if has else -1


def _common_order(asked: Sequence[str], said: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(said) + 1)
    for word in asked:
        last = 0
        for n, other in enumerate(said, 1):
            last, row[n] = row[n], last + 1 if word == other else max(row[n], row[n - 1])
    return row[-1]
