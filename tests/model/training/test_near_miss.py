"""A near miss differs from its question in one thing, which the passage does not hold."""

import random

from model.training import near_miss

PASSAGE = ("In 1821 Anne Clegg built the largest mill of York. "
           "Her son sold it after the war to Robert Pike for 40 pounds.")


def test_one_thing_is_changed_for_what_the_passage_does_not_have() -> None:
    sentence = "Her son sold it after the war to Robert Pike for 40 pounds."
    made = [near_miss.alter(sentence, PASSAGE, ["Leeds", "York"], random.Random(n)) for n in range(80)]
    changes = {(change.old, change.new) for change in made if change}
    assert {("son", "daughter"), ("sold", "bought"), ("after", "before"), ("Robert Pike", "Leeds")} <= changes
    assert all(old in sentence and not near_miss.stands(new, PASSAGE) for old, new in changes)
    assert all(change.text == sentence.replace(change.old, change.new) for change in made if change)


def test_what_is_to_stay_stays() -> None:
    sentence = "Her son sold it to Robert Pike."
    made = [near_miss.alter(sentence, PASSAGE, ["Leeds"], random.Random(n), keep="sold it") for n in range(40)]
    assert {change.old for change in made if change} == {"son", "Robert Pike"}


def test_a_number_is_changed_to_one_that_is_not_there() -> None:
    made = {near_miss.alter("It was in 1821.", PASSAGE, [], random.Random(n)) for n in range(40)}
    assert len(made) > 5
    assert all(m and m.old == "1821" and len(m.new) == 4 and m.new != m.old for m in made)


def test_nothing_to_change_gives_none() -> None:
    assert near_miss.alter("So it is.", PASSAGE, ["York"], random.Random(0)) is None


def test_opposites_are_each_others() -> None:
    known = near_miss.opposites()
    assert len(known) > 2000
    assert all(one in known[other] for one, others in known.items() for other in others)


def test_names_are_found_inside_sentences() -> None:
    assert near_miss.names(PASSAGE) == ["Anne Clegg", "York", "Robert Pike"]
