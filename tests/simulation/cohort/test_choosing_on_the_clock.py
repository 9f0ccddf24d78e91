"""Of the devices that are ready the simulation invites those that an aggregator would, for the same target."""

import numpy as np
import pytest
from federations import job
from hypothesis import given
from hypothesis import strategies as st

from aggregator.cohort import choose
from aggregator.cohorts.memory import Memory
from aggregator.cohorts.registry import create
from fedloom.wire.messages import Phase
from simulation.cohort.choosing import Chooser
from simulation.population.base import MOST_ASKED, device_id


@pytest.mark.parametrize("rule", ["uniform", "samples"])
@given(
    ready=st.sets(st.integers(0, 40), min_size=1),
    cohort=st.sampled_from([0.1, 0.5, 1.0]),
    over=st.sampled_from([1.0, 1.3, 3.0]),
    evaluate=st.sampled_from([0.0, 0.4, 1.0]),
    buffer=st.sampled_from([0, 2]),
    attempt=st.integers(1, 3),
)
def test_the_same_devices_are_invited(rule, ready, cohort, over, evaluate, buffer, attempt):
    tables = {"asynchronous": {"buffer": buffer}, "strategy": {"name": "fedbuff"}} if buffer else {}
    rounds = {"cohort": cohort, "over_selection": over, "evaluate": evaluate, "devices": 20, "min_updates": 1}
    mine = job(rounds=rounds, cohort={"name": rule}, **tables)
    memory = Memory(create(mine, "job.toml"))
    ids = np.array(sorted(ready), np.intp)
    chosen = Chooser(mine, 41, memory).draw(Phase.TRAIN, 7, attempt, ids)
    seed = (mine.seed, 7, attempt, 1)
    theirs = choose(Phase.TRAIN, [device_id(each) for each in ready], mine.rounds, seed, buffer, 7, memory)
    assert [device_id(each) for each in chosen.ids.tolist()] == [each.device for each in theirs.invitations]
    assert chosen.evaluates.tolist() == [each.evaluate for each in theirs.invitations]
    assert chosen.target == theirs.target


@pytest.mark.parametrize(
    ("share", "clients", "asked"),
    [(1.0, MOST_ASKED, MOST_ASKED), (1.0, MOST_ASKED + 1, MOST_ASKED), (0.001, 10_000_000, 10_000)],
)
def test_the_final_evaluation_asks_no_more_than_any_figure_needs(share, clients, asked):
    mine = job(rounds={"evaluate": share})
    chosen = Chooser(mine, clients, Memory(create(mine, "job.toml"))).draw(Phase.EVALUATE, 3, 1)
    assert len(np.unique(chosen.ids)) == len(chosen.ids) == chosen.target == asked
    assert chosen.evaluates.all()
