"""Which sentence is quoted: what fits the question, what the model finds likely, and whether it would rather refuse."""

from dataclasses import replace
from pathlib import Path

import pytest

from app import answers, deciding, library, prompts, reading, session, spans
from app import pointing as app_pointing
from app.aids import Aids
from app.home import Home
from app.reports.generate import generate
from model.sampling import Sampling
from model.state import ModelState

SHORT = Sampling(max_tokens=8)
QUESTION = "Where is the silver candle?"


@pytest.fixture
def document(home: Home, book: Path) -> str:
    """A document that has been read."""
    added = library.add(home, [book])
    reading.read(home, added.id)
    return added.id


def decide(home: Home, document: str, aids: Aids) -> tuple[answers.Prepared, ModelState, answers.Prepared, int]:
    """What was prepared, the state that decided, what it decided, and how many ids that state has read."""
    home.aids = aids
    _, state = reading.read_state(home, document)
    prepared = answers.prepare(home, document, QUESTION)
    return prepared, *deciding.decide(home, state, prepared)


def test_without_a_weight_the_words_alone_decide(home: Home, document: str) -> None:
    prepared, _, decided, read = decide(home, document, Aids(2, True))
    assert decided is prepared
    assert read == 0
    assert prepared.quote == prepared.candidates[0].sentence
    fits = [candidate.fit for candidate in prepared.candidates]
    assert fits == sorted(fits, reverse=True)
    assert len({candidate.opening for candidate in prepared.candidates}) == len(fits) > 3


def test_a_heavy_weight_leaves_the_choice_to_the_words(home: Home, document: str) -> None:
    prepared, _, decided, _ = decide(home, document, Aids(2, True, fit=1e6))
    best = {one.sentence: one.opening for one in prepared.candidates if one.fit == prepared.candidates[0].fit}
    assert prepared.quote in best
    assert 0 < len(best) < len(prepared.candidates)
    assert decided.opening == best.get(decided.quote)


def test_without_any_weight_the_likeliest_beginning_is_quoted(home: Home, document: str) -> None:
    prepared, state, decided, read = decide(home, document, Aids(2, True, fit=0.0))
    engine = home.engine
    before = reading.read_state(home, document)[1]
    openings = [engine.tokenizer.encode(candidate.opening) for candidate in prepared.candidates]
    shared, beginnings = deciding.told_apart(openings)
    assert state.tokens - before.tokens == read == prepared.asked + shared
    likely = {}
    for candidate, ids, beginning in zip(prepared.candidates, openings, beginnings, strict=True):
        total = 0.0
        after, logits = engine.next_logits(before, prepared.ids[: prepared.asked])
        for token in ids[: shared + len(beginning)]:
            total += float(logits.log_softmax(-1)[token])
            after, logits = engine.next_logits(after, [token])
        likely[candidate.opening] = total
    assert decided.opening == max(likely, key=lambda opening: likely[opening])
    assert decided.opening.startswith(prompts.QUOTE_PREFIX)
    assert home.engine.tokenizer.decode(list(decided.ids[decided.asked :])) == decided.opening


@pytest.mark.parametrize(("sure", "offered"), [(None, 0), (0.0, 0), (1e9, 2)])
def test_beside_a_close_choice_the_next_candidates_are_offered(
    home: Home, document: str, sure: float | None, offered: int
) -> None:
    prepared, _, decided, _ = decide(home, document, Aids(2, True, fit=1.0, sure=sure))
    assert len(decided.rivals) == offered
    assert decided.quote not in decided.rivals
    assert {*decided.rivals} <= {candidate.sentence for candidate in prepared.candidates}
    *_, answer = session.ask(home, document, QUESTION, sampling=SHORT)
    assert isinstance(answer, session.Answer)
    text = home.documents.text(document)
    assert [near.quote for near in answer.nearest] == [text[r.char_start : r.char_end] for r in decided.rivals]


def test_the_nearest_rival_comes_first(home: Home, document: str) -> None:
    prepared, _, decided, _ = decide(home, document, Aids(2, True, fit=1e6, sure=1e12))
    fits = {candidate.sentence: candidate.fit for candidate in prepared.candidates}
    ranked = [fits[sentence] for sentence in (decided.quote, *decided.rivals) if sentence]
    assert ranked == sorted(fits.values(), reverse=True)[:3]


@pytest.mark.parametrize(("refuse", "refused"), [(-1e9, True), (1e9, False)])
def test_what_the_model_would_rather_not_answer_is_refused(
    home: Home, document: str, refuse: float, refused: bool
) -> None:
    home.aids = Aids(2, True, fit=1.0, refuse=refuse)
    *pieces, answer = session.ask(home, document, QUESTION, sampling=SHORT)
    assert isinstance(answer, session.Answer)
    assert "".join(map(str, pieces)) == answer.raw
    assert answer.found != refused
    assert bool(answer.nearest) == refused
    assert (answer.tokens_generated == 0) == refused


