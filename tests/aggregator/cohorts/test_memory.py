"""What is known of a device follows from what it has told, and what it was asked."""

from hypothesis import given
from hypothesis import strategies as st

from aggregator.cohorts.balance import ClassBalance
from aggregator.cohorts.memory import Memory
from aggregator.cohorts.oort import Oort
from aggregator.records import Standing

A, B = b"a" * 16, b"b" * 16


def test_a_device_is_asked_and_answers():
    memory = Memory(Oort())
    assert memory.heard(Standing(A, 20)) == Standing(A, 20)  # in the statistics round
    assert memory.asked([A, B], 1) == (Standing(A, 20, asked=1), Standing(B, asked=1))
    told = Standing(A, 21, 0.5, 3.0, answered=1)
    assert memory.heard(told) == told._replace(asked=1)
    assert memory.of(B) == Standing(B, asked=1)
    assert memory.asked([A], 2) == (told._replace(asked=2),)


def test_older_news_changes_nothing():
    memory = Memory(Oort(), [Standing(A, 20, 0.5, asked=7, answered=7)])
    assert memory.heard(Standing(A, 9, 9.0, answered=5)) is None
    assert memory.of(A).loss == 0.5


def test_classes_stay_known_where_a_device_does_not_evaluate():
    memory = Memory(ClassBalance(), [Standing(A, 20, 0.5, class_counts=(1, 2), asked=1, answered=1)])
    kept = memory.heard(Standing(A, 20, 0.4, answered=2))
    assert kept is not None
    assert kept.class_counts == (1, 2)


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.booleans(), st.integers(0, 9)), max_size=30))
def test_what_is_kept_is_what_is_known(events):
    """A process that reads back the last record of each device knows the same."""
    memory, kept = Memory(Oort()), {}
    for device, is_answer, number in events:
        if is_answer:
            news = memory.heard(Standing(device, number, float(number), answered=number))
            kept |= {device: news} if news else {}
        else:
            kept |= {each.device: each for each in memory.asked([device], number)}
    again = Memory(Oort(), kept.values())
    assert [memory.of(each) for each in (A, B)] == [again.of(each) for each in (A, B)]
