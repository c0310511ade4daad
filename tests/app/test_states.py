"""States belong to their maker and their tokens; texts that begin alike share; damage is mended; room is made."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app import library, reading, states
from app.dialogue import document_ids
from app.errors import OncereadError
from app.home import Home
from app.settings import MINI, Settings
from model import engine
from model import state as layout
from model.config import KimiConfig
from model.engine import Engine
from model.state import ModelState
from storage import blocks
from storage.documents import Document
from tests import checkpoints

CHUNK, PAGE = 64, 128

TOKENS = st.lists(st.integers(0, 300), min_size=1, max_size=20)


@pytest.fixture(autouse=True, scope="module")
def _small_pages() -> Iterator[None]:
    """Several chunks and pages in few tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "CHUNK", CHUNK)
        patch.setattr(layout, "PAGE", PAGE)
        yield


def add(home: Home, text: str, title: str = "book") -> Document:
    """A document with this text."""
    return home.documents.add(title, "text", text, [], [], None)


def text_of(book: Path, pages: int = 3) -> str:
    """The book's beginning: some pages of tokens, the last not full."""
    return book.read_text("utf-8")[: 245 * pages - 90]


def bits(state: ModelState) -> dict[str, bytes]:
    """Every tensor's bytes."""
    return {name: x.contiguous().view(torch.uint8).numpy().tobytes() for name, x in state.to_tensors().items()}


def fresh(home: Home, text: str) -> dict[str, bytes]:
    """The bits of a state read in one go, without anything saved."""
    return bits(home.engine.read(home.engine.empty(), document_ids(home.engine, text)))


def damage(home: Home, name: str, where: str = "1 = 1") -> None:
    """Zero the data of a tensor in the blocks that `where` says."""
    with home.database.writing() as session:
        done = session.connection().exec_driver_sql(
            f"UPDATE tensors SET data = zeroblob(length) WHERE name = '{name}' "
            f"AND block_id IN (SELECT id FROM blocks WHERE {where})"
        )
        assert done.rowcount


@given(TOKENS, TOKENS)
def test_different_tokens_have_different_prefixes(tiny_engine: Engine, a: list[int], b: list[int]) -> None:
    assert (states.prefixes_of(tiny_engine, a) == states.prefixes_of(tiny_engine, b)) == (a == b)


def test_prefixes_end_where_chunks_do_and_at_the_end(tiny_engine: Engine) -> None:
    prefixes = states.prefixes_of(tiny_engine, range(2 * CHUNK + 5))
    assert list(prefixes) == [CHUNK, 2 * CHUNK, 2 * CHUNK + 5]
    assert states.prefixes_of(tiny_engine, range(2 * CHUNK)) == {n: prefixes[n] for n in (CHUNK, 2 * CHUNK)}


def test_the_maker_names_model_and_tokenizer(tiny_engine: Engine) -> None:
    maker = states.maker_of(tiny_engine)
    assert (maker.model, maker.tokenizer) == (tiny_engine.fingerprint, tiny_engine.tokenizer.identity)
    assert states.maker_of(replace(tiny_engine, fingerprint="other")) != maker


@pytest.mark.parametrize("tokens", [1, PAGE, PAGE + 1, 20_000, 41_000, 100_000])
def test_checkpoints_take_a_tenth_of_the_latents_at_most(tiny_engine: Engine, tokens: int) -> None:
    for config in (KimiConfig.from_folder(MINI), tiny_engine.config):
        changed = replace(tiny_engine, config=config)
        kept = states.checkpoints(changed, tokens)
        taken = len(kept) * layout.fixed_bytes(config, changed.dtype)
        assert len(kept) <= 1 or taken <= 0.1 * tokens * layout.bytes_per_token(config, changed.dtype)
        assert kept == sorted(set(kept))
        assert all(0 < n < tokens and n % PAGE == 0 for n in kept)
        assert not kept if tokens <= PAGE else tokens - kept[-1] <= PAGE


