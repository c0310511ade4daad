"""From the reader's scores to words of the document: where they stand, in whole words, in one stretch of the text."""

import math
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch

from app import answers, deciding, dialogue, library, pointing, prompts
from app.aids import FAR, Aids
from app.evidence import shown
from app.home import Home
from app.passages import Passage
from model.reader import NEVER, Reader, Scores

TEXT = (
    "The mill was built by Anna Reed, a miller from Leeds, in 1823. It burned down in the winter of 1871.\n\n"
    "Its silver candle stands on the old bridge. The river is wide and cold in the U.S.\n\n"
    "Nobody lives there."
)
QUESTION = "Who built the mill on the bridge?"


@pytest.fixture
def home(pointing_home: Home) -> Home:
    """A model with a reader that may answer."""
    pointing_home.aids = Aids(2, True, fit=1.0, point=0.0)
    return pointing_home


def prepare(home: Home, folder: Path, files: dict[str, str] | None = None, **how: object) -> answers.Prepared:
    """The question about a document of these files, prepared."""
    for name, text in (files or {"mill.txt": TEXT}).items():
        (folder / name).write_text(text, "utf-8")
    id = library.add(home, [folder / name for name in files or ["mill.txt"]]).id
    return answers.prepare(home, id, QUESTION, **how)  # type: ignore[arg-type]


class Says:
    """In a reader's place: of a passage's single characters it points to some words, as strongly as it says."""

    def __init__(self, spans: tuple[tuple[str, float], ...], none: float) -> None:
        self.spans, self.none, self.asked = spans, none, list[tuple[str, str]]()

    def read(self, question: str, passage: str) -> Scores:
        """Scores of words."""
        self.asked.append((question, passage))
        values = torch.full((len(passage) + 1, 2), NEVER)
        values[-1] = self.none
        for words, score in self.spans:
            start = passage.index(words)
            values[start, 0] = values[start + len(words) - 1, 1] = score
        return Scores(values, tuple((n, n + 1) for n in range(len(passage))))


def says(home: Home, *spans: tuple[str, float], none: float = 0.0) -> Says:
    """A reader beside the model that says this."""
    reader = Says(spans, none)
    home.__dict__["reader"] = cast(Reader, reader)
    return reader


def said(home: Home, prepared: answers.Prepared) -> list[tuple[str, str]]:
    """The words and the sentences that are pointed to."""
    found = pointing.pointed(home, prepared)
    assert found is not None
    words = answers.places_of(home, prepared.document).words
    return [(words(span.words), words(span.sentence)) for span in found.spans if span.likelihood > -100]


def test_the_reader_is_given_the_evidence(home: Home, tmp_path: Path) -> None:
    prepared, reader = prepare(home, tmp_path), says(home, ("Anna Reed", 3.0))
    assert said(home, prepared) == [("Anna Reed", "The mill was built by Anna Reed, a miller from Leeds, in 1823.")]
    assert reader.asked == [(QUESTION, shown(answers.places_of(home, prepared.document), prepared.evidence))]


@pytest.mark.parametrize(("pointed_to", "words", "sentence"), [
    ("Anna Reed", "Anna Reed", "The mill was built by Anna Reed, a miller from Leeds, in 1823."),
    (" Anna Reed, ", "Anna Reed", "The mill was built by Anna Reed, a miller from Leeds, in 1823."),
    (". It burned", "It burned", "It burned down in the winter of 1871."),
    ("nna Ree", "Anna Reed", "The mill was built by Anna Reed, a miller from Leeds, in 1823."),
    ("n 182", "in 1823", "The mill was built by Anna Reed, a miller from Leeds, in 1823."),
    ("in 1823.", "in 1823", "The mill was built by Anna Reed, a miller from Leeds, in 1823."),
    ("the U.S.", "the U.S.", "The river is wide and cold in the U.S."),
    ("1823. It", "1823. It", "The mill was built by Anna Reed, a miller from Leeds, in 1823. "
                             "It burned down in the winter of 1871."),
])  # fmt: skip
def test_words_are_whole_and_bare(
    home: Home, tmp_path: Path, pointed_to: str, words: str, sentence: str
) -> None:
    prepared = prepare(home, tmp_path)
    says(home, (pointed_to, 9.0))
    assert said(home, prepared) == [(words, sentence)]


