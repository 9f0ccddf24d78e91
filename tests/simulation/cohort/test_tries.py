"""What attempts cost that make no model, on a virtual clock and without one."""

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
