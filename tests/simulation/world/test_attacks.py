"""Who lies, and what is sent then."""

import numpy as np
import pytest

from fedloom.simulated_world import Attack
from simulation.world.attackers import Attackers
from simulation.world.attacks import ATTACKS, flipped

IDS = np.arange(20)
DELTAS = np.random.default_rng(3).standard_normal((20, 7), np.float32)
MOVED = np.arange(7, dtype=np.float32)


def forged(kind, share=0.2, round_number=1, deltas=DELTAS, **options):
    attackers = Attackers(Attack(kind, share, **options), 20, 5)
    is_attacker = attackers.among(IDS[: len(deltas)], round_number)
    return attackers.forge(deltas, is_attacker, MOVED, round_number), is_attacker


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.2, 4), (0.33, 7)])
def test_so_many_attack_and_always_the_same(share, count):
    attackers = Attackers(Attack("noise", share), 20, 5)
    assert attackers.among(IDS, 1).sum() == count
    assert (attackers.among(IDS[::-1], 9)[::-1] == attackers.among(IDS, 1)).all()
    if count:
        assert (Attackers(Attack("noise", share), 20, 6).among(IDS, 1) != attackers.among(IDS, 1)).any()


def test_they_may_begin_later_or_never():
    attackers = Attackers(Attack("nan", start=3), 20, 5)
    assert [attackers.refused(IDS, number).sum() for number in (1, 2, 3)] == [0, 0, 4]
    assert not Attackers(Attack("none"), 20, 5).among(IDS, 1).any()
    assert not Attackers(Attack("noise"), 20, 5).refused(IDS, 1).any()


def test_what_they_send_by_kind():
    own, honest = DELTAS[forged("noise")[1]], DELTAS[~forged("noise")[1]]
    sent = {kind: forged(kind, strength=2.0)[0] for kind in ATTACKS}
    assert sent["none"].shape == (0, 7)
    assert (sent["label_flip"] == own).all()
    assert (sent["sign_flip"] == -2.0 * own).all()
    assert (sent["free_rider"] == np.zeros((4, 7))).all()
    assert (sent["replay"] == 2.0 * MOVED).all()
    assert np.isnan(sent["nan"]).all()
    assert sent["inner_product"] == pytest.approx(np.tile(-2.0 * honest.mean(axis=0), (4, 1)), rel=1e-6)
    # 20 devices, 4 of them liars: 7 supporters are needed of 16, so z has 9/16 of the normal distribution below it
    z = (honest.mean(axis=0) - sent["alie"][0]) / honest.std(axis=0)
    assert z == pytest.approx(np.full(7, 0.1573), abs=1e-4)
    assert sent["noise"].std() == pytest.approx(2.0, rel=0.5)


def test_nothing_is_changed_in_place_and_every_row_is_a_float32():
    before = DELTAS.copy()
    for kind in ATTACKS:
        sent, is_attacker = forged(kind)
        assert sent.shape == (is_attacker.sum(), 7)
        assert sent.dtype == np.float32
    assert (before == DELTAS).all()


def test_noise_is_another_in_each_round_and_the_same_again():
    assert (forged("noise")[0] == forged("noise")[0]).all()
    assert (forged("noise")[0] != forged("noise", round_number=2)[0]).any()


@pytest.mark.parametrize("kind", ["alie", "inner_product"])
def test_alone_among_liars_there_is_nothing_to_go_by(kind):
    attackers = Attackers(Attack(kind, 0.5), 20, 5)
    alone = IDS[attackers.among(IDS, 1)][:2]
    sent = attackers.forge(DELTAS[:2], attackers.among(alone, 1), MOVED, 1)
    assert (sent == DELTAS[:2]).all()


def test_flipped_labels():
    one_hot = np.eye(3, dtype=np.float32)
    assert flipped(one_hot, is_regression=False).argmax(axis=1).tolist() == [2, 1, 0]
    assert flipped(np.array([[0.0], [1.0]]), is_regression=False).tolist() == [[1.0], [0.0]]
    assert flipped(np.array([[2.5, -1.0]]), is_regression=True).tolist() == [[-2.5, 1.0]]
