"""A round closes as the aggregator's own would: by hand, and event by event beside `RoundState`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.records import Answer
from aggregator.round import RoundState
from fedloom.job.rounds import Rounds
from fedloom.wire.messages import Phase, Verdict
from simulation.world.closing import close

NEVER = float("inf")


def closed(answers_s, target, refused=(), **rounds):
    mask = np.isin(np.arange(len(answers_s)), refused)
    return close(
        np.array(answers_s, np.float64),
        np.arange(len(answers_s)),
        mask,
        target,
        Rounds(count=1, deadline_s=60.0, **rounds),
    )


@pytest.mark.parametrize(
    ("answers_s", "target", "refused", "rounds", "expected"),
    [
        ([3.0, 1.0, 2.0], 3, [], {}, ("done", 3.0, [0, 1, 2])),  # all have answered
        ([3.0, 1.0, 2.0, 9.0], 3, [], {}, ("done", 3.0, [0, 1, 2])),  # over-selected: the fourth is late
        ([3.0, 1.0, NEVER], 3, [], {"quorum": 0.6}, ("done", 60.0, [0, 1])),  # enough at the deadline
        ([3.0, 1.0, NEVER], 3, [], {}, ("aborted", 60.0, [0, 1])),  # all three are needed
        ([3.0, 61.0, 60.0], 3, [], {"quorum": 0.6}, ("done", 60.0, [0, 2])),  # on time to the second
        ([3.0, 1.0, 2.0], 3, [1], {}, ("done", 3.0, [0, 2])),  # who is refused lowers what the quorum is a share of
        ([3.0, 1.0, 2.0], 3, [1], {"min_updates": 3, "devices": 3}, ("aborted", 3.0, [0, 2])),  # but not that
        ([3.0, 1.0, 2.0], 3, [0, 1, 2], {}, ("aborted", 3.0, [])),  # nothing to fuse
        ([NEVER, NEVER], 2, [], {"quorum": 0.1}, ("aborted", 60.0, [])),
        ([5.0, 1.0, 2.0, 2.0], 2, [1], {}, ("done", 2.0, [2, 3])),  # two at once, in the order of their numbers
    ],
)
def test_rounds_by_hand(answers_s, target, refused, rounds, expected):
    closing = closed(answers_s, target, refused, **rounds)
    assert (closing.outcome, closing.seconds, np.flatnonzero(closing.counted).tolist()) == expected


def reference(answers_s, refused, target, rounds):
    """The same with the aggregator's round, an event after the other."""
    devices = [number.to_bytes(16, "big") for number in range(len(answers_s))]
    state = RoundState(Phase.TRAIN, devices, target, rounds, rounds.deadline_s)
    now_s = 0.0
    for number in sorted(range(len(answers_s)), key=lambda each: (answers_s[each], each)):
        if answers_s[number] > rounds.deadline_s:
            break
        now_s = answers_s[number]
        verdict = Verdict.REJECTED if refused[number] else Verdict.ACCEPTED
        (state.reject if refused[number] else state.record)(Answer(devices[number], b"", verdict, ""))
        if now_s < rounds.deadline_s and (outcome := state.outcome(now_s)):
            return outcome, now_s, state
    return state.outcome(rounds.deadline_s), rounds.deadline_s, state


@st.composite
def cases(draw):
    answers_s = draw(st.lists(st.sampled_from([0.0, 1.0, 2.5, 7.0, 59.0, 60.0, 60.5, NEVER]), min_size=1, max_size=12))
    refused = draw(st.lists(st.booleans(), min_size=len(answers_s), max_size=len(answers_s)))
    target = draw(st.integers(1, len(answers_s)))
    quorum, devices = draw(st.sampled_from([0.1, 0.5, 0.8, 1.0])), draw(st.integers(1, 12))
    rounds = Rounds(count=1, devices=devices, quorum=quorum, min_updates=draw(st.integers(0, devices)), deadline_s=60.0)
    return answers_s, refused, target, rounds


@settings(max_examples=500)
@given(cases())
def test_every_round_closes_as_the_aggregators_does(case):
    answers_s, refused, target, rounds = case
    outcome, seconds, state = reference(*case)
    closing = close(np.array(answers_s), np.arange(len(answers_s)), np.array(refused, np.bool_), target, rounds)
    assert (closing.outcome, closing.seconds) == (outcome, seconds)
    if seconds < rounds.deadline_s:  # what comes at the deadline itself is in, here
        counted = [number.to_bytes(16, "big") for number in np.flatnonzero(closing.counted).tolist()]
        assert counted == sorted(device for device, _ in state.answers)
