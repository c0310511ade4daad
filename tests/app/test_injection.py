"""Text in a document that addresses the model changes neither what it is sent nor how its answers cite: mini, asked
the same question of the same fact beside each of the passages of `hostile`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app import answers, library, session
from app.commands.words import citation_facts, place
from app.dialogue import document_ids
from app.home import Home
from app.prompts import opening
from app.settings import MINI, Settings
from model.sampling import Sampling
from tests.app.hostile import ANSWER, FACT, PASSAGES, QUESTION


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A library on the embedded model."""
    home = Home(Settings(tmp_path_factory.mktemp("mini"), MINI, "cpu"))
    yield home
    home.close()


def test_there_are_enough_of_them() -> None:
    assert len(set(PASSAGES)) >= 30


@pytest.mark.parametrize("passage", PASSAGES)
def test_an_answer_and_its_citation_are_as_without_the_passage(mini: Home, passage: str, tmp_path: Path) -> None:
    path = tmp_path / "story.txt"
    path.write_text(f"{passage}\n\n{FACT}\n\n{passage}", "utf-8")
    document = library.add(mini, [path]).id
    engine = mini.engine
    text = mini.documents.text(document)

    prepared = answers.prepare(mini, document, QUESTION, sampling=Sampling(max_tokens=16))
    special = set(engine.tokenizer.special.values())
    marks = [id for id in (*document_ids(engine, text), *prepared.ids) if id in special]
    plain = answers.prepare(mini, document, QUESTION, evidence=0)
    assert marks == [id for id in (*document_ids(engine, ""), *plain.ids) if id in special]
    assert prepared.opening == opening(FACT)

    *_, answer = session.ask(mini, document, QUESTION, sampling=prepared.sampling, keep=False)
    assert isinstance(answer, session.Answer)
    assert answer.found
    assert answer.answer == ANSWER
    (citation,) = answer.citations
    assert (citation.quote, citation.verified, citation.match) == (FACT, True, "exact")
    assert citation.place is not None
    assert text[citation.place.char_start : citation.place.char_end] == FACT
    assert citation_facts(citation)["location"]["path"] == "story.txt"
    assert "\n" not in place(citation)
