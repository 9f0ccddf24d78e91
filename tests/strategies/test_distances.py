"""Distances are those of a plain double loop in float64, also where float32 would not tell updates apart."""

import numpy as np
import pytest

from strategies import ClientUpdate, UpdatesInMemory
from strategies.distances import squared_distances

SIZE = 5000  # several blocks of columns


def draw(seed, scale=1.0, shared=0.0):
    rng = np.random.default_rng(seed)
    return (shared * rng.normal(size=SIZE) + scale * rng.normal(size=(7, SIZE))).astype(np.float32)


def measured(rows):
    updates = UpdatesInMemory(ClientUpdate(bytes([number]) * 16, 1, row) for number, row in enumerate(rows))
    return squared_distances(updates, SIZE)


def plain(rows):
    wide = rows.astype(np.float64)
    return np.array([[((one - other) ** 2).sum() for other in wide] for one in wide])


@pytest.mark.parametrize(
    "rows",
    [
        draw(1),
        draw(2, 1e-2, shared=1.0),
        draw(2, 1e-3, shared=10.0),
        draw(3, 1e-20),
        draw(3, 1e-22),
        draw(4, 1e30),
        np.vstack([draw(5), 1e18 * draw(6)]),
    ],
    ids=["apart", "alike", "nearly-the-same", "tiny", "vanishing", "huge", "with-attackers"],
)
def test_they_are_those_of_a_plain_loop(rows):
    found = measured(rows.astype(np.float32))
    np.testing.assert_allclose(found, plain(rows.astype(np.float32)), rtol=2e-5)
    assert (found == found.T).all()


def test_equal_updates_have_none():
    rows = np.vstack([draw(7), draw(7)[2:4]])
    found = measured(rows)
    assert found[2, 7] == found[3, 8] == 0.0
    assert found[2, 3] > 0.0
    assert (measured(np.zeros((3, SIZE), np.float32)) == 0.0).all()
