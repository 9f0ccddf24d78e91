"""The simulation can fail: a guarantee that is broken on purpose is noticed within a few seeds."""

import pytest
from sim.mutations import (
    MUTATIONS,
    fsync_tried_again,
    manifest_not_persisted,
    old_manifest_believed,
    outbox_ignored,
    personal_model_before_its_update,
    personal_model_left_behind,
    second_answer_wins,
    standings_forgotten,
)
from sim.oracle import Violation
from sim.world import play

pytestmark = pytest.mark.slow

SEEDS = 60
RATES = {
    fsync_tried_again: {"disk": 0.01, "kill": 0.0, "gremlin": 0.0},
    old_manifest_believed: {"duplicate": 0.5, "reorder": 0.3},
    manifest_not_persisted: {"duplicate": 0.5, "reorder": 0.3, "kill": 0.01},
    outbox_ignored: {"kill": 0.02, "slow": 0.1},
    personal_model_left_behind: {"disk": 0.02},
    standings_forgotten: {"kill": 0.02},
    second_answer_wins: {"gremlin": 1.0, "kill": 0.0},
}
"""What makes it likely that the guarantee matters."""
FIRST = {
    fsync_tried_again: 20,
    manifest_not_persisted: 20,
    personal_model_before_its_update: 60,
    personal_model_left_behind: 100,
    second_answer_wins: 28,
}
"""Where to begin, if not at 1: a device is seldom killed just then, or asked twice."""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_broken_guarantee_is_found(monkeypatch, mutation):
    mutation(monkeypatch.setattr)
    rates = RATES.get(mutation, {})
    with pytest.raises(Violation):
        play_all(FIRST.get(mutation, 1), rates)


def play_all(first, rates):
    for seed in range(first, first + SEEDS):
        play(seed, **rates)
