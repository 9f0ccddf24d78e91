"""Silent devices sit out as the aggregator has them sit out."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aggregator.attendance import Attendance
from aggregator.round import fewest_updates
from fedloom.job.rounds import Rounds
from fedloom.wire.messages import Phase
from simulation.world.absence import Absence

ROUNDS = Rounds(count=1, devices=6, min_updates=2)
SOME = st.sets(st.integers(0, 5))


def ids(numbers):
    return np.array(sorted(numbers), np.intp)


@given(st.lists(st.tuples(SOME, SOME, SOME), max_size=30))
def test_the_same_devices_are_invited(steps):
    fleet = SimpleNamespace(ready=set())
    theirs, ours = Attendance(fleet, ROUNDS), Absence()
    for ready, missed, spoke in steps:
        fleet.ready = {bytes([each]) for each in ready}
        invited = theirs.open(Phase.TRAIN)
        assert ours.open(ids(ready), fewest_updates(Phase.TRAIN, ROUNDS)).tolist() == sorted(
            each[0] for each in invited
        )
        theirs.missed([bytes([each]) for each in sorted(missed)])
        ours.missed(ids(missed))
        for each in spoke:
            theirs.spoke(bytes([each]))
        ours.spoke(ids(spoke))