@pytest.mark.parametrize(("question", "refuse", "doubted", "whole"), [
    ("Where does the story take place?", -1e9, True, False),
    ("Where does the story take place?", 1e9, False, False),
    (QUESTION, -1e9, False, True),
])  # fmt: skip
def test_who_insists_gets_what_the_model_doubts_about_the_whole_text(
    home: Home, document: str, question: str, refuse: float, doubted: bool, whole: bool
) -> None:
    home.aids = Aids(2, True, fit=1.0, refuse=refuse)
    _, state = reading.read_state(home, document)
    prepared = answers.prepare(home, document, question, insists=True)
    _, decided, _ = deciding.decide(home, state, prepared)
    assert (decided.doubted, decided.whole) == (doubted, whole)
    assert (decided.quote is None) == whole


def test_what_is_left_to_read_leads_where_reading_all_does(home: Home, document: str) -> None:
    _, state, decided, read = decide(home, document, Aids(2, True, fit=1e6))
    _, at_once = home.engine.next_logits(reading.read_state(home, document)[1], decided.ids)
    _, in_two = home.engine.next_logits(state, decided.ids[read:])
    assert (in_two - at_once).norm() < 0.02 * at_once.norm()  # bfloat16, in other groups of tokens


def test_a_conversation_goes_on_after_a_decision(home: Home, document: str) -> None:
    home.aids = Aids(2, True, fit=1.0)
    *_, first = session.ask(home, document, QUESTION, sampling=SHORT)
    assert isinstance(first, session.Answer)
    *_, second = session.ask(home, document, "Where is the mill?", first.conversation, SHORT)
    assert isinstance(second, session.Answer)
    assert second.reason == session.KEPT
    assert home.kept.find(first.conversation, 4) is not None


@pytest.mark.parametrize(("openings", "shared", "beginnings"), [
    ([[1, 2, 3, 4], [1, 2, 5], [1, 2, 3, 6, 7]], 2, [[3, 4], [5], [3, 6]]),
    ([[1, 2, 3]], 2, [[3]]),
    ([[1, 2], [3, 4]], 0, [[1], [3]]),
])  # fmt: skip
def test_openings_are_told_apart_as_early_as_they_can_be(
    openings: list[list[int]], shared: int, beginnings: list[list[int]]
) -> None:
    assert deciding.told_apart(openings) == (shared, beginnings)


POINTING = Aids(2, True, fit=1.0, point=-1e9)


@pytest.fixture
def pointing(pointing_home: Home, book: Path) -> tuple[Home, str]:
    """A model that points and is always sure, and a document that has been read."""
    pointing_home.aids = POINTING
    added = library.add(pointing_home, [book])
    reading.read(pointing_home, added.id)
    return pointing_home, added.id


def ask(home: Home, document: str, question: str = QUESTION, conversation: int | None = None) -> session.Answer:
    """The answer, of which all text came as it is."""
    *pieces, answer = session.ask(home, document, question, conversation, SHORT)
    assert isinstance(answer, session.Answer)
    assert "".join(map(str, pieces)) == answer.raw
    return answer


def test_words_that_the_model_points_to_are_the_whole_reply(pointing: tuple[Home, str]) -> None:
    home, document = pointing
    answer = ask(home, document)
    text, (citation,) = home.documents.text(document), answer.citations
    assert citation.verified
    assert citation.place is not None
    assert text[citation.place.char_start : citation.place.char_end] == citation.quote
    assert answer.answer in " ".join(citation.quote.split())
    assert answer.raw == prompts.reply(" ".join(citation.quote.split()), answer.answer)
    assert (answer.pointed, answer.found, answer.tokens_generated, answer.doubted) == (True, True, 0, False)
    assert answer.sentences[0].citations == (1,)
    assert home.conversations.get(answer.conversation).messages[1].facts["pointed"] is True


def pointed_to(home: Home, document: str) -> tuple[answers.Prepared, spans.Pointed]:
    """The question, prepared, and what the reader says of it."""
    prepared = answers.prepare(home, document, QUESTION)
    found = app_pointing.pointed(home, prepared)
    assert found is not None
    return prepared, found


def test_what_it_points_to_is_what_its_scores_say(pointing: tuple[Home, str]) -> None:
    home, document = pointing
    _, found = pointed_to(home, document)
    answer, text = ask(home, document), home.documents.text(document)
    best = found.spans[0].words
    assert answer.answer == " ".join(text[best.char_start : best.char_end].split())


def test_what_it_is_not_sure_of_is_written_as_ever(pointing: tuple[Home, str]) -> None:
    home, document = pointing
    replies = []
    for point in (None, 0.0):
        home.aids = replace(POINTING, point=point)
        replies.append(ask(home, document))
    assert replies[0].raw == replies[1].raw
    assert replies[0].tokens_generated == replies[1].tokens_generated > 0
    assert not any(reply.pointed for reply in replies)


@pytest.mark.parametrize(("point", "found"), [(0.0, False), (-1e9, True)])
def test_words_that_are_sure_answer_though_the_model_would_rather_refuse(
    pointing: tuple[Home, str], point: float, found: bool
) -> None:
    home, document = pointing
    home.aids = replace(POINTING, refuse=-1e9, point=point)
    answer = ask(home, document)
    assert (answer.found, answer.pointed) == (found, found)


