"""The passage index: BM25 within one document, words taken literally, dropped with the document."""

import pytest

from storage.database import Database
from storage.evidence import PassageIndex

PASSAGES = ["The mill stood by the river.", "The river froze.", "Élise wrote letters to the miller's wife in winter."]


@pytest.fixture
def index(database: Database) -> PassageIndex:
    """An index of one document of three passages, each of ten characters' place."""
    made = PassageIndex(database)
    made.build("d0c", [(10 * n, 10 * n + 9, words) for n, words in enumerate(PASSAGES)])
    return made


def test_passages_with_rarer_and_more_words_come_first(index: PassageIndex) -> None:
    hits = index.search("d0c", ["river", "mill"], 5)
    assert [hit.char_start for hit in hits] == [0, 10]
    assert hits[0].score > hits[1].score
    assert [hit.char_start for hit in index.search("d0c", ["river", "mill"], 1)] == [0]


def test_stems_case_and_accents_do_not_count(index: PassageIndex) -> None:
    assert [(hit.char_start, hit.char_end) for hit in index.search("d0c", ["ELISE"], 5)] == [(20, 29)]
    assert [hit.char_start for hit in index.search("d0c", ["letter"], 5)] == [20]


@pytest.mark.parametrize("word", ['"', 'a" OR words:river', "*", "NEAR(", "river*", "-", "words : river", ""])
def test_words_are_words_and_no_query_language(index: PassageIndex, word: str) -> None:
    assert {hit.char_start for hit in index.search("d0c", [word], 5)} <= {0, 10}


def test_no_words_find_nothing(index: PassageIndex) -> None:
    assert index.search("d0c", [], 5) == []


def test_the_spread_of_words_is_that_of_this_document(index: PassageIndex) -> None:
    index.build("another", [(0, 9, "river river river")] * 9)
    assert index.spread("d0c", ["river", "letters", "castle"]) == (3, [2, 1, 0])


def test_a_document_is_indexed_once_until_it_is_removed(index: PassageIndex) -> None:
    index.build("d0c", [(0, 9, "castle")])
    assert index.spread("d0c", ["castle"]) == (3, [0])
    index.remove("d0c")
    assert not index.ready("d0c")
    index.remove("d0c")
    index.build("d0c", [])
    assert index.ready("d0c")
    assert index.search("d0c", ["river"], 5) == []


def test_only_a_documents_id_names_a_table(index: PassageIndex) -> None:
    with pytest.raises(ValueError, match="no document's id"):
        index.search('x"; DROP TABLE documents; --', ["river"], 5)