def test_pages_are_written_once(home: Home, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "COMMIT_TOKENS", CHUNK)
    written: list[tuple[str, int, set[str]]] = []

    def spy(session, row, tensors, encoding):  # type: ignore[no-untyped-def]
        written.append((row.kind, row.tokens, {name for name in tensors if ".latents." in name}))
        return write(session, row, tensors, encoding)

    write = blocks.write_tensors
    monkeypatch.setattr(blocks, "write_tensors", spy)
    total = reading.read(home, add(home, text_of(book, 2)).id).tokens
    names = [{f"layers.{n}.latents.{page}" for n in home.engine.config.mla_layers} for page in range(total // PAGE + 1)]
    assert [(tokens, latents) for kind, tokens, latents in written if kind == "page"] == [
        ((page + 1) * PAGE, names[page]) for page in range(total // PAGE)
    ]
    assert [(tokens, latents) for kind, tokens, latents in written if kind == "state"] == [
        (tokens, names[tokens // PAGE] if tokens % PAGE else set()) for tokens in [*range(CHUNK, total, CHUNK), total]
    ]


def test_a_grown_document_is_read_from_the_last_page_they_share(home: Home, book: Path) -> None:
    text = text_of(book)
    first = reading.read(home, add(home, text, "First edition").id)
    grown = text + " And then a new chapter began." * 40
    ids = document_ids(home.engine, grown)
    expected = (first.tokens - 1) // PAGE * PAGE
    assert states.reusable(home, ids) == states.Reusable(expected, first.document)
    second, state = reading.read_state(home, add(home, grown, "Second").id)
    assert (second.tokens_reused, second.tokens_read) == (expected, second.tokens - expected)
    assert second.reason.startswith(f"its first {expected:,} tokens are those of “First edition”")
    assert bits(state) == fresh(home, grown)
    both = home.snapshots.bytes(first.document) + home.snapshots.bytes(second.document)
    shared = expected * layout.bytes_per_token(home.engine.config, home.engine.dtype)
    assert home.snapshots.bytes() <= both - shared

    library.remove(home, first.document)  # a new version takes the place of the old
    again, state = reading.read_state(home, second.document)
    assert (again.tokens_reused, again.reason) == (second.tokens, "saved state found")
    assert bits(state) == fresh(home, grown)
    assert not [verdict for verdict in home.snapshots.verify() if verdict.damaged or verdict.orphaned]


def test_an_edit_is_read_from_the_checkpoint_before_it(home: Home, book: Path) -> None:
    text = text_of(book, 6)
    reading.read(home, add(home, text).id)
    before = document_ids(home.engine, text)
    kept = states.checkpoints(home.engine, len(before))
    assert len(kept) > 1
    at = text.rindex("winter", 0, int(len(text) * (kept[0] + 700) / len(before)))
    edited = text[:at] + "summer" + text[at + 6 :]
    same = next(n for n, (a, b) in enumerate(zip(before, document_ids(home.engine, edited), strict=False)) if a != b)
    assert kept[0] <= same < kept[-1]
    result, state = reading.read_state(home, add(home, edited).id)
    # How far checkpoints lie apart depends on the type, which depends on the processor.
    assert result.tokens_reused == max(checkpoint for checkpoint in kept if checkpoint <= same)
    assert bits(state) == fresh(home, edited)


def test_a_text_that_differs_from_the_start_shares_nothing(home: Home, book: Path) -> None:
    reading.read(home, add(home, text_of(book)).id)
    result = reading.read(home, add(home, "Otherwise. " + text_of(book)).id)
    assert (result.tokens_reused, result.reason) == (0, "not read before")


@pytest.mark.parametrize("page", [0, 1])
def test_a_damaged_page_is_mended_by_reading_it_again(home: Home, book: Path, page: int) -> None:
    document = add(home, text_of(book))
    total = reading.read(home, document.id).tokens
    damage(home, f"layers.2.latents.{page}")
    result, state = reading.read_state(home, document.id)
    assert (result.tokens_read, result.tokens_reused) == (PAGE * (page + 1), total - PAGE * (page + 1))
    assert f"layers.2.latents.{page}) was mended by reading {result.tokens_read:,} tokens again" in result.reason
    assert bits(state) == fresh(home, home.documents.text(document.id))
    assert reading.read(home, document.id).tokens_read == 0
    assert not [verdict for verdict in home.snapshots.verify() if verdict.damaged]


def test_a_damaged_end_is_read_again_from_the_checkpoint_before(home: Home, book: Path) -> None:
    document = add(home, text_of(book))
    total = reading.read(home, document.id).tokens
    damage(home, "layers.0.recurrent", f"tokens = {total}")
    result, state = reading.read_state(home, document.id)
    kept = (total - 1) // PAGE * PAGE
    assert (result.tokens_reused, result.tokens_read) == (kept, total - kept)
    assert "layers.0.recurrent" in result.reason
    assert bits(state) == fresh(home, home.documents.text(document.id))


def test_damage_everywhere_is_read_again_from_the_start(home: Home, book: Path) -> None:
    document = add(home, text_of(book))
    total = reading.read(home, document.id).tokens
    for name in ("layers.0.conv", "layers.2.latents.0"):
        damage(home, name)
    result, state = reading.read_state(home, document.id)
    assert result.tokens_read == total
    assert bits(state) == fresh(home, home.documents.text(document.id))


def test_a_state_that_does_not_fit_is_read_again(home: Home, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = add(home, text_of(book))

    def lacking(state: ModelState) -> dict[str, torch.Tensor]:
        return {name: x for name, x in whole(state).items() if name != "layers.1.recurrent"}

    whole = ModelState.to_tensors
    with monkeypatch.context() as patch:
        patch.setattr(ModelState, "to_tensors", lacking)
        reading.read(home, document.id)
    restored = states.restore(home, document.id, document_ids(home.engine, text_of(book)))
    assert restored.state.tokens == 0
    assert "lacks layers.1.recurrent" in restored.reason


def limited(home: Home, most: int) -> Home:
    """The same library with a budget."""
    return Home(replace(home.settings, max_state=most))


def test_room_is_made_and_said(home: Home, book: Path) -> None:
    text = text_of(book)
    one = reading.read(home, add(home, text, "One").id)
    taken = home.snapshots.bytes()
    small = limited(home, int(1.5 * taken))
    two = reading.read(small, add(small, "Two. " + text, "Two").id)
    assert [each.document_id for each in two.evicted] == [one.document]
    assert "to make room, the saved state of “One” (" in two.reason
    assert small.snapshots.bytes() <= 1.5 * taken
    info = library.info(small, small.documents.get(one.document))
    assert (info.tokens_read, info.state_bytes) == (0, 0)
    assert info.evicted is not None
    assert (info.evicted.bytes, info.evicted.tokens) == (taken, one.tokens)
    again = reading.read(small, one.document)
    assert again.tokens_read == one.tokens
    assert "had made room for others and is read again" in again.reason
    assert library.info(small, small.documents.get(one.document)).evicted is None
    small.close()


def test_a_document_beyond_the_budget_is_refused_before_reading(home: Home, book: Path) -> None:
    small = limited(home, 10_000)
    seen: list[reading.Progress] = []
    with pytest.raises(OncereadError, match=r"all saved states together may take 0\.0 MB: raise --max-state"):
        reading.read(small, library.add(small, [book]).id, seen.append)
    assert seen == []
    small.close()


def test_another_model_finds_nothing(home: Home, book: Path, tmp_path: Path) -> None:
    document = add(home, text_of(book))
    reading.read(home, document.id)
    other = Home(Settings(home.settings.home, checkpoints.write(tmp_path / "other", seed=1), "cpu"))
    result = reading.read(other, document.id)
    assert (result.tokens_reused, result.reason) == (0, "the saved state was made with a different model")
    other.close()
    assert reading.read(home, document.id).tokens_reused == result.tokens
