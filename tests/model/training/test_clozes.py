"""Clozes ask for a span of a sentence by its other words, and never give the answer away."""

import random

import pytest

from model.training import clozes
from model.training.quotes import words

SENTENCES = (
    "The lighthouse at Cape Wrath was built in 1828 by Robert Stevenson for the northern ships.",
    "In the winter of that year about 340 people left the valley and walked to Inverness.",
    "A compiler translates source text into instructions which the processor understands.",
)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_cloze_is_about_its_sentence(sentence: str) -> None:
    made = [clozes.make(sentence, random.Random(n)) for n in range(60)]
    questions = [cloze for cloze in made if cloze]
    assert len(questions) > 20
    assert len({cloze.question for cloze in questions}) > 15
    for cloze in questions:
        assert cloze.answer in cloze.quote
        assert cloze.quote in sentence
        assert cloze.answer not in cloze.question
        assert len(words(cloze.question) & words(sentence)) >= 2


def test_names_and_numbers_are_asked_for_more_than_words() -> None:
    answers = [c.answer for n in range(200) if (c := clozes.make(SENTENCES[0], random.Random(n)))]
    known = [answer for answer in answers if answer in ("Cape Wrath", "1828", "Robert Stevenson")]
    assert len(known) > len(answers) / 2


def test_numbers_are_asked_for_by_their_kind() -> None:
    made = [c for n in range(300) if (c := clozes.make(SENTENCES[0], random.Random(n))) and c.answer == "1828"]
    asked = [c.question for c in made if c.question.endswith("?")]
    assert any("when" in question.lower() for question in asked)
    assert not any(question.lower().startswith("who ") for question in asked)


def test_a_sentence_without_a_span_gives_none() -> None:
    assert clozes.make("It is so as it was.", random.Random(0)) is None


def test_a_question_may_lose_all_its_words() -> None:
    for n in range(4000):
        clozes.make("... 1828 ... !? (and) [so] it is: the of a in 1828x", random.Random(n))


def test_usable_sentences_have_a_fair_length() -> None:
    text = "Short. " + SENTENCES[0] + " " + SENTENCES[0] + " " + "word " * 200 + "."
    assert clozes.usable(text) == [SENTENCES[0]]
