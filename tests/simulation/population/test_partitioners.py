"""Who owns what: each row once, sizes as asked, and small cases by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.population import dirichlet, iid, quantity, shards
from simulation.population.rows import by_owner, gather, offsets
from simulation.population.top_up import topped_up


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


DEALERS = {
    "iid": lambda classes, clients, seed: iid.deal(len(classes), clients, rng(seed)),
    "shards": lambda classes, clients, seed: shards.deal(classes, clients, 2, rng(seed)),
    "dirichlet": lambda classes, clients, seed: dirichlet.deal(classes, clients, 0.3, rng(seed)),
    "balanced": lambda classes, clients, seed: dirichlet.deal_balanced(classes, clients, 0.3, rng(seed)),
    "quantity": lambda classes, clients, seed: quantity.deal(len(classes), clients, 0.3, rng(seed)),
}


@pytest.mark.parametrize("name", DEALERS)
@settings(max_examples=30)
@given(
    classes=st.lists(st.integers(0, 4), min_size=20, max_size=60), clients=st.integers(1, 10), seed=st.integers(0, 99)
)
def test_every_row_has_one_owner_and_the_seed_decides(name, classes, clients, seed) -> None:
    deal = DEALERS[name]
    owners = deal(np.array(classes), clients, seed)
    assert owners.shape == (len(classes),)
    assert owners.min() >= 0
    assert owners.max() < clients
    assert (owners == deal(np.array(classes), clients, seed)).all()
    if name in ("iid", "balanced"):
        sizes = np.bincount(owners, minlength=clients)
        assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("name", DEALERS)
def test_another_seed_deals_otherwise(name) -> None:
    classes = np.arange(200) % 5
    assert (DEALERS[name](classes, 10, 0) != DEALERS[name](classes, 10, 1)).any()


def test_two_shards_of_sorted_data_are_two_classes() -> None:
    classes = np.tile(np.arange(10), 20)  # 200 rows: 20 shards of 10, each within a class
    owners = shards.deal(classes, 10, 2, rng())
    assert np.bincount(owners).tolist() == [20] * 10
    assert max(len(set(classes[owners == client])) for client in range(10)) == 2


def test_one_shard_a_client_is_a_cut_of_the_sorted_rows() -> None:
    owners = shards.deal(np.array([1, 0, 1, 0, 0, 1]), 2, 1, rng())
    assert sorted([np.flatnonzero(owners == client).tolist() for client in range(2)]) == [[0, 2, 5], [1, 3, 4]]


@pytest.mark.parametrize("deal", [dirichlet.deal, dirichlet.deal_balanced])
def test_a_large_alpha_gives_everybody_every_class_alike(deal) -> None:
    classes = np.repeat([0, 1, 2], [600, 300, 100])
    owners = deal(classes, 10, 1e7, rng())
    counts = np.array([np.bincount(classes[owners == client], minlength=3) for client in range(10)])
    if deal is dirichlet.deal:
        assert (counts == [60, 30, 10]).all()
    else:  # drawn by that mixture, not cut by it: multinomial, four deviations
        assert (np.abs(counts - [60, 30, 10]) <= 4 * np.sqrt([24, 21, 9])).all()


@settings(max_examples=50)
@given(
    classes=st.lists(st.integers(0, 4), min_size=12, max_size=60),
    clients=st.integers(1, 12),
    alpha=st.sampled_from([0.01, 0.3, 100.0]),
    seed=st.integers(0, 99),
)
def test_balanced_shares_are_dealt_a_client_after_the_other(classes, clients, alpha, seed) -> None:
    found = dirichlet.deal_balanced(np.array(classes), clients, alpha, rng(seed))
    assert found.tolist() == dealt_one_by_one(np.array(classes), clients, alpha, rng(seed)).tolist()


def dealt_one_by_one(classes, clients, alpha, rng):
    """What `deal_balanced` says, in as many words."""
    present = np.unique(classes).tolist()
    pools = [rng.permutation(np.flatnonzero(classes == number)).tolist() for number in present]
    shapes, sizes = (
        alpha * (np.array([len(pool) for pool in pools]) / len(classes)),
        iid.even_sizes(len(classes), clients),
    )
    owners = np.empty(len(classes), np.intp)
    for client in rng.permutation(clients).tolist():
        mixture, missing = rng.dirichlet(shapes), sizes[client]
        while missing:
            odds = np.array([share if pool else 0.0 for share, pool in zip(mixture, pools, strict=True)])
            odds = odds if odds.sum() > 0.0 else np.array([float(len(pool)) for pool in pools])
            for pool, wanted in zip(pools, rng.multinomial(missing, odds / odds.sum()).tolist(), strict=True):
                for _ in range(min(wanted, len(pool))):
                    owners[pool.pop()] = client
                    missing -= 1
    return owners


@pytest.mark.parametrize("deal", [dirichlet.deal, dirichlet.deal_balanced])
def test_a_small_alpha_gives_most_clients_one_class_mostly(deal) -> None:
    classes = np.arange(5000) % 10
    shares = {}
    for alpha in (0.01, 0.5, 100.0):
        owners = deal(classes, 20, alpha, rng())
        counts = np.array([np.bincount(classes[owners == client], minlength=10) for client in range(20)])
        largest = counts.max(1)[counts.sum(1) > 0] / counts.sum(1)[counts.sum(1) > 0]
        shares[alpha] = float(np.median(largest))
    assert shares[0.01] > 0.8 > shares[0.5] > shares[100.0]
    assert shares[100.0] < 0.2


def test_quantity_skew_keeps_the_classes_alike() -> None:
    classes = np.arange(20_000) % 2
    owners = quantity.deal(len(classes), 10, 0.5, rng())
    sizes = np.bincount(owners, minlength=10)
    assert sizes.max() > 2 * sizes.mean() > 20 * sizes.min()
    ones = np.bincount(owners, classes, minlength=10)
    assert (np.abs(ones - sizes / 2) <= 4 * np.sqrt(sizes / 4) + 1).all()


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(any),
    fewest=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_topping_up_takes_only_from_the_largest(sizes, fewest, seed) -> None:
    owners = np.repeat(np.arange(len(sizes)), sizes)
    if len(owners) < fewest * len(sizes):
        return
    after = np.bincount(topped_up(owners, len(sizes), fewest, rng(seed)), minlength=len(sizes))
    assert after.sum() == len(owners)
    assert after.min() >= fewest
    for before, now in zip(sizes, after.tolist(), strict=True):
        assert now == fewest if before < fewest else now <= before
    paid = [now for before, now in zip(sizes, after.tolist(), strict=True) if now < before]
    if paid:
        kept = [now for before, now in zip(sizes, after.tolist(), strict=True) if fewest <= before == now]
        assert max([*kept, 0]) <= min(paid) + len(paid)


@given(owners=st.lists(st.integers(-1, 5), min_size=1, max_size=40), ids=st.lists(st.integers(0, 5), max_size=10))
def test_gathering_gives_each_client_its_rows(owners, ids) -> None:
    everything = by_owner(np.array(owners), 6)
    some = gather(everything, np.array(ids, np.intp))
    assert some.starts[0] == 0
    assert (np.diff(some.starts) >= 0).all()
    for place, client in enumerate(ids):
        rows = some.rows[some.starts[place] : some.starts[place + 1]]
        assert rows.tolist() == [row for row, owner in enumerate(owners) if owner == client]


def test_offsets_of_nothing() -> None:
    assert offsets(np.zeros(0, np.int64)).tolist() == [0]
