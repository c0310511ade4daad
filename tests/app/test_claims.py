"""Sentences of an answer and the citations that hold them."""

from app.citations import Citation
from app.claims import Claim, claims
from app.passages import Place

PLACE = Place("book.txt", None, 1, 1, 0, 1)
MILL = Citation("The mill was built by Anna Reed in 1817.", True, PLACE, "exact")
FLOOD = Citation("In the flood of 1830 the bridge was swept away.", True, PLACE, "exact")
INVENTED = Citation("Dragons lived in the mill.", False, None)


def test_each_sentence_carries_the_numbers_of_the_quotes_that_hold_it() -> None:
    answer = "Anna Reed built the mill. The bridge was swept away in 1830. Dragons lived there."
    assert claims(answer, [MILL, FLOOD, INVENTED]) == [
        Claim("Anna Reed built the mill.", (1,)),
        Claim("The bridge was swept away in 1830.", (2,)),
        Claim("Dragons lived there.", ()),
    ]


def test_a_short_answer_stands_on_all_its_quotes_that_were_found() -> None:
    assert claims("in 1817", [MILL, INVENTED, FLOOD]) == [Claim("in 1817", (1, 3))]


def test_another_number_is_not_held() -> None:
    assert claims("Anna Reed built the mill in 1971. So it was.", [MILL])[0].citations == ()


def test_the_models_own_marks_count_where_there_is_such_a_citation() -> None:
    made = claims("She built it [1]. It was lost later. [2] Dragons [3] came [9].", [MILL, FLOOD, INVENTED])
    assert [(claim.text, claim.citations) for claim in made] == [
        ("She built it.", (1,)), ("It was lost later.", (2,)), ("Dragons came.", ()),
    ]


def test_no_answer_has_no_sentences() -> None:
    assert claims("", [MILL]) == []
