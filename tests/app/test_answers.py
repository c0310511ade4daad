"""The two steps around the model, without a model in between."""

from pathlib import Path

import pytest

from app import answers, library, prompts, reading
from app.aids import Aids
from app.dialogue import question_ids
from app.home import Home
from model.sampling import Sampling

READ = reading.ReadResult("", "", tokens=90, tokens_read=20, tokens_reused=70, reason="why", seconds=1.0,
                          state_bytes=1, skipped=())


@pytest.fixture
def document(home: Home, book: Path) -> str:
    """A document that has not been read."""
    return library.add(home, [book]).id


def test_what_is_prepared_is_what_the_dialogue_reads(home: Home, document: str) -> None:
    prepared = answers.prepare(home, document, "Who?", sampling=Sampling(seed=3))
    assert list(prepared.ids) == question_ids(home.engine, (), "Who?")
    assert (prepared.opening, prepared.whole, prepared.sampling.seed) == ("", False, 3)


def test_a_reply_becomes_an_answer_with_what_it_took(home: Home, document: str) -> None:
    prepared = answers.prepare(home, document, "Who?", sampling=Sampling(temperature=0.5, seed=3))
    line = home.documents.text(document).splitlines()[7]
    generation = answers.Generation(f'Quote: "{line}"\nAnswer: a mill', 12, 0.5, 0.75, stopped=True)
    answer = answers.finish(home, prepared, READ, generation, conversation=4)
    assert (answer.answer, answer.found, answer.question, answer.conversation) == ("a mill", True, "Who?", 4)
    (citation,) = answer.citations
    assert citation.verified
    assert citation.place is not None
    assert citation.place.line_start == 8
    assert (answer.tokens_reused, answer.tokens_read, answer.reason) == (70, 20 + len(prepared.ids), "why")
    assert (answer.seconds_to_first_token, answer.seconds, answer.tokens_generated) == (0.5, 0.75, 12)
    assert answer.stopped
    assert answer.settings == {"temperature": 0.5, "top_p": 1.0, "seed": 3, "max_tokens": 256}
    assert answer.model == home.engine.fingerprint


def test_an_opening_is_part_of_the_reply(home: Home, document: str) -> None:
    line = home.documents.text(document).splitlines()[7]
    prepared = answers.Prepared(document, "Who?", (1, 2), opening=f'Quote: "{line}"\nAnswer:')
    answer = answers.finish(home, prepared, READ, answers.Generation(" a mill", 3, 0.1, 0.2))
    assert (answer.answer, answer.citations[0].quote, answer.tokens_generated) == ("a mill", line, 3)


CLERK = """def weigh(sack):
    kilos = sack.kilos()
    return kilos


def receive(sack):
    total = weigh(sack)
"""


@pytest.fixture
def code(home: Home, tmp_path: Path) -> str:
    """A folder of code, with a model that has its quotes chosen."""
    home.aids = Aids(1, True)
    folder = tmp_path / "mill"
    folder.mkdir()
    long = "def sell(sack):\n" + "    price = 1\n" * 30 + "    refuse_sack(sack)\n"
    for name, text in (("clerk.py", CLERK), ("shop.py", long), ("gate.py", "def refuse_sack(sack):\n    return 0\n")):
        (folder / name).write_text(text, "utf-8")
    return library.add(home, [folder]).id


@pytest.mark.parametrize(
    ("question", "answer"),
    [("In which file is weigh defined?", "clerk.py"), ("Which file calls refuse_sack?", "shop.py"),
     ("Which function calls weigh?", "receive"), ("Who calls refuse_sack?", "sell"),
     ("In which function is refuse_sack called?", "sell"), ("What function is refuse_sack called in?", "sell"),
     ("How many files define weigh?", ""), ("Is weigh defined in the file clerk.py?", ""),
     ("Is the file where weigh is defined clerk.py?", ""), ("Which function does receive call?", ""),
     ("How is weigh defined?", ""), ("Where is the sack?", "")],
)  # fmt: skip
def test_where_a_name_is_asked_for_it_is_that_of_the_line_s_place(
    home: Home, code: str, question: str, answer: str
) -> None:
    assert answers.prepare(home, code, question).candidates[0].answer == answer
    other_form = answers.prepare(home, code, question, in_words=False)  # a report's list, say
    assert {candidate.answer for candidate in other_form.candidates} == {""}


@pytest.mark.parametrize(
    ("question", "quoted", "shown"),
    [
        (
            "Which function calls weigh?",
            "def receive(sack):\n    total = weigh(sack)",
            "def receive(sack): total = weigh(sack)",
        ),
        ("Which function calls refuse_sack?", "refuse_sack(sack)", "def sell(sack): … refuse_sack(sack)"),
        ("In which file is weigh defined?", "def weigh(sack):", "# File: clerk.py … def weigh(sack):"),
        ("How is weigh defined?", "def weigh(sack):", "def weigh(sack):"),
    ],
)
def test_a_line_of_code_is_quoted_with_what_it_stands_in(
    home: Home, code: str, question: str, quoted: str, shown: str
) -> None:
    prepared = answers.prepare(home, code, question)
    assert prepared.quote is not None
    assert answers.places_of(home, code).words(prepared.quote) == quoted
    assert prepared.opening == prompts.opening(shown)
    assert all(candidate.sentence for candidate in prepared.candidates)
