"""Questions over several documents: every document's own answer, and one with the quotes of all."""

from dataclasses import replace
from pathlib import Path

from app import library, several
from app.citations import Citation
from app.home import Home
from app.passages import Place
from app.session import Answer
from model.sampling import Sampling


def test_each_document_answers_and_the_answers_are_put_together(home: Home, tmp_path: Path) -> None:
    ids = []
    for name, text in (("mill", "The mill is old."), ("river", "The river is wide.")):
        path = tmp_path / f"{name}.txt"
        path.write_text(text, "utf-8")
        ids.append(library.add(home, [path]).id)
    *each, composed = several.ask(home, [*ids, ids[0]], "What is old?", Sampling(max_tokens=4))
    assert isinstance(composed, several.Composed)
    assert [answer.document for answer in composed.answers] == ids
    assert composed.answers == tuple(each)
    assert [len(home.conversations.list(id)) for id in ids] == [1, 1]

    answer = composed.answers[0]
    assert isinstance(answer, Answer)
    place = Place("mill.txt", None, 1, 1, 0, 16)
    good, bad = Citation("The mill is old.", True, place, "exact"), Citation("never said", False, None)
    one = replace(answer, answer="the mill", found=True, citations=(good, bad))
    two = replace(composed.answers[1], answer="The document does not say.", found=False, citations=())
    three = replace(one, document=ids[1], citations=(good,))
    made = several.compose(home, [one, two, three])
    assert made.answer.splitlines() == ["mill: the mill [1]", "river: the mill [3]", "Not answered by: river"]
    assert made.found
    assert [cited.title for cited in made.citations] == ["mill", "mill", "river"]
    assert not several.compose(home, [two]).found
