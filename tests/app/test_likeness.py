"""Quotes that are nearly in the text, and those that say something else."""

import pytest

from app.likeness import alike
from app.passages import Passage

TEXT = (
    "It was raining. The old mill at Corbel was built by Anna Reed in 1817, and it did not burn down until the winter "
    "of the great flood. Herons stood in the river."
)
SENTENCE = "The old mill at Corbel was built by Anna Reed in 1817"
EVERYWHERE = Passage(0, len(TEXT))


@pytest.mark.parametrize(
    "quote",
    [
        "The old mill at Corbel was bult by Anna Reed in 1817",
        "The old mill of Corbel was built by Anna Reed in 1817",
        "the old mill at corbel, was built by Anna Reed  in 1817.",
        "The mill at Corbel was built by Anna Reed in 1817",
    ],
)
def test_a_few_letters_off_is_the_documents_sentence(quote: str) -> None:
    span = alike(quote, TEXT, EVERYWHERE)
    assert span is not None
    assert SENTENCE.endswith(TEXT[slice(*span)])
    assert span[1] - span[0] > 0.9 * len(SENTENCE)


@pytest.mark.parametrize(
    "quote",
    [
        "The old mill at Corbel was built by Anna Reed in 1871",  # another number
        "it did burn down until the winter of the great flood",  # a denial lost
        "The old mill at Corbel was sold by Anton Weed in 1817",  # other people, other deeds
        "The new castle at Dunmore was burnt by John Smith in 1817",
        "Once upon a time there lived a king who had three sons and no daughter",
        TEXT + " " + TEXT,
    ],
)
def test_what_says_something_else_is_not(quote: str) -> None:
    assert alike(quote, TEXT, EVERYWHERE) is None


def test_only_the_neighbourhood_is_looked_at() -> None:
    text = TEXT + " nothing here" * 100
    far = Passage(len(text) - 20, len(text))
    assert alike(SENTENCE.replace("built", "bult"), text, far) is None
