"""Questions by a copy of the teacher: which are fair, what the reader has to find, what is kept and drawn from."""

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from model.training import writing
from model.training.data import plain_tokenizer, rows
from model.training.drawing import Builder
from model.training.passages import Ask, Run
from model.training.pools import FILES, Pools
from model.training.reader import Read
from model.training.teacher import Teacher
from tests.model.training.test_reader import small, tokenizer_file
from tests.model.training.test_tasks import FORM, TEXT, corpus

MINI = Path(__file__).parents[3] / "model" / "mini" / "tokenizer.json"
TOKENIZER = plain_tokenizer(MINI)
ALTERED = TEXT.replace("Anne Clegg", "Mary Orr")
NEAR = "The mill at Leeds was built by Jane Pratt when Harrow had a mill already."
ASKED = {
    "When was the mill at Harrow built?": Ask("mill", TEXT, "1821", TEXT),
    "What did the mill at Harrow grind?": Ask("mill", TEXT, "oats", TEXT),
    "When did Mary Orr build the mill?": Ask("mill", ALTERED, "1821", TEXT, "Mary Orr"),
    "Who else owned the mill at Harrow?": Ask("mill", TEXT, "Jane Pratt", TEXT, holds=False),
    "no question": Ask("mill", NEAR, "Jane Pratt", NEAR),
}


def checks(folder: Path) -> writing.Checks:
    """The checks of what was asked."""
    written = [TOKENIZER.encode(question).ids for question in ASKED]
    made = writing.checks(list(ASKED.values()), written, 1, writing.Words(MINI, tokenizer_file(folder)))
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("question", "fair"),
    [
        ("Who built the mill at Harrow?", True),
        ("Who built the mill at Harrow", False),
        ("Who built it?", False),
        ("Who did he see there then?", False),
        ("Was the mill at Harrow built by Anne Clegg?", False),
    ],
)
def test_a_question_is_fair_if_it_can_be_asked_of_a_book(question: str, fair: bool) -> None:
    assert writing.is_fair(question, Ask("mill", TEXT, "Anne Clegg", TEXT)) is fair


def test_each_kind_of_question_is_put_to_its_passages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "NEIGHBOURS", 1)
    made = checks(tmp_path).checks
    assert [(check.question, check.passage, check.kind, check.after) for check in made] == [
        ("When was the mill at Harrow built?", TEXT, "asked", -1),
        ("When was the mill at Harrow built?", NEAR, "neighbour", 0),
        ("What did the mill at Harrow grind?", TEXT, "asked", -1),
        ("What did the mill at Harrow grind?", NEAR, "neighbour", 2),
        ("When did Mary Orr build the mill?", ALTERED, "altered", -1),
        ("When did Mary Orr build the mill?", TEXT, "original", 4),
        ("Who else owned the mill at Harrow?", TEXT, "foreign", -1),
    ]
    monkeypatch.setattr(writing, "NEIGHBOURS", 0)
    found = checks(tmp_path)
    assert len(found.checks) == len(found.pairs.lengths) == 5
    questions = [TOKENIZER.encode("no question").ids]
    assert writing.checks([ASKED["no question"]], questions, 1, writing.Words(MINI, tokenizer_file(tmp_path))) is None