@pytest.mark.parametrize("pointed_to", [", ", "bridge. The river is wide and cold"])
def test_what_is_no_span(home: Home, tmp_path: Path, pointed_to: str) -> None:
    prepared = prepare(home, tmp_path)
    says(home, (pointed_to, 9.0))
    found = pointing.pointed(home, prepared)
    assert found is not None
    assert all(span.likelihood < -100 for span in found.spans)
    assert found.odds > 100


def test_a_span_stays_in_its_stretch_and_out_of_headers(home: Home, tmp_path: Path) -> None:
    files = {"a.txt": "Anna built the mill.", "b.txt": "The bridge is old."}
    prepared = prepare(home, tmp_path, files)
    assert len(prepared.evidence) == 2
    evidence = shown(answers.places_of(home, prepared.document), prepared.evidence)
    assert evidence.count("# File:") == 2
    middle = evidence.index("\n\n")
    header = evidence.rindex("# File:")
    ends = (middle + 5, evidence.index("\n", header) + 3)
    for words in (*(evidence[middle - 2 : end] for end in ends), ".txt", evidence[header:][:12]):
        says(home, (words, 9.0))
        assert said(home, prepared) == [], words
    says(home, ("Anna", 9.0))
    assert [words for words, _ in said(home, prepared)] == ["Anna"]


def test_probabilities_are_those_of_both_ends_over_the_evidence(home: Home, tmp_path: Path) -> None:
    prepared = prepare(home, tmp_path)
    says(home, ("Anna Reed", 3.0), ("1871", 2.0), none=1.0)
    found = pointing.pointed(home, prepared)
    assert found is not None
    total = sum(map(math.exp, (3, 2, 1)))
    places = answers.places_of(home, prepared.document)
    likely = {places.words(span.words): span.likelihood for span in found.spans}
    assert likely["Anna Reed"] == pytest.approx(2 * math.log(math.exp(3) / total), abs=1e-4)
    assert likely["1871"] == pytest.approx(2 * math.log(math.exp(2) / total), abs=1e-4)
    assert found.none == pytest.approx(2 * math.log(math.exp(1) / total), abs=1e-4)
    assert found.odds == pytest.approx(-4.0, abs=1e-4)
    assert [found.is_likely(bound) for bound in (None, likely["Anna Reed"], 0.0)] == [False, True, False]


@pytest.mark.parametrize(("second", "score", "rivals"), [
    ("1871", 2.5, ["It burned down in the winter of 1871."]), ("1871", 2.0, []), ("Leeds", 2.5, []),
])  # fmt: skip
def test_a_rival_stands_in_another_sentence_and_is_close(
    home: Home, tmp_path: Path, second: str, score: float, rivals: list[str]
) -> None:
    prepared = prepare(home, tmp_path)
    says(home, ("Anna Reed", 3.0), (second, score))
    found = pointing.pointed(home, prepared)
    assert found is not None
    assert [answers.places_of(home, prepared.document).words(rival) for rival in found.rivals(found.spans[0])] == rivals


def test_the_quote_is_a_candidate_where_one_holds_the_words(home: Home, tmp_path: Path) -> None:
    prepared = prepare(home, tmp_path)
    start = TEXT.index("It burned")
    wide = answers.Candidate(Passage(0, TEXT.index("\n\n")), 1.0, prompts.opening("wide"))
    prepared = replace(prepared, candidates=(wide,))
    says(home, ("1871", 9.0))
    assert said(home, prepared) == [("1871", TEXT[: wide.sentence.char_end])]
    narrow = replace(wide, sentence=Passage(0, start))
    assert said(home, replace(prepared, candidates=(narrow,))) == [
        ("1871", "It burned down in the winter of 1871.")
    ]


def test_only_a_reader_that_may_answer_is_asked_and_only_for_words(home: Home, tmp_path: Path) -> None:
    prepared, reader = prepare(home, tmp_path), says(home, ("Anna", 9.0))
    for question, in_words in (("Is the mill on the bridge?", True), ("Which function calls mill?", True),
                               ("Where does the story take place?", True), (QUESTION, False)):
        other = answers.prepare(home, prepared.document, question, in_words=in_words)
        assert other.evidence
        assert pointing.pointed(home, other) is None, question
    home.aids = replace(home.aids, point=None)
    assert pointing.pointed(home, prepared) is None
    assert not reader.asked


def test_without_a_reader_nothing_is_pointed_to(home: Home, tmp_path: Path) -> None:
    prepared = prepare(home, tmp_path)
    home.__dict__["reader"] = None
    assert pointing.pointed(home, prepared) is None


