"""The reader is BERT, its best spans and its loss are what a search of each sequence by itself gives."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional as F

from model.training import reader as reading
from model.training import shipping
from model.training.packing import make_pack

WORDS = ["[CLS]", "[SEP]", "[UNK]", "when", "who", "was", "the", "mill", "built", "in", "1821", "by", "anne", "?", "."]


def tokenizer_file(folder: Path) -> Path:
    """A tokenizer of few words with BERT's form of pairs, and the limits that sentence-transformers save with it."""
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 0), ("[SEP]", 1)])
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def small() -> reading.Reader:
    """Two small layers with random weights."""
    torch.manual_seed(5)
    model = reading.Reader(layers=2, vocab=len(WORDS), hidden=48, inner=64)
    for p in model.parameters():
        p.data.normal_(0, 0.3)
    return model.eval()


def test_it_is_the_library_s_bert() -> None:
    from transformers import BertConfig, BertForQuestionAnswering

    mine = small()
    config = BertConfig(vocab_size=len(WORDS), hidden_size=48, num_hidden_layers=2, num_attention_heads=12,
                        intermediate_size=64, layer_norm_eps=reading.EPS)
    oracle = BertForQuestionAnswering(config).eval()
    oracle.load_state_dict(shipping.tensors(mine))
    ids, kinds = torch.randint(0, len(WORDS), (12,)), torch.tensor([0] * 5 + [1] * 7)
    theirs = oracle(ids[None], token_type_ids=kinds[None])
    expected = torch.stack((theirs.start_logits[0], theirs.end_logits[0]), -1)
    scores = mine(torch.cat((ids, ids)), torch.cat((kinds, kinds)), make_pack([12, 12]))
    torch.testing.assert_close(scores[[0, *range(5, 11)]], expected[[0, *range(5, 11)]], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(scores[:12], scores[12:])
    assert (scores[[1, 2, 3, 4, 11]] == reading.NEVER).all()


def test_best_spans_are_those_of_a_search() -> None:
    torch.manual_seed(2)
    lengths = [7, 3, 60]
    scores, pack = torch.randn(70, 2), make_pack(lengths)
    first, last, sure = reading.best_spans(scores, pack)
    start = 0
    for n, length in enumerate(lengths):
        spans = {(a, b): float(scores[a, 0] + scores[b, 1]) for a in range(start + 1, start + length)
                 for b in range(a, min(start + length, a + reading.LONGEST_ANSWER))}
        best = max(spans, key=lambda each: spans[each])
        assert (int(first[n]), int(last[n])) == best
        assert float(sure[n]) == pytest.approx(spans[best] - float(scores[start].sum()), abs=1e-5)
        start += length


def test_the_loss_is_each_sequence_s_own_cross_entropy() -> None:
    torch.manual_seed(2)
    scores, pack = torch.randn(12, 2), make_pack([5, 4, 3])
    first, last = torch.tensor([2, 5, -1]), torch.tensor([4, 5, -1])  # a span, none, and what fills the row up
    expected = [F.cross_entropy(scores[a:b, side][None], torch.tensor([true - a]))
                for side, trues in enumerate(([2, 5], [4, 5]))
                for (a, b), true in zip([(0, 5), (5, 9)], trues, strict=True)]
    torch.testing.assert_close(reading.loss(scores, pack, first, last), torch.stack(expected).mean())


def test_what_is_read_are_characters_of_the_passage(tmp_path: Path) -> None:
    tokenizer = reading.read_tokenizer(tokenizer_file(tmp_path))
    passage = "The Mill was built in 1821 by Anne."
    asked = [("when was the mill built?", passage.lower()), ("who?", passage.lower() * 3)]
    pairs = reading.encode(asked, tokenizer)
    assert pairs.lengths.tolist() == [18, 32]
    model = small()
    found = reading.read(model, pairs)
    assert found == reading.read(model, pairs, tokens=1)
    for (_, text), each in zip(asked, found, strict=True):
        assert 0 <= each.start < each.end <= len(text)
        assert text[each.start : each.end] == text[each.start : each.end].strip()
    assert pairs.parts(1) == [slice(0, 1), slice(1, 2)]
    assert pairs.parts(50) == [slice(0, 2)]