def test_kept_is_what_the_reader_finds_as_asked_or_surely_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "NEIGHBOURS", 0)
    found = checks(tmp_path)

    def said(sure: dict[str, float], span: str) -> list[Read]:
        at = [check.passage.find(span) for check in found.checks]
        return [Read(a, a + len(span), sure["yes" if c.answerable else "no"])
                for a, c in zip(at, found.checks, strict=True)]

    kept = list(writing.judged(found, said({"yes": 5.0, "no": -9.0}, "in 1821")))
    year = {"question": "When was the mill at Harrow built?", "context": TEXT, "answers": ["in 1821"], "doc": "mill",
            "unanswerable": False, "qtype": "asked"}
    none: dict[str, Any] = {"answers": [], "unanswerable": True}
    assert kept == [
        year,  # of "oats" it says something else
        year | {"question": "When did Mary Orr build the mill?", "context": ALTERED, "doc": "mill, altered",
                "qtype": "altered"},
        year | {"question": "When did Mary Orr build the mill?", "qtype": "original"} | none,
        year | {"question": "Who else owned the mill at Harrow?", "qtype": "foreign"} | none,
    ]
    monkeypatch.setattr(writing, "agree", lambda *_: True)
    for span, count in (("not wheat!", 3), ("wheat! Her son", 0)):  # of two sentences
        rows_of = writing.judged(found, said({"yes": 5.0, "no": 9.0}, span))
        assert sum(bool(row["answers"]) for row in rows_of) == count
    monkeypatch.undo()
    unsure = list(writing.judged(found, said({"yes": -1.0, "no": -9.0}, "1821")))
    assert [row["question"] for row in unsure] == ["Who else owned the mill at Harrow?"]  # others: the first fails
    assert not any(row["unanswerable"] for row in writing.judged(found, said({"yes": 5.0, "no": -1.0}, "1821")))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("1821", "in 1821", True), ("the Anne Clegg", "Anne Clegg", True), ("oats", "wheat", False),
     ("Clegg", "Mrs Anne Clegg", True), ("Anne", "Anne Clegg of Harrow", False)],
)  # fmt: skip
def test_spans_agree_if_they_are_about_the_same_words(one: str, other: str, same: bool) -> None:
    assert writing.agree(one, other) is writing.agree(other, one) is same


def test_it_asks_and_reads_until_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Teacher(layers=1)
    for name, p in model.named_parameters():
        p.data.fill_(1.0) if "norm" in name else p.data.normal_(0, 0.05)
    reads = []

    def read(_: Any, pairs: Any) -> list[Read]:
        reads.append(len(pairs.lengths))
        return [Read(0, 8, 5.0)] * len(pairs.lengths)

    def continued(_: Any, prompts: list[Any], *__: Any) -> list[list[int]]:
        return [TOKENIZER.encode("When was the mill at Harrow built?").ids for _ in prompts]

    monkeypatch.setattr(writing.reading, "read", read)
    monkeypatch.setattr(writing.Continuer, "__call__", continued)
    monkeypatch.setattr(writing, "agree", lambda *_: True)
    texts = itertools.cycle([Run("mill", (TEXT, NEAR))])
    files = writing.Words(MINI, tokenizer_file(tmp_path))
    with ThreadPoolExecutor(1) as pool:
        found = list(writing.write(model, small(), texts, files, pool, 1, 1e-9, 4, together=3))
    assert len(reads) == 1
    assert 0 < len(found) <= reads[0]
    named = list(writing.named(iter(found), 7))
    assert 0 < len(named) < len(found)  # the same question about the same passage again
    assert [row["id"] for row in named] == [f"written-7-{n}" for n in range(1, len(named) + 1)]


def test_drawing_gives_a_prompt_for_every_ask(tmp_path: Path) -> None:
    sheet = writing.draw([Run("mill", (TEXT, NEAR))], 3, writing.Words(MINI, tokenizer_file(tmp_path)))
    assert len(sheet.asks) == len(sheet.prompts) > 2
    for ask, ids in zip(sheet.asks, sheet.prompts, strict=True):
        said = TOKENIZER.decode(ids, skip_special_tokens=False)
        assert said.startswith(f"<|im_start|>user\n{ask.told}\n\nWrite a question that is answered by: {ask.answer}")


ROW = {"id": "written-1", "doc": "Clegg", "context": "Anne Clegg had a blue coat.", "unanswerable": False,
       "question": "What colour was the coat of Anne Clegg?", "answers": ["blue"], "qtype": "asked"}