def test_what_a_reader_says_stands_in_its_file(home: Home, tmp_path: Path) -> None:
    prepared = prepare(home, tmp_path, {"a.txt": "Anna built the mill.", "b.txt": "The bridge is old."})
    says(home, ("bridge", 9.0))
    assert said(home, prepared) == [("bridge", "The bridge is old.")]
    says(home, ("txt", 9.0))  # of a header
    assert said(home, prepared) == []


def test_a_reader_is_told_what_a_question_leans_on(home: Home, tmp_path: Path) -> None:
    prepared = prepare(home, tmp_path)
    earlier = (dialogue.Exchange(QUESTION, "Anna Reed"),)
    later = answers.prepare(home, prepared.document, "Which miller was it, and when did it burn?", earlier)
    reader = says(home, ("Anna Reed", 3.0))
    pointing.pointed(home, later)
    assert [QUESTION in question for question, _ in reader.asked] == [True]


def refusing(home: Home, prepared: answers.Prepared, margin: float) -> answers.Prepared:
    """A question, once the model has read it and would rather refuse by so many logits."""
    logits = torch.zeros(home.engine.config.vocab_size)
    logits[home.engine.tokenizer.encode(prompts.NOT_FOUND)[0]] = margin
    return deciding.begin(home, logits, prepared)


def test_the_reader_refuses_where_no_answer_is_much_likelier(pointing_home: Home, tmp_path: Path) -> None:
    home = pointing_home
    home.aids = Aids(2, True, fit=1.0, point=0.0, refuse=-1e9)
    prepared = prepare(home, tmp_path)
    says(home, ("Anna Reed", 3.0), none=5.0)  # no answer is four nats likelier
    for bound in (None, 4.1, 3.9):
        home.aids = replace(home.aids, none=bound)
        looked = deciding.look(home, prepared)
        refused = bound == 3.9
        assert looked.whole is refused
        assert looked.asked == (0 if refused else prepared.asked)
        if not refused:
            assert refusing(home, looked, 0.0).whole is (bound is None)  # the reader has the say, or else the model
    assert (looked.opening, looked.quote, looked.pointed) == (prompts.NOT_FOUND, None, "")
    insisting = replace(prepared, insists=True)
    assert (deciding.look(home, insisting).whole, deciding.look(home, insisting).doubted) == (False, True)
    home.aids = replace(home.aids, point=-1e9)  # any words would do
    assert deciding.look(home, prepared).opening == prompts.NOT_FOUND
    assert (deciding.look(home, insisting).pointed, deciding.look(home, insisting).doubted) == ("Anna Reed", True)
    home.aids = replace(home.aids, none=4.1)
    assert (deciding.look(home, prepared).pointed, deciding.look(home, insisting).doubted) == ("Anna Reed", False)


def test_behind_a_long_document_the_reader_may_have_a_bound_of_its_own(pointing_home: Home, tmp_path: Path) -> None:
    home, long = pointing_home, TEXT + "\n\nThe river flows." * 900
    assert len(long) > FAR
    for text, refused in ((TEXT, True), (long, False)):
        home.aids = Aids(2, True, fit=1.0, point=0.0, none=3.9, none_far=4.1)
        prepared = prepare(home, tmp_path, {"text.txt": text})
        says(home, ("Anna Reed", 3.0), none=5.0)
        assert deciding.look(home, prepared).whole is refused


def test_reasons_have_a_bound_of_their_own_or_are_the_model_s_to_refuse(pointing_home: Home, tmp_path: Path) -> None:
    home = pointing_home
    home.aids = Aids(2, True, fit=1.0, point=0.0, none=3.9, refuse=1.0)
    mill = prepare(home, tmp_path)
    prepared = answers.prepare(home, mill.document, "Why did Anna Reed build the mill?")
    says(home, ("a miller", 3.0), none=5.0)
    looked = deciding.look(home, prepared)
    assert not looked.whole
    assert [refusing(home, looked, margin).whole for margin in (0.9, 1.1)] == [False, True]
    home.aids = replace(home.aids, refuse=None)
    assert not refusing(home, looked, 1e9).whole
    for bound in (4.1, 3.9):
        home.aids = replace(home.aids, none_open=bound, refuse=-1e9)
        looked = deciding.look(home, prepared)
        assert looked.whole is (bound == 3.9)
        assert looked.whole or not refusing(home, looked, 0.0).whole  # the reader has the say
