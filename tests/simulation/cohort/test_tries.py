"""What attempts cost that make no model, on a virtual clock and without one."""

import numpy as np
import pytest
from federations import job, population, run

UNLUCKY = {
    "rounds": {"count": 4, "cohort": 0.5, "devices": 6, "min_updates": 5, "quorum": 0.1, "over_selection": 1.0},
}
"""Five of six are needed: where two of the six that are asked lie, the attempt fails, and six others are asked."""


@pytest.mark.parametrize("devices", [{}, {"devices": {"byte_j": 1.0}}], ids=["no clock", "clock"])
def test_bytes_and_joules_of_attempts_that_fail_are_in_the_round_that_is_done(devices: dict[str, object]) -> None:
    lies = {"attack": {"kind": "sign_flip", "share": 0.17, "strength": 1e6}}
    given = job(**UNLUCKY, seed=2, simulation=lies | devices)
    history = run(given, population(12)).history
    vector = 4 * 27
    tries = [size // (6 * vector) for size in history.update_bytes]
    assert tries == [1, 1, 3, 2]
    assert len(tries) == len(history.seconds) == len(history.updates) == 4
    assert history.model_bytes == history.update_bytes == [6 * vector * count for count in tries]
    if devices:
        assert [len(each) for each in history.attempts] == tries
        assert history.energy_j == [2.0 * 6 * vector * count for count in tries]
        for round_attempts in history.attempts:
            assert [each.cost.wasted_bytes for each in round_attempts[:-1]] == [12 * vector] * (len(round_attempts) - 1)
            assert [each.cost.wasted_joules for each in round_attempts[:-1]] == [12 * vector] * (
                len(round_attempts) - 1
            )


ASYNCHRONOUS = {"asynchronous": {"buffer": 4}, "strategy": {"name": "fedbuff"}, "rounds": {"count": 8, "devices": 4}}


@pytest.mark.parametrize("tables", [{}, ASYNCHRONOUS], ids=["synchronous", "asynchronous"])
def test_an_update_that_is_not_admitted_is_refused_and_was_for_nothing(tables: dict[str, object]) -> None:
    devices = {"byte_j": 1.0, "sample_j": 2.0, "compute": {"weights_per_s": 54.0, "sigma": 1.0}}
    lies = {"kind": "sign_flip", "share": 0.34, "strength": 1e9, "start": 2}
    history = run(job(simulation={"devices": devices, "attack": lies}, **tables), population(12)).history
    attempts = [each for tried in history.attempts for each in tried]
    assert [tried[-1].counted for tried in history.attempts] == history.updates
    assert sum(each.refused for each in attempts) > 0
    for each in attempts:
        assert each.invited >= each.counted
        assert sum(each.staleness) == (each.counted if tables else 0)
        least = 8 * 27 * each.refused  # all are there, and each of them has had a model and sent an update
        assert each.cost.wasted_bytes == pytest.approx(least)
        assert each.cost.wasted_joules >= least + 2.0 * 2 * 8 * each.refused
        assert np.isclose(each.cost.wasted_joules, each.cost.joules) == (each.counted == 0)
