"""What helps a model to answer, from its own folder."""

from pathlib import Path

import pytest

from app.aids import FAR, Aids
from app.settings import MINI
from model.errors import ConfigError


def test_a_folder_without_a_word_about_it_gets_the_defaults(tmp_path: Path) -> None:
    assert Aids.of(tmp_path) == Aids()
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 2}', "utf-8")
    assert Aids.of(tmp_path) == Aids()


def test_mini_has_its_quotes_chosen() -> None:
    assert Aids.of(MINI).choose_quotes


def test_the_margin_of_long_documents_is_the_others_where_none_is_named() -> None:
    assert [Aids(refuse=1.0).refuse_behind(n) for n in (1, FAR + 1)] == [1.0, 1.0]
    far = Aids(refuse=1.0, refuse_far=2.0)
    assert [far.refuse_behind(n) for n in (FAR, FAR + 1)] == [1.0, 2.0]
    assert Aids().refuse_behind(FAR + 1) is None
    assert [Aids(none=1.0).none_behind(n) for n in (1, FAR + 1)] == [1.0, 1.0]
    assert [Aids(none=1.0, none_far=2.0).none_behind(n) for n in (FAR, FAR + 1)] == [1.0, 2.0]
    assert Aids().none_behind(1) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"onceread": {"evidense": 1}}', '{"onceread": 3}'])
def test_what_cannot_be_understood_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "generation_config.json").write_text(content, "utf-8")
    with pytest.raises(ConfigError, match=r"generation_config\.json"):
        Aids.of(tmp_path)
