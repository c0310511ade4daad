"""Both tokenizers: text survives, special tokens in text are text, and streams hold back half characters."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import TokenizerError
from model.tokenizer import JsonTokenizer, TiktokenTokenizer, Tokenizer, TokenStream, _cut_runs, load_tokenizer
from tests.checkpoints import write_tiktoken

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]) | st.sampled_from("ab \n1'é中文😀\u0301\ufffd"))


@pytest.fixture(scope="module")
def kimi_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small tiktoken.model."""
    return write_tiktoken(tmp_path_factory.mktemp("kimi"))


@pytest.fixture(scope="module", params=["json", "tiktoken"])
def tokenizer(request: pytest.FixtureRequest, tiny_checkpoint: Path, kimi_folder: Path) -> Tokenizer:
    """One of each kind."""
    return load_tokenizer(tiny_checkpoint if request.param == "json" else kimi_folder)


@given(text=TEXT)
def test_text_survives(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_half_a_character_is_the_sign_for_what_is_none(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"


@given(before=TEXT, after=TEXT, data=st.data())
def test_special_tokens_in_text_are_text(tokenizer: Tokenizer, before: str, after: str, data: st.DataObject) -> None:
    text = before + data.draw(st.sampled_from(sorted(tokenizer.special))) + after
    ids = tokenizer.encode(text)
    assert not set(ids) & set(tokenizer.special.values())
    assert tokenizer.decode(ids) == text


def test_special_tokens_are_left_out_of_text(tokenizer: Tokenizer) -> None:
    end = tokenizer.special["<|im_end|>"]
    assert tokenizer.decode([end, *tokenizer.encode("the end"), end]) == "the end"


def test_half_a_character_is_shown_as_replaced(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b\udc80")) == "a�b�"


def test_ids_the_vocabulary_lacks_have_no_text(tokenizer: Tokenizer) -> None:
    a = tokenizer.encode("a")
    assert tokenizer.decode([tokenizer.size, *a, tokenizer.size + 1000]) == "a"


def stream(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """What a stream gives for each id, and at the end."""
    flow = TokenStream(tokenizer)
    return [*(flow.push(id) for id in ids), flow.finish()]


@given(text=TEXT)
def test_a_stream_gives_the_whole_text_in_whole_characters(tokenizer: Tokenizer, text: str) -> None:
    ids = [id for character in text for id in tokenizer.encode(character)]  # many characters over several tokens
    pieces = stream(tokenizer, ids)
    assert "".join(pieces) == text
    assert "".join(pieces).count("\ufffd") == text.count("\ufffd")


@given(ids=st.lists(st.integers(4, 255), max_size=30))
def test_a_stream_of_any_bytes_is_what_decoding_gives(tokenizer: Tokenizer, ids: list[int]) -> None:
    assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)


def test_a_character_comes_with_its_last_byte(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("😀")
    assert len(ids) == 4
    assert stream(tokenizer, ids) == ["", "", "", "😀", ""]
    assert "\ufffd" in stream(tokenizer, ids[:2])[-1]


@pytest.mark.parametrize(("kind", "file"), [("json", "tokenizer.json"), ("tiktoken", "tiktoken.model")])
def test_the_identity_is_of_the_content(
    kind: str, file: str, tiny_checkpoint: Path, kimi_folder: Path, tmp_path: Path
) -> None:
    source = tiny_checkpoint if kind == "json" else kimi_folder
    shutil.copy(source / file, tmp_path / file)
    copied = load_tokenizer(tmp_path).identity
    with (tmp_path / file).open("a", encoding="utf-8") as stream:
        stream.write("\n" if kind == "json" else "enp6eg== 999\n")
    assert load_tokenizer(tmp_path).identity != copied


def test_other_special_tokens_are_another_identity(kimi_folder: Path, tmp_path: Path) -> None:
    shutil.copy(kimi_folder / "tiktoken.model", tmp_path)
    plain = load_tokenizer(tmp_path)
    base = plain.special["[BOS]"]
    named = {"added_tokens_decoder": {str(base + 5): {"content": "<|tool|>"}}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named), "utf-8")
    other = load_tokenizer(tmp_path)
    assert other.special["<|tool|>"] == base + 5
    assert other.identity != plain.identity


def test_long_text_is_cut_before_lines(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = JsonTokenizer(tiny_checkpoint / "tokenizer.json")
    text = "the house\nthe question and the answer\nno line end here " * 40
    whole = tokenizer.encode(text)
    monkeypatch.setattr(JsonTokenizer, "PIECE", 50)
    assert tokenizer.encode(text) == whole


@pytest.mark.parametrize("file", ["tokenizer.json", "tiktoken.model"])
@pytest.mark.parametrize("content", ["{", "%%% not base64", "YQ==", ""])
def test_a_damaged_tokenizer_is_named(tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / file).write_text(content, "utf-8")
    with pytest.raises(TokenizerError, match="cannot be read"):
        load_tokenizer(tmp_path)


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="neither"):
        load_tokenizer(tmp_path)


def test_both_files_in_one_folder_mean_kimis(kimi_folder: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copy(kimi_folder / "tiktoken.model", tmp_path)
    shutil.copy(tiny_checkpoint / "tokenizer.json", tmp_path)
    assert isinstance(load_tokenizer(tmp_path), TiktokenTokenizer)


def tokens(folder: Path, text: str) -> list[str]:
    """The texts of Kimi's tokens."""
    kimi = load_tokenizer(folder)
    return [kimi.decode([id]) for id in kimi.encode(text)]


def unsplit(kimi: Tokenizer, text: str) -> list[int]:
    """Ids without the cuts of long texts and long runs."""
    assert isinstance(kimi, TiktokenTokenizer)
    return kimi._encoding.encode(text, disallowed_special=())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1234", ["12", "3", "4"]),  # digits go in threes, or 12 and 34 would merge
        ("the the", ["the", " the"]),
        ("it's", ["i", "t's"]),  # a contraction stays with its word
        ("中a", ["中", "a"]),  # Han characters are a run of their own, or the two would merge
        ("a   b", ["a", "  ", " ", "b"]),  # the last space goes with the word
    ],
)
def test_kimis_pattern(kimi_folder: Path, text: str, expected: list[str]) -> None:
    assert tokens(kimi_folder, text) == expected


def test_kimis_special_tokens_follow_the_vocabulary(kimi_folder: Path) -> None:
    special = load_tokenizer(kimi_folder).special
    base = special["[BOS]"]
    published = {
        "[BOS]": 163584, "[EOS]": 163585, "<|im_end|>": 163586, "<|im_user|>": 163587, "<|im_assistant|>": 163588,
        "[EOT]": 163593, "<|im_system|>": 163594, "<|im_middle|>": 163601, "[PAD]": 163839,
    }  # fmt: skip
    assert {name: special[name] - base for name in published} == {n: id - 163584 for n, id in published.items()}
    assert sorted(special.values()) == list(range(base, base + 256))


RUN, BLOCK = 25_000, 400_000


def test_long_runs_are_cut_and_the_cut_changes_ids(kimi_folder: Path) -> None:
    kimi = load_tokenizer(kimi_folder)
    text = "x" + "ab" * 20_000  # character 25,000 is a b whose a is before the cut
    ab, aba, x, b = (kimi.encode(word)[0] for word in ("ab", "aba", "x", "b"))
    first = [x, *[ab] * 12_498, aba]
    assert kimi.encode(text) == [*first, b, *[ab] * 7_500]
    assert unsplit(kimi, text) == [x, *[ab] * 20_000]
    assert kimi.encode(text[:RUN]) == first
    assert kimi.encode("ab" * (RUN // 2)) == unsplit(kimi, "ab" * (RUN // 2))


def test_long_spaces_are_cut_too(kimi_folder: Path) -> None:
    kimi = load_tokenizer(kimi_folder)
    space, two = kimi.encode(" ")[0], kimi.encode("  ")[0]
    text = " " * (RUN + 2)
    assert kimi.encode("\n" + text + "\t")[-3:] != unsplit(kimi, "\n" + text + "\t")[-3:]
    assert kimi.encode(text) == [two] * (RUN // 2 + 1)
    assert kimi.encode("a" + " " * (RUN + 1)) == [*kimi.encode("a"), *[two] * (RUN // 2), space]


def test_a_word_between_resets_the_run(kimi_folder: Path) -> None:
    kimi = load_tokenizer(kimi_folder)
    text = "x" + "ab" * 12_000 + " x" + "ab" * 12_000 + "\n" + " " * 20_000 + "x"
    assert kimi.encode(text) == unsplit(kimi, text)


def test_every_block_is_encoded_on_its_own(kimi_folder: Path) -> None:
    kimi = load_tokenizer(kimi_folder)
    text = "ab " * (BLOCK // 3) + "abab " + "ab " * 100  # the block ends between an a and a b
    assert (text[BLOCK - 1], text[BLOCK]) == ("a", "b")
    assert kimi.encode(text) == unsplit(kimi, text[:BLOCK]) + unsplit(kimi, text[BLOCK:])
    assert kimi.encode(text) != unsplit(kimi, text)
    assert kimi.decode(kimi.encode(text)) == text


@given(text=st.text(alphabet="ab \n\t\u3000\x1c\u00a0", max_size=60), longest=st.integers(1, 9))
def test_runs_are_cut_as_the_reference_cuts_them(text: str, longest: int) -> None:
    pieces, run, space = [""], 0, None
    for character in text:  # character by character: a piece ends where a run would grow beyond `longest`
        run = run + 1 if character.isspace() == space else 1
        space = character.isspace()
        if run > longest:
            pieces.append("")
            run = 1
        pieces[-1] += character
    assert _cut_runs(text, longest) == pieces
