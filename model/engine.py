"""The engine: reads tokens into a state and generates from one. States are values: what is passed in is not changed.

Its weights may come later than all else: they are loaded when something is first to be read or written.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from kernels import backend
from kernels.quant import Form
from model import batch, heap, memory, weights
from model import state as states
from model.chat import ChatTemplate
from model.config import KimiConfig
from model.decode import Desk, Slots
from model.devices import choose_device, choose_dtype
from model.errors import ModelError, TokenizerError
from model.fingerprint import fingerprint
from model.once import Once
from model.sampling import Next, Sampler, Sampling
from model.state import ModelState
from model.tokenizer import Tokenizer, load_tokenizer
from model.transformer import Transformer

CHUNK, TRITON_CHUNK = 2048, 16_384
"""Tokens read at once, by the reference and by Triton's kernels: on a GPU 16k give each expert 512 rows. Chunks end at
multiples of it counted from the document's start, so that reading stopped at one and taken up later multiplies the same
matrices and ends in the same bits."""

LOGITS = 256
"""Tokens whose logits are held at once: 200 kB each for mini, 650 kB for the 48B."""

Brought = list[tuple[int, int | None]]
"""What a step of many rows brought: a row's token, or None at its end."""


Watch = Callable[[], AbstractContextManager[weights.Progress]]
"""Whoever looks on while weights are loaded, for as long as that takes."""


