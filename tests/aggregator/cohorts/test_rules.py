"""What every rule keeps to, whatever is known of the devices."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator import cohort
from aggregator.cohorts.balance import ClassBalance
from aggregator.cohorts.base import Rule
from aggregator.cohorts.memory import Memory
from aggregator.cohorts.oort import Oort
from aggregator.cohorts.power_of_choice import PowerOfChoice
from aggregator.cohorts.registry import RULES
from aggregator.cohorts.uniform import Uniform
from aggregator.records import Invitation, Standing
from fedloom.job.rounds import Rounds
from fedloom.wire.messages import Phase

EVERY = [kind() for kind in RULES.values()]
NAMES = list(RULES)
IDS = [bytes([number]) * 16 for number in range(12)]

standings = st.builds(
    Standing,
    device=st.sampled_from(IDS),
    samples=st.integers(0, 10**7),
    loss=st.none() | st.floats(0.0, 1e38),
    seconds=st.none() | st.floats(0.0, 1e6),
    class_counts=st.just(()) | st.tuples(*[st.integers(0, 1000)] * 3),
    asked=st.integers(0, 50),
    answered=st.integers(0, 50),
)
fleets = st.lists(standings, min_size=1, max_size=12, unique_by=lambda each: each.device)


@pytest.mark.parametrize("rule", EVERY, ids=NAMES)
@settings(max_examples=40)
@given(fleets, st.integers(1, 12), st.integers(1, 1000), st.integers(0, 99))
def test_a_draw_has_so_many_different_devices(rule: Rule, ready, count, round_number, seed):
    count = min(count, len(ready))
    positions = rule.pick(ready, count, round_number, np.random.default_rng(seed))
    assert len(positions) == count == len({int(each) for each in positions})
    assert all(0 <= each < len(ready) for each in positions)


@pytest.mark.parametrize("rule", EVERY, ids=NAMES)
@settings(max_examples=40)
@given(
    fleets,
    st.lists(st.sampled_from(IDS), min_size=1, unique=True),
    st.floats(0.05, 1.0),
    st.floats(1.0, 3.0),
    st.floats(0.0, 1.0),
    st.integers(0, 99),
)
def test_a_cohort_follows_from_its_seed_alone(rule: Rule, told, ready, share, over, evaluate, seed):
    rounds = Rounds(count=1, cohort=share, over_selection=over, evaluate=evaluate)
    drawn = cohort.choose(Phase.TRAIN, ready, rounds, (seed, 2, 1, 1), 0, 2, Memory(rule, told))
    assert drawn == cohort.choose(Phase.TRAIN, ready[::-1], rounds, (seed, 2, 1, 1), 0, 2, Memory(rule, told[::-1]))
    plain = cohort.choose(Phase.TRAIN, ready, rounds, (seed, 2, 1, 1))
    assert drawn.target == plain.target
    assert len(drawn.invitations) == len(plain.invitations)
    assert sum(each.evaluate for each in drawn.invitations) == sum(each.evaluate for each in plain.invitations)
    assert [each.device for each in drawn.invitations] == sorted(
        {each.device for each in drawn.invitations} & set(ready)
    )


@pytest.mark.parametrize("rule", EVERY, ids=NAMES)
def test_statistics_and_the_last_evaluation_do_not_choose(rule: Rule):
    memory = Memory(rule, [Standing(each, 10, float(number), answered=1) for number, each in enumerate(IDS)])
    rounds = Rounds(count=1, cohort=0.25, evaluate=0.5)
    for phase in (Phase.STATISTICS, Phase.EVALUATE):
        assert cohort.choose(phase, IDS, rounds, (3,), 0, 9, memory) == cohort.choose(phase, IDS, rounds, (3,))


def test_whom_a_rule_prefers_evaluates_no_more_often_than_the_others_of_its_cohort():
    memory = Memory(PowerOfChoice(), [Standing(each, 10, float(each[0]), answered=1) for each in IDS])
    rounds = Rounds(count=1, cohort=0.5, over_selection=1.0, evaluate=0.5)
    drawn = [cohort.choose(Phase.TRAIN, IDS, rounds, (seed,), 0, 2, memory).invitations for seed in range(400)]
    worst = [each.evaluate for invitations in drawn for each in invitations if each.device == IDS[-1]]
    assert len(worst) == 400
    assert 0.4 < np.mean(worst) < 0.6


def test_uniform_draws_are_those_of_before():
    """Recorded before there were any other rules."""
    rounds = Rounds(count=1, cohort=0.25, over_selection=1.3, evaluate=0.5)
    drawn = cohort.choose(Phase.TRAIN, IDS, rounds, (7, 3, 1, 1))
    expected = ((0, False), (3, True), (10, True), (11, False))
    assert drawn.target == 3
    assert drawn.invitations == tuple(Invitation(IDS[number], True, evaluates) for number, evaluates in expected)


@given(st.lists(st.sampled_from(IDS), min_size=1, unique=True), st.floats(0.05, 1.0), st.integers(0, 99))
def test_uniform_takes_the_first_of_a_permutation(ready, share, seed):
    """As it stood in `choose` before: a run that was begun then goes on with the same cohorts."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1, 1, 1]))
    order = [sorted(ready)[index] for index in rng.permutation(len(ready))]
    drawn = cohort.choose(Phase.TRAIN, ready, Rounds(count=1, cohort=share, over_selection=1.0), (seed, 1, 1, 1))
    count = max(1, math.ceil(share * len(ready) - 1e-9))
    assert {each.device for each in drawn.invitations} == set(order[:count])


