"""Choosing a sentence by its words."""

import pytest

from app.choosing import Asked, Chooser, is_answer_in_code


def best(question: str, *sentences: str, spread: int = 1) -> str:
    """The sentence chosen, with every word of the question in `spread` of ten passages."""
    asked = Asked.of(question)
    chooser = Chooser(asked, 10, [spread] * len(asked.words))
    return max(sentences, key=chooser.score)


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("How many brothers were there?", "number"),
        ("When did the mill burn?", "time"),
        ("In what year did it burn?", "time"),
        ("Who built the mill?", "name"),
        ("Which file defines read_state?", "definition"),
        ("Which function calls read_state?", "caller"),
        ("Where is read_state called?", "caller"),
        ("Who calls readState?", "caller"),
        ("Who called the king?", "name"),
        ("When was he called to the bar?", "time"),
        ("Why did they leave?", ""),
    ],
)
def test_a_question_says_what_kind_of_thing_it_asks_for(question: str, kind: str) -> None:
    assert Asked.of(question).kind == kind


def test_small_words_do_not_count_unless_there_are_no_others() -> None:
    assert Asked.of("Who built the old mill?").words == ("built", "old", "mill")
    assert Asked.of("Who was he?").words == ("who", "was", "he")


def test_the_sentence_with_more_of_the_questions_words_wins() -> None:
    right = "The old mill at Corbel was built by Anna Reed in 1820."
    assert best("Who built the mill at Corbel?", "The river runs past the mill.", right) == right


def test_stems_and_beginnings_count() -> None:
    right = "Its construction finished after many long years of work."
    assert best("When was it constructed?", "It stood there for a long time then.", right) == right


def test_a_rare_word_counts_more_than_a_common_one() -> None:
    asked = Asked.of("mill heron")
    chooser = Chooser(asked, 100, [90, 1])
    assert chooser.cover_of("a heron") > 0.9 > 0.1 > chooser.cover_of("a mill")


def test_between_equals_the_kind_of_thing_decides() -> None:
    right = "The mill burned down in 1871 with all its grain."
    assert best("When did the mill burn?", "The mill burned down with all of its grain.", right) == right


def test_what_only_repeats_the_question_gives_way_to_what_says_more() -> None:
    right = "The mill of Corbel burned."
    assert best("What happened to the mill of Corbel?", "The Mill of Corbel", right) == right


def test_a_line_of_few_words_is_as_good_as_a_sentence() -> None:
    chooser = Chooser(Asked.of("What is the value of Corbel?"), 1_000, [4, 1])
    line, sentence = "Corbel: 573399", "We had found nothing of any value but the silver and the trinkets."
    assert chooser.score(line, 1.0) > chooser.score(sentence, 1.0)


def test_what_its_neighbours_say_counts_for_a_sentence() -> None:
    asked = Asked.of("When did the mill at Corbel burn?")
    chooser = Chooser(asked, 10, [1] * len(asked.words))
    sentence = "The mill burned down in the year 1871."
    assert chooser.score(sentence, context=f"Corbel had a mill. {sentence}") > chooser.score(sentence)
    assert chooser.score(sentence, context=sentence) == chooser.score(sentence)


def test_a_definition_is_preferred_to_a_use() -> None:
    right = "def read_state(home, document):"
    use = "    result, state = reading.read_state(home, document_id)  # read_state is defined elsewhere"
    assert best("Where is read_state defined?", use, right) == right


def test_a_call_is_preferred_to_a_definition_and_to_a_mention() -> None:
    right = "    return reading.read_state(home, document_id)"
    others = ("def read_state(home, document):", "    # read_state is what this function calls")
    assert best("Which function calls read_state?", *others, right) == right


@pytest.mark.parametrize(
    ("question", "line", "answers"),
    [
        ("Which function calls read_state?", "x = home.read_state(4)", True),
        ("Which function calls read_state?", "x = home.read_state_again(4)", False),
        ("Which function calls read_state?", "def read_state(home):", False),
        ("Where is read_state defined?", "def read_state(home):", True),
        ("Where is read_state defined?", "def write(home):", False),
        ("Who wrote read_state?", "def read_state(home):", False),
    ],
)
def test_a_line_of_code_answers_by_its_form(question: str, line: str, answers: bool) -> None:
    assert is_answer_in_code(Asked.of(question), line) is answers


@pytest.mark.parametrize(
    ("question", "of_files"),
    [("In which file is weigh defined?", True), ("Which function calls weigh?", False), ("Where is the mill?", False)],
)
def test_a_question_about_code_may_ask_for_the_file(question: str, of_files: bool) -> None:
    assert Asked.of(question).of_files is of_files
