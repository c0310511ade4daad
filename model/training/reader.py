"""A reader: an encoder that finds the span of a passage that answers a question, or that none does.

BERT's layers, with a score for each token to begin and to end the answer; an answer that begins and ends at [CLS] is
none (Devlin et al., 2019, arXiv 1810.04805, as for SQuAD 2.0). `mentor` and `threes` are made of it. Questions and
passages are packed in rows, so that nothing is padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.training.packing import Pack, attend, make_pack

HEADS, EPS, PLACES = 12, 1e-12, 512
PIECES = 30_522
"""Of BERT's vocabulary."""
DROPOUT = 0.1
LONGEST_ANSWER = 24
"""Tokens."""
NEVER = -1e4


class ReaderLayer(nn.Module):
    """One BERT layer over a packed row [T, C]."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, inner), nn.Linear(inner, hidden)
        self.mixed_norm, self.norm = nn.LayerNorm(hidden, EPS), nn.LayerNorm(hidden, EPS)

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """x [T, C] -> q, k and v, each [T, H, D]."""
        return self.qkv(x).unflatten(-1, (3, HEADS, -1)).unbind(1)

    def finish(self, x: Tensor, heads: Tensor) -> Tensor:
        """Add the attention output [T, H, D], then the feed-forward part."""
        x = self.mixed_norm(x + F.dropout(self.out(heads.flatten(1)), DROPOUT, self.training))
        return self.norm(x + F.dropout(self.down(F.gelu(self.up(x))), DROPOUT, self.training))


class Reader(nn.Module):
    """The encoder and its two scores."""

    layer = ReaderLayer
    ternary = False
    """Whether its layers' matrices have three values (see `threes`)."""

    def __init__(self, layers: int = 6, vocab: int = PIECES, hidden: int = 384, inner: int = 1536,
                 width: int = 0) -> None:
        """width: dimensions of a word piece, if they are not `hidden`."""
        super().__init__()
        self.sizes: tuple[int, ...] = (layers, vocab, hidden, inner, width)
        self.embed = nn.Parameter(torch.empty(vocab, width or hidden))
        self.widen = nn.Linear(width, hidden, bias=False) if width else None
        self.places, self.kinds = nn.Parameter(torch.empty(PLACES, hidden)), nn.Parameter(torch.empty(2, hidden))
        self.norm = nn.LayerNorm(hidden, EPS)
        self.layers: Any = nn.ModuleList(self.layer(hidden, inner) for _ in range(layers))
        self.score = nn.Linear(hidden, 2)

    def compile_layers(self) -> None:
        """Compile the two parts of a layer (once: all layers share the code)."""
        for layer in self.layers:
            layer.project = torch.compile(layer.project)
            layer.finish = torch.compile(layer.finish)

    def twin(self) -> Reader:
        """A copy of the weights, nothing compiled."""
        other = type(self)(*self.sizes).to(self.embed.device, self.embed.dtype)
        other.load_state_dict(self.state_dict())
        return other

    def numbers(self, ids: Tensor) -> Tensor:
        """BERT's ids as this encoder numbers its word pieces."""
        return ids

    def words(self, ids: Tensor) -> Tensor:
        """ids [T] -> what each word piece is worth [T, C]."""
        rows = F.embedding(self.numbers(ids), self.embed)
        return rows if self.widen is None else cast(Tensor, self.widen(rows))

    def mixer(self, pack: Pack) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """How the layers mix q, k and v, each [T, H, D], inside each sequence: attention [T, H, D]."""
        return lambda q, k, v: attend(q, k, v, pack, q.shape[-1] ** -0.5, causal=False)

    def states(self, ids: Tensor, kinds: Tensor, pack: Pack) -> list[Tensor]:
        """What the layers begin with, and what each gives [T, C]; see `forward`."""
        x = self.words(ids) + F.embedding(pack.position, self.places) + F.embedding(kinds, self.kinds)
        found, mix = [F.dropout(self.norm(x), DROPOUT, self.training)], self.mixer(pack)
        for layer in self.layers:
            found.append(layer.finish(found[-1], mix(*layer.project(found[-1]))))
        return found

    def scores(self, last: Tensor, kinds: Tensor, pack: Pack) -> Tensor:
        """What the last layer gives [T, C] -> what `forward` does."""
        outside = (kinds == 0) & (pack.position > 0)
        outside[pack.borders[1:] - 1] = True
        return self.score(last).float().masked_fill(outside[:, None], NEVER)

    def forward(self, ids: Tensor, kinds: Tensor, pack: Pack) -> Tensor:
        """ids and kinds (0 in the question, 1 in the passage) [T] -> scores to begin and to end [T, 2], float32;
        `NEVER` in the question and at [SEP]."""
        return self.scores(self.states(ids, kinds, pack)[-1], kinds, pack)