def test_the_file_of_a_line_is_the_whole_answer(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    for name in ("mill", "shop", "gate"):
        (folder / f"{name}.py").write_text(f"def open_{name}(key):\n    return key + 1\n", "utf-8")
    document = library.add(home, [folder]).id
    home.aids = Aids(2, True, fit=1.0)
    answer = ask(home, document, "In which file is open_shop defined?")
    assert (answer.answer, answer.found, answer.tokens_generated) == ("shop.py", True, 0)
    assert [citation.quote for citation in answer.citations] == ["def open_shop(key):"]
    assert answer.raw == prompts.reply("# File: shop.py … def open_shop(key):", "shop.py")
    (done,) = generate(home, reading.read_state(home, document)[1], [
        answers.prepare(home, document, "In which file is open_gate defined?")], lambda: False)
    assert (done[1].pointed, done[1].whole, done[2].tokens) == ("gate.py", True, 0)


@pytest.mark.parametrize("far", [-1e9, 1e9])
def test_behind_a_long_document_another_margin_counts(
    home: Home, document: str, monkeypatch: pytest.MonkeyPatch, far: float
) -> None:
    home.aids = Aids(2, True, fit=1.0, refuse=-far, refuse_far=far)
    size = len(home.documents.text(document))
    for limit, refused in ((size, far > 0), (size - 1, far < 0)):
        monkeypatch.setattr("app.aids.FAR", limit)
        *_, answer = session.ask(home, document, QUESTION, sampling=SHORT, keep=False)
        assert isinstance(answer, session.Answer)
        assert answer.found != refused


@pytest.mark.parametrize(("aids", "found"), [
    (replace(POINTING, none=1e9), True), (replace(POINTING, none=-1e9), False), (POINTING, False),
    (replace(POINTING, point=None, none=1e9), False), (replace(POINTING, none=-1e9, none_far=1e9), False)])
def test_a_foreign_question_is_the_reader_s_to_refuse_where_it_has_a_say(
    pointing: tuple[Home, str], monkeypatch: pytest.MonkeyPatch, aids: Aids, found: bool
) -> None:
    monkeypatch.setattr("app.aids.FAR", 0)
    home, document = pointing
    home.aids = aids
    question = "Which conductor rehearsed Mahler's symphony by candle light?"
    prepared = answers.prepare(home, document, question)
    assert prepared.foreign
    assert prepared.candidates
    answer = ask(home, document, question)
    assert (answer.found, answer.pointed, answer.tokens_generated) == (found, found, 0)
    (done,) = generate(home, reading.read_state(home, document)[1], [prepared], lambda: False)
    assert (done[1].whole, bool(done[1].pointed)) == (True, found)


@pytest.mark.parametrize(("sure", "close", "offered"), [(0.0, 1e9, 1), (0.0, 0.0, 0), (None, 1e9, 0)])
def test_beside_words_a_close_sentence_is_offered(
    pointing: tuple[Home, str], monkeypatch: pytest.MonkeyPatch, sure: float | None, close: float, offered: int
) -> None:
    monkeypatch.setattr(spans, "CLOSE", close)
    home, document = pointing
    home.aids = replace(POINTING, sure=sure)
    answer = ask(home, document)
    assert len(answer.nearest) == offered
    assert {near.quote for near in answer.nearest}.isdisjoint({citation.quote for citation in answer.citations})


@pytest.mark.parametrize(("bound", "found"), [(1e9, True), (None, False)])
def test_where_the_reader_had_its_say_the_model_writes_as_it_goes_and_may_not_refuse(
    pointing: tuple[Home, str], bound: float | None, found: bool
) -> None:
    home, document = pointing
    home.aids = replace(POINTING, point=0.0, refuse=-1e9, none=bound)
    first, *rest, answer = session.ask(home, document, QUESTION, sampling=SHORT)
    assert isinstance(answer, session.Answer)
    assert (answer.found, answer.pointed) == (found, False)
    assert str(first).startswith(prompts.QUOTE_PREFIX) == bool(rest) == found
    prepared = answers.prepare(home, document, QUESTION, sampling=SHORT)
    (done,) = generate(home, reading.read_state(home, document)[1], [prepared], lambda: False)
    assert (done[1].whole, done[2].tokens > 0) == (not found, found)


def test_a_conversation_goes_on_after_words_that_were_pointed_to(pointing: tuple[Home, str]) -> None:
    home, document = pointing
    first = ask(home, document)
    kept = home.kept.find(first.conversation, 2)
    assert kept is not None
    assert kept.left
    assert kept.state is None
    prepared = answers.prepare(home, document, QUESTION)
    whole = (*prepared.ids[: prepared.asked], *home.engine.tokenizer.encode(first.raw))
    assert whole == kept.left
    assert ask(home, document, "Where is the mill?", first.conversation).reason == session.KEPT
