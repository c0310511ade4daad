"""The pointer in training: what it learns from, where it may point, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from app import prompts
from model.training.data import Conversations, moved, plain_tokenizer
from model.training.evaluate import pointed_scores
from model.training.packing import Pack, make_pack
from model.training.pointer import NEVER, Pointer, blocks, pointer_loss
from model.training.spans import Marked
from model.training.student import Student
from model.training.tasks import Sample, Turn, encode, read_form
from tests.model.training.tiny import CONFIG, student

ROOT = Path(__file__).parents[3] / "model"
FORM = read_form(ROOT / "training" / "prompts.json")
EVIDENCE = "Anne Clegg had a mill in 1821.\n\nThe mill was built in 1821 by Anne Clegg, not by Tom."
ASKED = torch.tensor([[1, 3, 6, 4, 5, 8], [10, 11, 14, -1, -1, 15]])


@pytest.mark.parametrize(("reply", "answer"), [
    (prompts.reply("The mill was built in 1821 by Anne Clegg, not by Tom.", "1821"), " in |1821| by"),
    (prompts.reply("Anne Clegg had a mill in 1821.", "Anne Clegg"), "|Anne Clegg| had"),
    (prompts.reply("words that it does not have", "by Anne Clegg"), "1821| by Anne Clegg|,"),
])  # fmt: skip
def test_an_answer_is_marked_where_it_is_quoted(reply: str, answer: str) -> None:
    tokenizer = plain_tokenizer(ROOT / "mini" / "tokenizer.json")
    turn = Turn("When was the mill built?", reply, "a", EVIDENCE)
    ids, _, (asked,) = encode(Sample("A document.", [turn]), FORM, tokenizer)
    before, words, behind = answer.split("|")
    assert tokenizer.decode(ids[asked.start : asked.last + 1]) == words
    assert tokenizer.decode(ids[: asked.start]).endswith(before)
    assert tokenizer.decode(ids[asked.last + 1 :]).startswith(behind)
    assert asked.first <= asked.start <= asked.last < asked.end


def test_what_stands_in_other_words_is_not_marked() -> None:
    tokenizer = plain_tokenizer(ROOT / "mini" / "tokenizer.json")
    turns = [Turn("Who?", prompts.reply("a quote", "the miller"), "a", EVIDENCE), Turn("Who?", prompts.NOT_FOUND, "b")]
    assert encode(Sample("A document.", turns), FORM, tokenizer)[2] == []


def test_questions_travel_with_their_samples(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ids = np.arange(1, 21, dtype=np.uint16) + (100 if name == "b" else 0)
        spans = [Marked(1, 2, 4, 3, 3, 5), *moved(np.array([Marked(0, 1, 3, -1, -1, 4)]), 12)]
        np.savez(tmp_path / f"{name}.npz", ids=ids, reply=ids < 0, lengths=np.array([12, 8]), spans=np.array(spans))
    source = Conversations([tmp_path / "a.npz", tmp_path / "b.npz"], 32, 0, "cpu")
    found = []
    for n in range(len(source.bins)):
        ids, pack, _ = source.step(n)
        found += [[int(ids[at]) if at >= 0 else -1 for at in row] for row in pack.asked.tolist()]
    assert sorted(found) == [[2, 3, 5, 4, 4, 6], [13, 14, 16, -1, -1, 17],
                             [102, 103, 105, 104, 104, 106], [113, 114, 116, -1, -1, 117]]


def _seen() -> tuple[Pack, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return make_pack([9, 7, 4], asked=ASKED), torch.randn(20, 128), torch.randn(20, 64)


def test_it_points_into_the_evidence_or_nowhere() -> None:
    pointer = student().eval().pointer
    assert pointer is not None
    scores = pointer(*_seen()[1:], _seen()[0])
    allowed = (scores > NEVER / 2)[:, 0].tolist()
    rows = blocks(_seen()[0])[0].tolist()
    assert [row for row, yes in zip(rows, allowed, strict=True) if yes] == [3, 4, 5, 8, 11, 12, 13, 15]


def test_one_question_does_not_see_another() -> None:
    pointer = student().eval().pointer
    assert pointer is not None
    pack, looked_at, last = _seen()
    both = pointer(looked_at, last, pack)
    other = looked_at.clone()
    other[9:] = 0
    torch.testing.assert_close(pointer(other, last, pack)[:8], both[:8])
    other = looked_at.clone()
    other[8] += 1  # the last token of the first question: all others see it
    assert (pointer(other, last, pack)[2:5] - both[2:5]).abs().min() > 1e-6


def test_the_loss_is_cross_entropy_over_each_questions_tokens() -> None:
    scores = torch.randn(14, 2)
    scores[:2] = NEVER
    pack = make_pack([9, 11], asked=ASKED)
    first, second = scores[:8], scores[8:]
    wanted = [torch.nn.functional.cross_entropy(part.T, torch.tensor(true))
              for part, true in ((first, [3, 4]), (second, [5, 5]))]
    torch.testing.assert_close(pointer_loss(scores, pack), sum(wanted) / 2)


def test_it_learns() -> None:
    torch.manual_seed(0)
    pointer, (pack, looked_at, last) = Pointer(CONFIG), _seen()
    optimizer = torch.optim.AdamW(pointer.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = pointer_loss(pointer(looked_at, last, pack), pack)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 < losses[0]


class Finder(nn.Module):
    """In a pointer's place: finds where this token stands, surely or hardly."""

    def __init__(self, token: int, sure: float) -> None:
        super().__init__()
        self.token, self.sure, self.ids = token, sure, torch.zeros(0)

    def forward(self, looked_at: torch.Tensor, last: torch.Tensor, pack: Pack) -> torch.Tensor:
        """Scores of every token; a question's last one's, for no answer, are 0."""
        rows, own = blocks(pack)
        scores = torch.full((len(rows), 2), -9.0)
        scores[self.ids[rows] == self.token] = self.sure
        scores[own.borders[1:] - 1] = 0
        return scores


def test_pointed_words_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = plain_tokenizer(ROOT / "mini" / "tokenizer.json")
    model = Student(CONFIG | {"vocab_size": 49_152})
    finder = Finder(tokenizer.encode("The mill").ids[-1], 2.0)

    def states(ids: torch.Tensor, pack: Pack) -> tuple[torch.Tensor, torch.Tensor]:
        finder.ids = ids
        return ids, ids

    monkeypatch.setattr(model, "states", states)
    model.pointer = finder  # type: ignore[assignment]
    rows = [{"question": "What?", "context": "The mill was built.", "answers": answers, "unanswerable": False}
            for answers in (["the mill"], ["old mill", "house"], ["built"])]
    rows.append({"question": "Who?", "context": "Nobody says.", "answers": [], "unanswerable": True})
    found = pointed_scores(model, rows, FORM, tokenizer, 400)
    assert found["pointed"] == pytest.approx(100 * (1 + 2 / 3 + 0) / 3)
    assert found["auc"] == 1.0
    assert "auc" not in pointed_scores(model, rows[:3], FORM, tokenizer, 200)
