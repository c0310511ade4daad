"""Parts of a phase come in their shares, and a resumed run meets the same order."""

from model.training.mix import Mix

PARTS = [{"kind": "tune", "share": 3}, {"kind": "distill", "share": 1}]


def mix() -> Mix:
    """Two parts; a part's source is its kind."""
    return Mix(PARTS, lambda part: part["kind"])


def test_every_part_gets_its_share_and_counts_its_own_turns() -> None:
    steps = [mix().at(n) for n in range(8)]
    assert [source for _, source, _ in steps].count("tune") == 6
    for kind in ("tune", "distill"):
        turns = [turn for _, source, turn in steps if source == kind]
        assert turns == list(range(len(turns)))


def test_the_order_depends_on_the_step_alone() -> None:
    whole, resumed = mix(), mix()
    expected = [whole.at(n)[1:] for n in range(20)]
    assert [resumed.at(n)[1:] for n in range(11, 20)] == expected[11:]
    assert [resumed.at(n)[1:] for n in range(20)] == expected
