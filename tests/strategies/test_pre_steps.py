"""Nearest-neighbour mixing and bucketing, by hand."""

import numpy as np
import pytest
from directions import normal, updates

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from strategies import ClientUpdate, UpdatesInMemory, create, mixed
from strategies.bucketing import Bucketing, shuffled
from strategies.registry import BEFORE, COMPOSED


def prepared(name, deltas, **options):
    (pre_step,) = create(StrategyChoice("fedavg", options, before=(name,)), "job.toml").before
    return pre_step.prepare(updates(deltas), np.shape(deltas)[1])


def rows(given):
    return np.array([update.delta.copy() for update in given])


def test_each_becomes_the_mean_of_its_nearest():
    found = prepared("nearest_neighbour_mixing", [[0], [1], [3], [9], [60]], f=2)
    np.testing.assert_allclose(rows(found)[:, 0], np.array([4, 4, 4, 13, 72]) / 3, rtol=1e-6)


def test_bad_updates_are_not_mixed_into_good_ones():
    honest = normal(1, 7)
    found = rows(prepared("nearest_neighbour_mixing", np.concatenate((honest, np.full((3, 6), 1e6))), f=3))
    np.testing.assert_allclose(found[:7], np.tile(honest.mean(axis=0), (7, 1)), rtol=1e-5, atol=1e-6)


def test_buckets_hold_everybody_once():
    deltas = np.eye(7, dtype=np.float32)
    buckets = rows(prepared("bucketing", deltas, bucket_size=3))
    assert buckets.shape == (3, 7)
    assert sorted(np.count_nonzero(buckets, axis=1)) == [1, 3, 3]
    assert (np.count_nonzero(buckets, axis=0) == 1).all()
    np.testing.assert_allclose(buckets.sum(axis=1), 1, rtol=1e-6)


def test_the_same_updates_are_put_into_the_same_buckets_and_others_are_not():
    deltas = normal(2, 12)
    first = prepared("bucketing", deltas)._shares
    assert (prepared("bucketing", deltas)._shares == first).all()
    changed = []
    for row in range(12):
        other = deltas.copy()
        other[row, 0] = np.nextafter(other[row, 0], np.float32(np.inf))  # any update draws anew
        changed.append((prepared("bucketing", other)._shares != first).any())
    assert all(changed)


def test_no_device_keeps_the_others_in_their_places():
    """Else an attacker could try until its own update is where it likes."""
    deltas = normal(2, 12)
    alone = [shuffled(updates(np.concatenate((deltas, [[number] * 6]))), 6) for number in range(5)]
    assert len({tuple(order[order != 12]) for order in alone}) == 5


def test_a_device_is_drawn_into_every_bucket_sooner_or_later():
    seen = {int(np.argmax(prepared("bucketing", normal(seed, 6))._shares[:, 0])) for seed in range(60)}
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("name", ["bucketing", "clip_norm", "nearest_neighbour_mixing"])
def test_what_is_handed_on_is_lazy_and_keeps_its_promises(name):
    deltas = normal(3, 9, size=11)
    given = prepared(name, deltas)
    whole = rows(given)
    assert len(given) == len(whole) == len(given.samples)
    np.testing.assert_allclose(rows(given), whole)
    blocks = [block.deltas.copy() for block in given.blocks(2)]
    np.testing.assert_allclose(np.concatenate(blocks), whole, rtol=1e-6)
    part = np.empty((len(whole), 4), np.float32)
    given.columns(5, part)
    np.testing.assert_allclose(part, whole[:, 5:9], rtol=1e-6)
    assert [update.samples for update in given] == list(given.samples)
    assert (rows(updates(deltas)) == deltas).all()


class Counting(UpdatesInMemory):
    """How often they were read."""

    reads = 0

    def columns(self, start, out):
        self.reads += 1
        super().columns(start, out)


@pytest.mark.parametrize(
    ("at_once", "rows", "reads"),
    [(9, 1, 1), (3, 1, 3), (1, 1, 9), (0, 1, 9), (9, 4, 2), (4, 2, 3), (3, 8, 2), (100, 100, 1)],
)
def test_those_that_are_mixed_are_read_once_for_all_that_are_made_at_once(monkeypatch, at_once, rows, reads):
    """(9, 4): two blocks of four, and one of one."""
    size = 11
    monkeypatch.setattr(mixed, "AHEAD_BYTES", at_once * 4 * size)
    given = Counting(updates(normal(3, 9, size)))
    made = mixed.Mixed(given, np.eye(9, dtype=np.float32)[::-1], size)
    deltas = [block.deltas.copy() for block in made.blocks(rows)]
    assert given.reads == reads
    assert [len(each) for each in deltas[:-1]] == [rows] * (len(deltas) - 1)
    np.testing.assert_array_equal(np.concatenate(deltas), normal(3, 9, size)[::-1])


def test_samples_of_a_mix_are_their_mean():
    given = prepared("bucketing", normal(1, 3), bucket_size=3)  # of 1, 2, 3
    assert list(given.samples) == [2]
    few = UpdatesInMemory(update._replace(samples=int(update.samples == 1)) for update in updates(normal(1, 3)))
    assert list(Bucketing(3).prepare(few, 6).samples) == [1]  # not 0.33 rounded: somebody has trained


def test_staleness_steps_and_loss_survive_clipping():
    given = updates(normal(1, 2))
    stale = UpdatesInMemory(update._replace(staleness=3, steps=5) for update in given)
    (pre_step,) = create(StrategyChoice("fedavg", before=("clip_norm",)), "job.toml").before
    assert [(update.staleness, update.steps) for update in pre_step.prepare(stale, 6)] == [(3, 5)] * 2


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("name", COMPOSED)
def test_what_can_be_put_together_makes_a_model(name, before):
    """And what cannot is refused before a job begins, not in each of its rounds."""
    choice = StrategyChoice(name, {"client_learning_rate": 0.1} if name == "qfedavg" else {}, before=(before,))
    if name in ("fednova", "qfedavg") and before != "clip_norm":
        with pytest.raises(ConfigError, match=rf"strategy.before: '{before}' hands on mixtures .* '{name}' needs the"):
            create(choice, "job.toml")
        return
    rule, deltas = create(choice, "job.toml"), 1.0 + normal(7, 12, size=4) / 10.0
    given = [ClientUpdate(bytes([n]) * 16, n + 1, row, steps=3, loss=0.5) for n, row in enumerate(deltas)]
    weights = np.zeros(4, np.float32)
    fused = rule.fuse(weights, UpdatesInMemory(given, trusted=np.ones(4, np.float32)), rule.initial_state(4))
    assert (fused.weights > 0.0).all()