@pytest.mark.parametrize("rule", EVERY, ids=NAMES)
def test_every_device_gets_its_turn(rule: Rule):
    """Device k has k + 1 samples and a loss of k; everybody answers."""
    memory = Memory(rule)
    rounds = Rounds(count=1, cohort=0.2, over_selection=1.0)
    seen = set()
    for number in range(1, 121):
        invited = [each.device for each in cohort.choose(Phase.TRAIN, IDS, rounds, (5, number), 0, number, memory)[0]]
        memory.asked(invited, number)
        for device in invited:
            memory.heard(Standing(device, device[0] + 1, float(device[0]), 1.0, (device[0], 5, 1), answered=number))
        seen |= set(invited)
    assert seen == set(IDS)


@pytest.mark.parametrize("rule", [PowerOfChoice(), Oort()], ids=["power-of-choice", "oort"])
def test_a_device_that_never_answers_is_asked_less_than_its_share_and_not_forgotten(rule: Rule):
    memory = Memory(rule)
    rounds = Rounds(count=1, cohort=0.25, over_selection=1.0)
    asked = 0
    for number in range(1, 201):
        invited = [each.device for each in cohort.choose(Phase.TRAIN, IDS, rounds, (5, number), 0, number, memory)[0]]
        memory.asked(invited, number)
        for device in set(invited) - {IDS[0]}:
            memory.heard(Standing(device, 10, 1.0 + device[0] / 10, 1.0, answered=number))
        asked += IDS[0] in invited
    assert 2 <= asked <= 150


@pytest.mark.parametrize("rule", EVERY, ids=NAMES)
def test_a_liar_is_drawn_no_more_often_than_the_best_honest_device(rule: Rule, often, known):
    """All alike, but for one that claims any loss, and as many samples as are admitted."""
    honest = [known(number, loss=1.0 if number else 2.0, samples=10 if number else 20) for number in range(9)]
    liar = known(9, loss=1e30, samples=10**7)
    drawn = often(rule, [*honest, liar], 3)
    assert drawn[9] <= drawn[0] * 1.1 + 20


def test_what_a_liar_gains_from_power_of_choice_is_bounded_by_its_candidates(often, known):
    """With as much data as the others, it is as often among the candidates as they are: 2 · 3 of 30 times."""
    ready = [known(number) for number in range(29)] + [known(29, loss=1e30)]
    assert often(PowerOfChoice(candidates=2.0), ready, 3)[29] / 2000 < 0.2 + 0.03


def test_uniform_knows_nothing():
    memory = Memory(Uniform())
    assert memory.heard(Standing(IDS[0], 10, 1.0, answered=1)) is None
    assert memory.asked(IDS, 1) == ()
    assert memory.of(IDS[0]) == Standing(IDS[0])


def test_only_the_balance_of_classes_asks_for_them():
    assert [rule for rule in EVERY if rule.counts_classes] == [ClassBalance()]
