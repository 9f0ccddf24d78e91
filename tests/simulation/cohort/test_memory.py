"""What a simulation keeps outside of its memory, and what clients keep between rounds."""

import errno
import os
import tracemalloc

import numpy as np
import pytest
from federations import WHERE, job, population
from hypothesis import given
from hypothesis import strategies as st

from aggregator.notices import RoundOpened
from fedloom.wire.messages import Phase
from simulation.cohort import matrix, shared
from simulation.cohort.client_state import Kept
from simulation.cohort.crew import OneHand
from simulation.cohort.federation import Federation
from simulation.cohort.matrix import NoRoomError, allocate


def test_a_large_matrix_lies_in_a_file_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "IN_MEMORY_BYTES", 100)
    large, small = allocate((5, 6)), allocate((5, 5))
    assert isinstance(large, np.memmap)
    assert not isinstance(small, np.memmap)
    large[:] = 7.0
    assert large.shape == (5, 6)
    assert large.sum() == 210.0


def full(descriptor: int, start: int, size_bytes: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_where_there_is_no_room_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(matrix, "IN_MEMORY_BYTES", 100)
    for make in (lambda: allocate((1000, 1000)), lambda: shared.new_file(4_000_000)):
        with pytest.raises(NoRoomError, match=r"4 MB have no room below .* \(No space left on device\); set TMPDIR"):
            make()


def test_what_is_packed_is_read_without_copies() -> None:
    value = {"x": np.arange(10.0), "y": (np.zeros((2, 3), np.float32), "text"), "none": np.zeros(0)}
    descriptor, packed = shared.pack(value)
    try:
        read = shared.unpack(descriptor, packed)
    finally:
        os.close(descriptor)
    assert isinstance(read, dict)
    np.testing.assert_array_equal(read["x"], value["x"])
    assert read["y"][1] == "text"
    assert not read["x"].flags.writeable
    assert not read["x"].flags.owndata


def test_what_one_writes_to_a_shared_matrix_another_sees() -> None:
    descriptor = shared.new_file(400)
    try:
        one, other = shared.matrix(descriptor, (10, 10)), shared.matrix(descriptor, (5, 10))
    finally:
        os.close(descriptor)
    one[3, 4] = 2.5
    assert other[3, 4] == 2.5


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, unique=True), min_size=1, max_size=8))
def test_each_client_finds_what_it_kept_last(rounds: list[list[int]]) -> None:
    kept, expected = Kept(2), dict[int, float]()
    for number, clients in enumerate(rounds, 1):
        ids = np.array(clients)
        rows = np.stack([ids + 100.0 * number, ids], axis=1).astype(np.float32)
        kept.put(ids, rows)
        expected |= dict(zip(clients, rows[:, 0].tolist(), strict=True))
    everybody = np.arange(51)
    found = kept.of(everybody, otherwise=-1.0)
    assert found[:, 0].tolist() == [expected.get(client, -1.0) for client in range(51)]
    found[:] = 0.0
    assert kept.of(everybody)[:, 0].sum() == sum(expected.values())


def test_a_final_evaluation_copies_nobodys_model_that_has_none_of_its_own() -> None:
    """All of 3,000 clients are asked, of whom three have a model of their own: 1,203 weights."""
    given = job(model={"hidden": [200]}, personal={"method": "ditto"}, rounds={"count": 2, "cohort": 0.001})
    federation = Federation(given, WHERE, population(3000), OneHand)
    peak = before = 0
    for notice in federation.run():
        if isinstance(notice, RoundOpened) and notice.phase is Phase.EVALUATE:
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
        elif tracemalloc.is_tracing():
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert federation.history.metrics[-1]["personal_samples"] == 4 * 3000
    assert 0 < peak - before < 0.4 * 4 * 1203 * 3000
