"""How long devices need, what they use, and who gets lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from world_fleets import load

from fedloom.learning.plan import TrainPlan
from fedloom.simulated_world import Compute, Devices, Network
from simulation.world.draws import Draws
from simulation.world.work import Work, Workshop, samples_trained

IDS = np.arange(20_000)
FOREVER = np.full(len(IDS), np.inf)


def worked(moment=1, **devices):
    return Workshop(Devices(**devices), load(), Draws(1)).work(IDS, FOREVER, moment)


def test_by_default_nothing_takes_time_or_gets_lost():
    work = worked()
    assert (work.answers_s == 0.0).all()
    assert work.used(0.0).up_bytes.sum() == 400 * len(IDS)
    assert work.used(0.0).joules.sum() == 0.0


def test_devices_differ_in_speed_as_they_are_told_to():
    work = worked(compute=Compute(weights_per_s=50.0, sigma=0.5))
    assert np.median(work.train_s) == pytest.approx(100 * 10 / 50.0, rel=0.02)
    assert np.log(work.train_s).std() == pytest.approx(0.5, rel=0.02)
    assert (worked(2, compute=Compute(weights_per_s=50.0, sigma=0.5)).train_s == work.train_s).all()


def test_a_device_is_not_as_fast_in_every_round():
    compute = Compute(weights_per_s=50.0, sigma=0.5, jitter=0.2)
    first, second = worked(1, compute=compute), worked(2, compute=compute)
    change = np.log(second.train_s / first.train_s)
    assert change.std() == pytest.approx(0.2 * np.sqrt(2.0), rel=0.03)


def test_what_is_on_its_way_takes_its_bytes_and_the_latency():
    work = worked(network=Network(down_bytes_per_s=500.0, up_bytes_per_s=100.0, sigma=0.3, latency_s=2.0))
    assert np.median(work.down_s) == pytest.approx(2.0 + 1000 / 500.0, rel=0.02)
    assert np.median(work.up_s) == pytest.approx(2.0 + 400 / 100.0, rel=0.02)
    assert work.up_s - 2.0 == pytest.approx(2.0 * (work.down_s - 2.0))  # as good a link both ways


def test_so_many_ignore_a_round_and_so_many_are_lost_in_it():
    work = worked(ignores=0.1, drops=0.2, compute=Compute(weights_per_s=50.0), sample_j=1.0)
    ignored = work.gone_s < 0.0
    assert ignored.mean() == pytest.approx(0.1, abs=0.01)
    assert work.is_lost.mean() == pytest.approx(0.1 + 0.9 * 0.2, abs=0.01)
    assert work.used(1e9).joules[ignored].sum() == 0.0
    halfway = work.used(1e9).joules[work.is_lost & ~ignored]
    assert halfway.mean() == pytest.approx(50.0, rel=0.05)  # joules of the 100 that a whole round takes
    other = worked(2, ignores=0.1, drops=0.2)
    assert (other.is_lost & work.is_lost).mean() == pytest.approx(0.28**2, abs=0.01)


def one(**changes):
    """Ten seconds down, twenty of training, five up; 1000 and 400 bytes, 100 samples at 2 J, 0.01 J a byte."""
    given = {
        "down_s": 10.0,
        "train_s": 20.0,
        "up_s": 5.0,
        "samples": 100.0,
        "fails_s": np.inf,
        "stays_s": np.inf,
        "ties": 0.0,
    }
    arrays = {name: np.array([value]) for name, value in (given | changes).items()}
    return Work(**arrays, load=load(), devices=Devices(sample_j=2.0, byte_j=0.01))


@pytest.mark.parametrize(
    ("seconds", "used"),
    [
        (0.0, (0.0, 0.0, 0.0)),
        (5.0, (5.0, 500.0, 0.0)),
        (20.0, (10.0 + 100.0, 1000.0, 0.0)),
        (32.5, (10.0 + 200.0 + 2.0, 1000.0, 200.0)),
        (99.0, (10.0 + 200.0 + 4.0, 1000.0, 400.0)),
    ],
)
def test_what_is_used_grows_with_the_time(seconds, used):
    assert [float(each[0]) for each in one().used(seconds)] == pytest.approx(used)


def test_who_leaves_uses_no_more_and_has_not_answered():
    assert one(stays_s=20.0).used(99.0).joules[0] == pytest.approx(110.0)
    assert one(stays_s=34.9).answers_s[0] == np.inf
    assert one(stays_s=35.0).answers_s[0] == 35.0
    assert one(fails_s=1.0).is_lost[0]


@given(st.integers(0, 60), st.integers(0, 20), st.integers(1, 4), st.integers(0, 12))
def test_samples_are_those_of_the_steps_that_are_made(size, batch, epochs, most):
    plan = TrainPlan(loss="mse", batch_size=batch, local_epochs=epochs, max_steps=most)
    an_epoch = [min(batch or size, size - start) for start in range(0, size, batch or max(size, 1))]
    steps = an_epoch * epochs
    assert samples_trained(plan, np.array([size])) == [sum(steps[:most] if most else steps)]
