"""The simulated fleet of the examples behaves like one, and nobody waits in its asynchronous twin."""

import msgspec
import pytest

from fedloom.job import load_job
from simulation.virtual import federation
from simulation.world.summary import in_words


def run(path, rounds):
    job = load_job(path)
    job = msgspec.structs.replace(job, rounds=msgspec.structs.replace(job.rounds, count=rounds))
    made = federation(job, path, workers=1)
    for _ in made.run():
        pass
    return made.history


def test_rounds_take_time_and_energy_and_lose_devices(examples):
    history = run(examples / "simulated_fleet" / "job.toml", 4)
    attempts = [each for tried in history.attempts for each in tried]
    assert len(history.simulated_s) == 4
    assert min(history.simulated_s) > 0.4  # the latency alone
    assert sum(history.simulated_s) == pytest.approx(attempts[-1].closed_s)
    assert sum(each.late + each.lost for each in attempts) > 0
    assert 0.0 < sum(each.cost.wasted_joules for each in attempts) < sum(history.energy_j)
    assert "attempts" in next(in_words(attempts))


def test_buffers_are_full_sooner_and_have_stale_updates(examples):
    synchronous = run(examples / "simulated_fleet" / "job.toml", 2)
    buffered = run(examples / "simulated_fleet" / "job_fedbuff.toml", 8)
    assert sum(buffered.updates) == 40
    assert sum(buffered.simulated_s) / 40 < sum(synchronous.simulated_s) / sum(synchronous.updates)
    assert max(len(each[-1].staleness) for each in buffered.attempts) > 1
