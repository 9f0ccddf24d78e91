"""Updates in memory: blocks and columns, copied, or as they lie."""

import numpy as np
import pytest

from strategies import ClientUpdate, UpdatesInMemory


@pytest.fixture
def matrix():
    return np.arange(35, dtype=np.float32).reshape(7, 5).copy()


def of_rows(matrix):
    return [ClientUpdate(bytes([number]) * 16, number + 1, row) for number, row in enumerate(matrix)]


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
@pytest.mark.parametrize("is_writeable", [True, False])
def test_blocks_are_all_updates_in_order(matrix, rows, is_writeable):
    matrix.flags.writeable = is_writeable
    updates = UpdatesInMemory(of_rows(matrix)[::-1])
    seen, samples = [], []
    for block in updates.blocks(rows):
        assert len(block.updates) == len(block.deltas) <= rows
        assert all((each.delta == row).all() for each, row in zip(block.updates, block.deltas, strict=True))
        seen += block.deltas.tolist()
        samples += [each.samples for each in block.updates]
    assert seen == matrix.tolist()
    assert samples == list(updates.samples) == list(range(1, 8))


def test_what_may_be_changed_is_copied(matrix):
    for block in UpdatesInMemory(of_rows(matrix)).blocks(3):
        assert not np.shares_memory(block.deltas, matrix)
        block.deltas[:] = -1.0
    assert matrix.min() == 0.0


def test_what_nobody_may_change_is_not_copied(matrix):
    matrix.flags.writeable = False
    blocks = list(UpdatesInMemory(of_rows(matrix)).blocks(3))
    assert all(np.shares_memory(block.deltas, matrix) for block in blocks)
    assert not any(block.deltas.flags.writeable for block in blocks)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: [rows[0]._replace(client=b"z" * 16), *rows[1:]],  # another order
        lambda rows: rows[:-1],  # not all
        lambda rows: [rows[0]._replace(delta=rows[0].delta.copy()), *rows[1:]],  # elsewhere
    ],
)
def test_what_lies_otherwise_is_copied(matrix, change):
    matrix.flags.writeable = False
    given = change(of_rows(matrix))
    blocks = list(UpdatesInMemory(given).blocks(100))
    expected = [each.delta.tolist() for each in sorted(given, key=lambda each: each.client)]
    assert [block.deltas.tolist() for block in blocks] == [expected]
    assert not np.shares_memory(blocks[0].deltas, matrix)


def test_columns_are_copied(matrix):
    out = np.empty((7, 2), np.float32)
    UpdatesInMemory(of_rows(matrix)).columns(3, out)
    assert out.tolist() == matrix[:, 3:].tolist()


def test_no_updates_are_no_blocks():
    assert list(UpdatesInMemory([]).blocks(4)) == []