REFUSED = ROW | {"id": "written-2", "question": "What colour was the hat of Anne Clegg?", "answers": [],
                 "unanswerable": True, "qtype": "foreign"}


def test_files_hold_so_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FILE_ROWS", 2)
    some = [ROW | {"id": str(n)} for n in range(3)]
    none = dict.fromkeys(writing.KINDS, 0)
    assert writing.save(iter([*some, REFUSED]), tmp_path, 5) == none | {"asked": 3, "foreign": 1}
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["qa-written-5-0.jsonl.zst", "qa-written-5-1.jsonl.zst"]
    assert [row for file in files for row in rows(file)] == [*some, REFUSED]
    assert writing.save(iter([]), tmp_path, 6) == none


def test_written_questions_are_drawn_from_and_refused(tmp_path: Path) -> None:
    folder = corpus(tmp_path)
    writing.save(iter([ROW, REFUSED]), tmp_path, 1)
    builder = Builder(folder, FORM, seed=1, written=[tmp_path / "qa-written-1-0.jsonl.zst"])
    turns = [turn for _ in range(150) for turn in builder.draw().turns]
    said = {source: {turn.reply for turn in turns if turn.source == source} for source in ("written-1", "written-2")}
    assert said["written-2"] == {FORM.not_found}
    answers = said["written-1"] - {FORM.not_found}  # near misses of it are refused
    assert answers
    assert all(answer.endswith("blue") for answer in answers)
    pairs = [both for _ in range(300) if len(both := builder.evidence.of_row(ROW, [ROW["context"]])) == 2]
    hard = [both for both in pairs if REFUSED["question"] in {turn.question for turn in both}]
    assert hard
    assert all({turn.shown for turn in both} == {ROW["context"]} for both in hard)


def test_written_questions_take_their_share_from_all_but_fairy_tales(tmp_path: Path) -> None:
    folder = corpus(tmp_path)
    writing.save(iter([ROW]), tmp_path, 1)
    pools = Pools(folder, random.Random(1), written=[tmp_path / "qa-written-1-0.jsonl.zst"], share=0.4)
    assert sum(pools.shares.values()) == pytest.approx(1)
    assert pools.shares["qa-written"] == 0.4
    assert pools.shares["qa-fairytale"] == FILES["qa-fairytale"]
    assert pools.shares["qa-misc"] < FILES["qa-misc"]
    assert Pools(folder, random.Random(1)).shares == FILES


def test_passages_that_have_both_kinds_of_questions_come_more_often(tmp_path: Path) -> None:
    some = [ROW | {"context": f"Anne Clegg had {n} blue coats."} for n in range(40)]
    writing.save(iter([*some, ROW, REFUSED]), tmp_path, 1)
    pools = Pools(corpus(tmp_path), random.Random(1), written=[tmp_path / "qa-written-1-0.jsonl.zst"])
    drawn = [context for _ in range(3000) if "Clegg had" in (context := pools.context())]
    assert 0.3 < drawn.count(ROW["context"]) / len(drawn) < 0.5
    assert len(set(drawn)) == 41


def test_a_question_file_s_own_passage_keeps_its_questions_and_its_place(tmp_path: Path) -> None:
    writing.save(iter([ROW | {"doc": "mill", "context": TEXT}, ROW | {"doc": "Clegg, 12"}]), tmp_path, 11)
    writing.save(iter([ROW]), tmp_path, 12)
    pools = Pools(corpus(tmp_path), random.Random(1), written=sorted(tmp_path.glob("qa-written-*")))
    assert pools.by_doc["mill"].count(TEXT) == 1
    assert {row["id"] for row in pools.of_context[TEXT]} == {"r1", "written-1"}
    assert pools.by_doc["Clegg"] == pools.by_doc["Clegg, 12"] == [ROW["context"]]
    assert {"Clegg", "Clegg, 12"} <= pools.names.keys()