def read_tokenizer(file: Path) -> Any:
    """The encoder's tokenizer, for pairs of any length."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(PLACES, strategy="only_second")
    return tokenizer


@dataclass(frozen=True)
class Pairs:
    """Questions with their passages as the reader takes them, one behind another: ids [T]; kinds [T]; lengths [N];
    offsets [T, 2]: which characters of the passage a token stands for."""

    ids: np.ndarray
    kinds: np.ndarray
    lengths: np.ndarray
    offsets: np.ndarray

    def parts(self, tokens: int) -> list[slice]:
        """Slices of the pairs, of at most so many tokens each (one pair at least)."""
        cuts, room = [0], tokens
        for n, length in enumerate(self.lengths.tolist()):
            if length > room and n > cuts[-1]:
                cuts.append(n)
                room = tokens
            room -= length
        return [slice(a, b) for a, b in zip(cuts, [*cuts[1:], len(self.lengths)], strict=True)]


def encode(pairs: Sequence[tuple[str, str]], tokenizer: Any) -> Pairs:
    """Questions and their passages."""
    found = tokenizer.encode_batch(list(pairs))
    return Pairs(np.concatenate([np.array(e.ids, dtype=np.int32) for e in found]),
                 np.concatenate([np.array(e.type_ids, dtype=np.int8) for e in found]),
                 np.array([len(e.ids) for e in found], dtype=np.int32),
                 np.concatenate([np.array(e.offsets, dtype=np.int32) for e in found]))


@dataclass(frozen=True)
class Read:
    """What the reader says: the characters of the passage that answer best, and by how much their scores are better
    than those of no answer (a logit; below 0 there is none)."""

    start: int
    end: int
    sure: float


@torch.no_grad()
def read(reader: Reader, pairs: Pairs, tokens: int = 131_072) -> list[Read]:
    """The best answer to each pair. tokens: of a row."""
    device, found = reader.embed.device, []
    starts = np.concatenate(([0], np.cumsum(pairs.lengths)))
    for part in pairs.parts(tokens):
        at = slice(int(starts[part.start]), int(starts[part.stop]))
        pack = make_pack(pairs.lengths[part].tolist(), device)
        ids, kinds = (torch.from_numpy(t[at].astype(np.int64)).to(device) for t in (pairs.ids, pairs.kinds))
        first, last, sure = (t.cpu().numpy() for t in best_spans(reader(ids, kinds, pack), pack))
        offsets = pairs.offsets[at]
        found += [Read(int(a), int(b), float(c)) for a, b, c in
                  zip(offsets[first, 0], offsets[last, 1], sure, strict=True)]
    return found


def best_spans(scores: Tensor, pack: Pack) -> tuple[Tensor, Tensor, Tensor]:
    """Scores [T, 2] -> the first and the last token of each sequence's best span [N], and its score less that of no
    answer [N]."""
    begin, end = scores.unbind(-1)
    count = len(pack.borders) - 1
    row = torch.repeat_interleave(torch.arange(count, device=begin.device), pack.borders.diff())
    inside = pack.position > 0
    best, width = torch.full_like(begin, 2 * NEVER), torch.zeros_like(row)
    for more in range(min(LONGEST_ANSWER, len(begin))):
        stop = len(begin) - more
        both = begin[:stop] + end[more:]
        better = (both > best[:stop]) & inside[:stop] & (row[more:] == row[:stop])
        best[:stop] = torch.where(better, both, best[:stop])
        width[:stop] = torch.where(better, more, width[:stop])
    top = best.new_full((count,), 3 * NEVER).scatter_reduce(0, row, best, "amax")
    places = torch.where(best == top[row], torch.arange(len(row), device=row.device), len(row))
    first = row.new_full((count,), len(row)).scatter_reduce(0, row, places, "amin")
    none = scores[pack.borders[:-1]].sum(-1)
    return first, first + width[first], top - none


def loss(scores: Tensor, pack: Pack, first: Tensor, last: Tensor) -> Tensor:
    """Mean cross-entropy of the true first and last tokens [N] (places in the row; a sequence's own start: no answer),
    over each sequence's tokens; those of sequences below 0 do not count."""
    logs, wanted = log_softmax(scores, pack), (first >= 0).float()
    true = torch.stack((first, last), 1).clamp_min(0)
    return -(logs.gather(0, true) * wanted[:, None]).sum() / (2 * wanted.sum().clamp_min(1))


def soft_loss(scores: Tensor, theirs: Sequence[Tensor], pack: Pack, first: Tensor) -> Tensor:
    """Mean cross-entropy of what mentors' scores say on average, over the same sequences."""
    wanted = (first >= 0).float()[sequence(pack, len(scores))]
    log, target = log_softmax(scores, pack), torch.stack([log_softmax(one, pack).exp() for one in theirs]).mean(0)
    return -(target * log * wanted[:, None]).sum() / (2 * (first >= 0).sum().clamp_min(1))


def unlike(own: Sequence[Tensor], theirs: Sequence[Tensor], pack: Pack, first: Tensor) -> Tensor:
    """How far states [T, C] behind each layer are from a mentor's: the mean square of the difference as a share of the
    mentor's own, over the sequences that count (see `reader.loss`), on the mean of all layers."""
    wanted = (first >= 0).float()[sequence(pack, len(own[0]))]
    shares = [((a - b).float().square().mean(-1) @ wanted) / (b.float().square().mean(-1) @ wanted)
              for a, b in zip(own, theirs, strict=True)]
    return torch.stack(shares).mean()


def log_softmax(scores: Tensor, pack: Pack) -> Tensor:
    """Scores [T, 2] -> log-probabilities over each sequence's tokens [T, 2]."""
    row, count = sequence(pack, len(scores)), len(pack.borders) - 1
    both = row[:, None].expand(-1, 2)
    top = scores.new_full((count, 2), 3 * NEVER).scatter_reduce(0, both, scores.detach(), "amax")[row]
    sums = scores.new_zeros(count, 2).index_add(0, row, (scores - top).exp())
    return scores - top - sums.log()[row]


def sequence(pack: Pack, tokens: int) -> Tensor:
    """Which sequence each token belongs to [T]."""
    numbers = torch.arange(len(pack.borders) - 1, device=pack.borders.device)
    return torch.repeat_interleave(numbers, pack.borders.diff(), output_size=tokens)  # given: nothing waits for it
