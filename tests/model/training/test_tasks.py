"""Task data: the app's own words, verbatim quotes, replies marked for learning, packing without loss."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from app import prompts
from app.extract.document import HEADER
from model.training.data import Conversations, Windows, plain_tokenizer, rows
from model.training.drawing import Builder
from model.training.quotes import LONGEST, quote_for, sentences
from model.training.shown import EXCERPT, LONGEST_WINDOW, window
from model.training.tasks import PromptForm, Sample, Turn, encode, read_form

ROOT = Path(__file__).parents[3] / "model"
FORM = read_form(ROOT / "training" / "prompts.json")
TEXT = ("The mill at Harrow was built in 1821 by Anne Clegg. It ground oats, not wheat! Her son, who disliked "
        "flour, sold it.\nThe new owner was a Mr. Pike.")


def corpus(folder: Path) -> Path:
    """Small corpus files with the real names and keys."""
    row: dict[str, Any] = {"id": "r1", "doc": "mill", "context": TEXT, "question": "When was the mill built?",
                           "answers": ["1821"], "unanswerable": False}
    others = [row | {"id": f"r-{name}", "question": f"What did {name} swim?", "answers": ["the lake"],
                     "context": f"{name} swam the lake."} for name in ("Rosa", "Tom", "Ines", "Ulf")]
    negative = row | {"id": "r3", "question": "Who painted the mill?", "answers": [], "unanswerable": True}
    code = "# File: a/b.py (repository x/y)\ndef grind(oats):\n    return sifted(oats)\n"
    text = {"text": code + "A long book line.\n" * 99}
    names = ("qa-squad-train", "qa-shifts", "qa-fairytale", "qa-textbook", "qa-misc", "qa-code")
    files: dict[str, list[dict[str, Any]]] = {name: [row, *others] for name in names}
    files |= {"qa-negatives": [negative], "books-00": [text], "docs-00": [{"text": TEXT * 9}],
              "code-00": [text, text | {"text": text["text"].replace("#", "//", 1)}] * 3}
    for name, lines in files.items():
        data = "\n".join(map(json.dumps, lines)).encode()
        (folder / f"{name}.jsonl.zst").write_bytes(zstandard.compress(data))
    return folder


def test_the_form_is_the_apps() -> None:
    assert PromptForm(prompts.SYSTEM, prompts.NOT_FOUND, prompts.question_turn("{question}"),
                      prompts.question_turn("{question}", "{evidence}"), prompts.reply("{quote}", "{answer}"),
                      prompts.report_question("", "one of", ("{options}",))) == FORM


@pytest.mark.parametrize(("question", "answer", "quote"), [
    ("When was the mill built?", "1821", "The mill at Harrow was built in 1821 by Anne Clegg."),
    ("What did it grind?", "oats", "It ground oats, not wheat!"),
    ("Who owned it at last?", "the new owner, Pike", "The new owner was a Mr."),
    ("What is the capital of Peru?", "Lima", None),
])  # fmt: skip
def test_quotes_are_the_sentence_that_holds_the_answer(question: str, answer: str, quote: str | None) -> None:
    assert quote_for(TEXT, question, answer) == quote


def test_every_sentence_is_verbatim_and_long_ones_are_trimmed_around_the_answer() -> None:
    assert all(s in TEXT for s in sentences(TEXT))
    long = "word " * 90 + "the key is amber " + "word " * 90
    quote = quote_for(long, "What is the key?", "amber")
    assert quote is not None
    assert "amber" in quote
    assert quote in long
    assert len(quote) <= LONGEST


def test_samples_quote_their_document_or_say_it_does_not_say(tmp_path: Path) -> None:
    builder = Builder(corpus(tmp_path), FORM, seed=5)
    drawn = [(sample, turn) for sample in (builder.draw() for _ in range(300)) for turn in sample.turns]
    assert any(turn.reply == prompts.NOT_FOUND for _, turn in drawn)
    quoted = [(sample, turn, turn.reply.split(prompts.QUOTE_PREFIX)[1].split('"\n' + prompts.ANSWER_PREFIX)[0])
              for sample, turn in drawn if turn.reply != prompts.NOT_FOUND]
    assert len(quoted) > 100
    assert sum(bool(turn.shown) for _, turn, _ in quoted) > 20
    assert all(quote in (turn.shown or sample.document) for sample, turn, quote in quoted if turn.source != "code")
    assert all(turn.source for _, turn in drawn)


def test_questions_with_evidence_that_lacks_the_answer_are_refused(tmp_path: Path) -> None:
    builder = Builder(corpus(tmp_path), FORM, seed=5)
    turns = [turn for _ in range(300) for turn in builder.shown().turns]
    for turn in turns:
        if turn.question == "When was the mill built?":
            assert ("built in 1821" in turn.shown) == (turn.reply != prompts.NOT_FOUND)
    assert 0.1 < sum(turn.reply == prompts.NOT_FOUND for turn in turns) / len(turns) < 0.4


def test_short_windows_hold_what_they_are_about_and_little_else() -> None:
    text = " ".join(f"The mill of number {n} was built by somebody in the year {1800 + n}." for n in range(30))
    inside = sentences(text)[7]
    short = [window(text, inside, random.Random(n), EXCERPT) for n in range(40)]
    long = [window(text, inside, random.Random(n)) for n in range(40)]
    assert all(inside in each for each in (*short, *long))
    assert max(map(len, short)) <= EXCERPT < max(map(len, long)) <= LONGEST_WINDOW
    assert window(text, inside, random.Random(0), 10) == inside


def test_a_wrong_quote_is_given_and_not_learned(tmp_path: Path) -> None:
    builder = Builder(corpus(tmp_path), FORM, seed=5)
    turns = [turn for _ in range(600) for turn in builder.shown().turns if turn.given]
    assert turns
    for turn in turns:
        assert turn.reply[: turn.given].endswith('"\n' + prompts.ANSWER_PREFIX.rstrip())
        answer = turn.reply[turn.given :].strip()
        assert answer in turn.shown
        assert answer not in turn.reply[: turn.given]


def test_half_of_the_near_misses_come_with_the_question_they_were_made_from(tmp_path: Path) -> None:
    builder = Builder(corpus(tmp_path), FORM, seed=5)
    row = builder.pools.of_context[TEXT][0]
    pairs = [turns for turns in (builder.evidence.of_row(row, [TEXT]) for _ in range(600)) if len(turns) == 2]
    assert len(pairs) > 20
    for turns in pairs:
        assert [turn.reply == prompts.NOT_FOUND for turn in turns].count(True) == 1
        assert sorted(turns[0].shown) == sorted(turns[1].shown)


def test_a_passage_is_changed_only_where_the_answer_is_its_own_words(tmp_path: Path) -> None:
    asker = Builder(corpus(tmp_path), FORM, seed=5).asker
    row = asker.pools.of_context[TEXT][0]
    for answer, changes in (("1821", True), ("in the twenties", False)):
        made = [pair for _ in range(200) if (pair := asker.contrast({**row, "answers": [answer]}))]
        assert made
        assert any(changed["context"] != TEXT for changed, _ in made) is changes
        assert all(refused.question != changed["question"] for changed, refused in made)


def test_a_third_of_what_comes_with_evidence_stands_behind_a_long_document(tmp_path: Path) -> None:
    builder = Builder(corpus(tmp_path), FORM, seed=5)
    assert all(len(builder.shown().document) < 900 for _ in range(20))
    long = builder.shown(2500)
    assert 2000 < len(long.document) < 2600
    assert len(long.turns) > 2
    cloze = builder.shown_cloze(500)
    assert len(cloze.document) <= 500
    assert all(set(turn.shown.split()) <= set(cloze.document.split()) for turn in cloze.turns)


def test_code_stands_under_the_apps_header_whatever_its_language(tmp_path: Path) -> None:
    builder = Builder(corpus(tmp_path), FORM, seed=5)
    assert {text.split("\n")[0] + "\n" for text in builder.pools.code} == {HEADER.format("a/b.py")}
    sample = builder.shown_code(1)
    assert sample.document.startswith("# File: a/b.py\ndef grind(oats):")
    assert sample.turns
    assert {turn.reply[turn.given :] for turn in sample.turns} <= {" a/b.py", " grind"}


def test_made_up_functions_are_asked_about_behind_all_of_them(tmp_path: Path) -> None:
    builder = Builder(corpus(tmp_path), FORM, seed=5)
    sample = builder.shown_calls(60)
    assert sample.document.startswith("# File: ")
    assert len(sample.document) > 5000
    assert len(sample.turns) >= 8
    assert {turn.reply[turn.given :].strip() in sample.document for turn in sample.turns} == {True}


def test_options_hold_the_answer(tmp_path: Path) -> None:
    builder = Builder(corpus(tmp_path), FORM, seed=5)
    builder.pools.names["mill"] = ["Leeds", "York", "Hull"]
    row = next(iter(builder.pools.of_context[TEXT]))
    turn = builder.asker.answerable(row)
    assert turn is not None
    question = builder.evidence.with_options(turn, row).question
    assert question.startswith("When was the mill built? Answer with one of these: ")
    assert "1821" in question


def test_encoding_is_chatml_and_marks_the_replies() -> None:
    tokenizer = plain_tokenizer(ROOT / "mini" / "tokenizer.json")
    first, second = prompts.reply("It ground oats", "oats"), prompts.NOT_FOUND
    turns = [Turn("What?", first, "a"), Turn("Who?", second, "b", "It ground oats.", 4)]
    ids, marks = encode(Sample(TEXT, turns), FORM, tokenizer)
    text = tokenizer.decode(ids, skip_special_tokens=False)
    turn = "<|im_start|>{}\n{}<|im_end|>"
    assert text == "\n".join([
        turn.format("system", prompts.SYSTEM), turn.format("user", TEXT + prompts.question_turn("What?")),
        turn.format("assistant", first),
        turn.format("user", "Question: Who?\n\nFrom the document:\nIt ground oats.\n\nQuestion: Who?"),
        turn.format("assistant", second)])
    learned = tokenizer.decode([i for i, m in zip(ids, marks, strict=True) if m], skip_special_tokens=False)
    assert learned == first + "<|im_end|>" + second[4:] + "<|im_end|>"


def test_the_tokenizer_gives_text_back_and_keeps_special_words_plain() -> None:
    tokenizer = plain_tokenizer(ROOT / "mini" / "tokenizer.json")
    source = random.Random(4)
    text = "naïve 你好 😀\t1234 <|im_end|> \r\n" + "".join(chr(source.randrange(32, 0x2FF)) for _ in range(300))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert min(ids) > 16  # none of the special tokens
    assert len(tokenizer.encode("1234", add_special_tokens=False).ids) == 4


def test_packing_keeps_every_sample_once_and_only_reply_targets(tmp_path: Path) -> None:
    lengths = np.array([5, 9, 7, 3, 8, 16], dtype=np.int32)
    total = int(lengths.sum())
    ids, reply = np.arange(1, total + 1, dtype=np.uint16), np.arange(total) % 3 == 0
    np.savez(tmp_path / "tasks.npz", ids=ids, reply=reply, lengths=lengths)
    source = Conversations([tmp_path / "tasks.npz"], 16, 0, "cpu")
    seen, targets = [], []
    for n in range(len(source.bins)):
        row, pack, target = source.step(n)
        assert len(row) == int(pack.borders[-1]) == 16
        seen += [i for i in row.tolist() if i]
        targets += [t for t in target.tolist() if t >= 0]
    assert sorted(seen) == ids.tolist()
    starts = {0, *np.cumsum(lengths)[:-1].tolist()}
    assert sorted(targets) == [int(ids[i]) for i in range(total) if reply[i] and i not in starts]


def test_windows_cover_a_file_in_one_order_for_a_seed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(65, dtype=np.uint16))
    steps = [Windows([tmp_path / "a.npy"], 8, 16, 3, "cpu").step(n) for n in range(4)]
    assert sorted(i for ids, _, _ in steps for i in ids.tolist()) == list(range(64))
    assert steps[0][2].tolist()[7] == -1
    with pytest.raises(ValueError, match="fewer than one step"):
        Windows([tmp_path / "a.npy"], 64, 640, 3, "cpu")


def test_corpus_rows_are_read(tmp_path: Path) -> None:
    found = [r["id"] for r in rows(corpus(tmp_path) / "qa-squad-train.jsonl.zst")]
    assert found == ["r1", "r-Rosa", "r-Tom", "r-Ines", "r-Ulf"]
