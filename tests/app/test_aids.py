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
    assert [Aids(refuse=1.0).refuses_from(n, None) for n in (1, FAR + 1)] == [(1.0, 0.0)] * 2
    far = Aids(refuse=1.0, refuse_far=2.0)
    assert [far.refuses_from(n, None) for n in (FAR, FAR + 1)] == [(1.0, 0.0), (2.0, 0.0)]
    assert Aids().refuses_from(FAR + 1, 3.0) is None


def test_the_odds_count_where_words_may_answer_and_not_behind_long_documents_with_their_own_margin() -> None:
    aids = Aids(refuse=1.0, refuse_far=2.0, odds=0.5, refuse_pointed=4.0)
    assert [aids.refuses_from(n, 3.0) for n in (FAR, FAR + 1)] == [(4.0, 1.5), (2.0, 0.0)]
    assert aids.refuses_from(1, None) == (1.0, 0.0)
    assert Aids(refuse=1.0, odds=0.5, refuse_pointed=4.0).refuses_from(FAR + 1, 3.0) == (4.0, 1.5)
    assert Aids(refuse=1.0, odds=0.5).refuses_from(1, 3.0) == (1.0, 0.0)


@pytest.mark.parametrize("content", ["{", "[]", '{"onceread": {"evidense": 1}}', '{"onceread": 3}'])
def test_what_cannot_be_understood_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "generation_config.json").write_text(content, "utf-8")
    with pytest.raises(ConfigError, match=r"generation_config\.json"):
        Aids.of(tmp_path)