@dataclass(frozen=True)
class Engine:
    """A model with its tokenizer and chat form. loaded: its weights, once something asks for them."""

    config: KimiConfig
    loaded: Once[Transformer]
    tokenizer: Tokenizer
    chat: ChatTemplate
    device: torch.device
    dtype: torch.dtype
    fingerprint: str
    stop_ids: frozenset[int]
    desk: Desk

    @staticmethod
    def load(folder: Path, device: str = "cpu", dtype: torch.dtype | None = None, form: Form = "bf16") -> "Engine":
        """`open`, with the weights there. Raises ModelError."""
        engine = Engine.open(folder, device, dtype, form)
        _ = engine.model
        return engine

    @staticmethod
    def open(
        folder: Path, device: str = "cpu", dtype: torch.dtype | None = None, form: Form = "bf16",
        watch: Watch = lambda: nullcontext(weights.unseen),
    ) -> "Engine":
        """The engine of a checkpoint folder, its experts in `form`; the weights are loaded when they are first needed.

        `dtype` defaults to bfloat16 where the processor multiplies it in hardware, else float32. Raises ModelError,
        also for weights that could not be loaded: by the headers of their files and the memory that is free.
        """
        config = KimiConfig.from_folder(folder)
        place = choose_device(device)
        dtype = dtype or choose_dtype(place)
        with ThreadPoolExecutor(1, "fingerprint") as beside:
            name = beside.submit(fingerprint, folder, dtype, place, form)
            tokenizer = load_tokenizer(folder)
            if tokenizer.size > config.vocab_size:
                counts = f"{tokenizer.size:,} tokens, the model {config.vocab_size:,}"
                raise TokenizerError(f"the tokenizer in {folder} has {counts}: they do not belong together")
            chat = ChatTemplate.from_folder(folder, tokenizer)
            memory.check(config, dtype, place, form)
            weights.inspect(folder, config)
        ends = {id for name, id in tokenizer.special.items() if name in ("<|im_end|>", "[EOS]", "<|endoftext|>")}
        ends |= frozenset(config.stop_ids)
        loaded = Once(partial(_load, folder, config, dtype, place, form, watch))
        return Engine(config, loaded, tokenizer, chat, place, dtype, name.result(), frozenset(ends), Desk())

    @property
    def model(self) -> Transformer:
        """The model itself, loaded on first use. Raises ModelError."""
        return self.loaded.value

    def warm(self) -> None:
        """Begin to bring what writing needs; see `batch.warm`."""
        batch.warm(self.model, self.empty())

    @property
    def chunk(self) -> int:
        """Tokens that are read at once."""
        return TRITON_CHUNK if self._triton else CHUNK

    @property
    def _triton(self) -> bool:
        return backend.form(self.device) == "triton"

    def empty(self) -> ModelState:
        """The state before the first token."""
        return ModelState.empty(self.config, self.dtype, self.device)

    def restore(self, tokens: int, tensors: dict[str, torch.Tensor]) -> ModelState:
        """A state from its named tensors. Raises StateError if they do not fit this model."""
        return ModelState.from_tensors(self.config, tokens, tensors, self.empty())

    def state_bytes(self, tokens: int) -> int:
        """Bytes of a state after `tokens` tokens."""
        return states.state_bytes(self.config, tokens, self.dtype)

    def read(self, state: ModelState, ids: Sequence[int]) -> ModelState:
        """The state after `ids`."""
        for after in self.read_chunks(state, ids):
            state = after
        return state

    def read_chunks(self, state: ModelState, ids: Sequence[int]) -> Iterator[ModelState]:
        """Read `ids` chunk by chunk; yields the state after each. Fork what is to outlive the next step."""
        for after, *_ in self._chunks(state, ids, len(ids)):
            yield after

    def next_logits(self, state: ModelState, ids: Sequence[int]) -> tuple[ModelState, torch.Tensor]:
        """Read `ids` (at least one) and give the float32 logits [vocabulary] of the token that follows."""
        state, logits = self.logits_at(state, ids, [len(ids)])
        return state, logits[0]

    @torch.no_grad()
    def logits_at(
        self, state: ModelState, ids: Sequence[int], places: Sequence[int]
    ) -> tuple[ModelState, torch.Tensor]:
        """Read `ids` and give the float32 logits [places, vocabulary] of what follows the first n of them, for each n
        (at least 1) of `places`, which ascend: the nearer they are to the end, the less is computed."""
        if not ids:
            raise ValueError("at least one token is needed to predict the next")
        since = places[0] - 1
        states, hidden = zip(*self._chunks(state, ids, since), strict=True)
        return states[-1], self.model.logits(torch.cat(hidden)[[n - 1 - since for n in places]])

    @torch.no_grad()
    def likelihoods(
        self, shared: ModelState, bases: Sequence[ModelState], logits: Sequence[torch.Tensor],
        continuations: Sequence[Sequence[Sequence[int]]],
    ) -> list[list[float]]:
        """The log-probability of each continuation (one token or more) of each of `bases`, which went on from `shared`
        and whose next logits are given."""
        first = [each.log_softmax(-1) for each in logits]
        totals = [[float(row[ids[0]]) for ids in each] for row, each in zip(first, continuations, strict=True)]
        longer = [(b, n) for b, each in enumerate(continuations) for n, ids in enumerate(each) if len(ids) > 1]
        for group in _groups([continuations[b][n][1:] for b, n in longer], self.chunk):
            some = [continuations[b][n] for b, n in longer[group]]
            before = [bases[b] for b, _ in longer[group]]
            hidden = batch.read(self.model, [self._tensor(ids[:-1]) for ids in some], shared, before, keep=False)
            wanted = self._tensor([id for ids in some for id in ids[1:]])[:, None]
            parts = zip(hidden.split(LOGITS), wanted.split(LOGITS), strict=True)
            found = torch.cat([self.model.logits(x).log_softmax(-1).gather(1, next) for x, next in parts])
            for (b, n), each in zip(longer[group], found.split([len(ids) - 1 for ids in some]), strict=True):
                totals[b][n] += float(each.sum())
        return totals

    @torch.no_grad()
    def generate(
        self, state: ModelState, ids: Sequence[int], sampling: Sampling,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Generator[int, None, ModelState]:
        """Read `ids` after `state`, then yield token after token, until a stop token, the limit, or `should_stop`.

        Returns the state at the end. It has read every token but one that was yielded last, at the limit.
        """
        sampler = Sampler(sampling)
        state, logits = self.next_logits(state, ids)
        room = min(sampling.max_tokens, self.config.max_length - state.tokens)
        following = Next.of(logits[None])
        row = None  # what writes is asked for once there is a first token: on a processor it may take a while to come
        with ExitStack() as lent:
            for count in range(room):
                token = sampler.pick(following, 0)
                if token in self.stop_ids or should_stop():
                    break
                yield token
                if count + 1 < room:
                    row = row or lent.enter_context(self._alone(state))
                    following = row.step([token])
            if row:
                row.settle()
        return state

    def _alone(self, state: ModelState) -> AbstractContextManager["batch.Alone | batch.Single | Slots"]:
        """A state, which is changed, as one row."""
        return self.desk.lend(self.model, [state]) if self._triton else nullcontext(batch.alone(self.model, state))

    @torch.no_grad()
    def read_many(
        self, shared: ModelState, bases: Sequence[ModelState], questions: Sequence[Sequence[int]],
        should_stop: Callable[[], bool] = lambda: False,
        places: Sequence[Sequence[int]] | None = None,
    ) -> Generator[Brought, None, list[tuple[ModelState, torch.Tensor]]]:
        """Read a question after each of `bases`, which went on from `shared`, many side by side in a step.

        places: of each question those that its logits are wanted at, by default its end. Yields nothing brought after
        each step, when the model is free for others. Returns what `logits_at` gives for each; fewer at `should_stop`.
        """
        places = [[len(ids)] for ids in questions] if places is None else places
        read: list[tuple[ModelState, torch.Tensor]] = []
        for group in _groups(questions, self.chunk):
            if should_stop():
                break
            before, some, at = bases[group], questions[group], places[group]
            if len(some) == 1:
                read.append(self.logits_at(before[0], some[0], at[0]))
            else:
                self._check_length(max(base.tokens + len(ids) for base, ids in zip(before, some, strict=True)))
                states = [base.fork() for base in before]
                since = [wanted[0] - 1 for wanted in at]
                hidden = batch.read(self.model, [self._tensor(ids) for ids in some], shared, states, since)
                rows = hidden.split([len(ids) - first for ids, first in zip(some, since, strict=True)])
                each = zip(rows, since, at, strict=True)
                logits = self.model.logits(torch.cat([x[[n - 1 - first for n in wanted]] for x, first, wanted in each]))
                read += zip(states, logits.split([*map(len, at)]), strict=True)
            yield []
        return read

    @torch.no_grad()
    def generate_many(
        self,
        state: ModelState,
        questions: Sequence[Sequence[int]],
        samplings: Sequence[Sampling],
        should_stop: Callable[[], bool] = lambda: False,
        bases: Sequence[ModelState] | None = None,
    ) -> Iterator[Brought]:
        """Continue one state with many questions at once, each as `generate` would alone, up to rounding.

        bases: where each question begins, if that is not `state` itself but some tokens behind it. Yields what each
        step brought: (row, token), and (row, None) once that row has ended, as rows do one by one. A step that reads
        questions brings nothing; between any two steps the model is free for others. Ends when every row has, or at
        `should_stop`, with some rows not ended.
        """
        bases = [state] * len(questions) if bases is None else bases
        limits = [min(s.max_tokens, self.config.max_length - base.tokens - len(ids))
                  for s, base, ids in zip(samplings, bases, questions, strict=True)]
        read = yield from self.read_many(state, bases, questions, should_stop)
        if not read or len(read) < len(questions):
            return
        states, following = [after for after, _ in read], Next.of(torch.cat([logits for _, logits in read]))
        del read  # the rows take the states over
        with self.side_by_side(state, states, max(0, *limits)) as rows:
            yield from self._write(rows, following, samplings, limits, should_stop)

    def side_by_side(
        self, shared: ModelState, states: Sequence[ModelState], room: int
    ) -> AbstractContextManager[batch.Rows | batch.Singles | Slots]:
        """`states`, which went on from `shared` and are changed, as rows that take up to `room` tokens each."""
        if self._triton:
            return self.desk.lend(self.model, states)
        return nullcontext(batch.several(self.model, shared, states, room))

    def _write(
        self, rows: batch.Rows | batch.Singles | Slots, following: Next, samplings: Sequence[Sampling],
        limits: Sequence[int], should_stop: Callable[[], bool],
    ) -> Iterator[Brought]:
        """What `generate_many` yields once all questions are read."""
        samplers, written = [Sampler(sampling) for sampling in samplings], [0] * len(samplings)
        living = list(range(len(samplings)))
        while not should_stop():
            brought: Brought = []
            going = []
            for at, row in enumerate(living):
                token = samplers[row].pick(following, at) if limits[row] > 0 else None
                if token is None or token in self.stop_ids:
                    brought.append((row, None))
                    continue
                brought.append((row, token))
                written[row] += 1
                if written[row] == limits[row]:
                    brought.append((row, None))
                else:
                    going.append((at, token))
            yield brought
            if not going:
                return
            if len(going) < len(living):
                rows.keep([at for at, _ in going])
                living = [living[at] for at, _ in going]
            following = rows.step([token for _, token in going])

    @torch.no_grad()
    def _chunks(
        self, state: ModelState, ids: Sequence[int], since: int
    ) -> Iterator[tuple[ModelState, torch.Tensor]]:
        """Read `ids` into a fork of `state`; yields it after each chunk, with the hidden states of its tokens, those
        among the first `since` of all left out."""
        state = state.fork()
        self._check_length(state.tokens + len(ids))
        done = 0
        while done < len(ids):
            piece = ids[done : done + self.chunk - state.tokens % self.chunk]
            hidden = self.model(self._tensor(piece), state, min(max(since - done, 0), len(piece)))
            done += len(piece)
            yield state, hidden

    def _tensor(self, ids: Sequence[int]) -> torch.Tensor:
        return torch.tensor(ids, dtype=torch.int64, device=self.device)

    def _check_length(self, tokens: int) -> None:
        if tokens > self.config.max_length:
            raise ModelError(
                f"{tokens:,} tokens are more than the {self.config.max_length:,} this model reads: split the document"
            )


def _load(
    folder: Path, config: KimiConfig, dtype: torch.dtype, device: torch.device, form: Form, watch: Watch
) -> Transformer:
    """The weights, watched; what loading leaves behind is given back."""
    heap.keep_freed_memory()
    with torch.no_grad(), watch() as progress:
        model = weights.load(folder, config, dtype, device, form, progress=progress)
    heap.give_back()
    return model


def _groups(questions: Sequence[Sequence[int]], chunk: int) -> Iterator[slice]:
    """Neighbours of at most a chunk's tokens together, so that nobody waits longer for the model than that takes."""
    first, tokens = 0, 0
    for n, ids in enumerate(questions):
        if n > first and tokens + len(ids) > chunk:
            yield slice(first, n)
            first, tokens = n, 0
        tokens += len(ids)
    if questions:
        yield slice(first, len(questions))
