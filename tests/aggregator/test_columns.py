"""Columns of spooled updates: the same bits as a whole decoding, from the bytes that they lie in."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator import columns
from aggregator.damage import DamagedError
from aggregator.records import Answer
from aggregator.spool import Spool, SpooledUpdates
from fedloom import msgpack
from fedloom.compression import options_of
from fedloom.errors import StoreError
from fedloom.wire import encoding
from fedloom.wire.messages import Update, Verdict

SIZE = 2500
"""Two whole blocks of int8, and a part of one."""
KINDS = ("float32", "float16", "int8")
WHOLE = ("int4", "sign", "eden", "topk")
"""Of these no columns are read by themselves."""


def answer(number, kind, size=SIZE):
    vector = np.random.default_rng(number).normal(size=size).astype(np.float32)
    body = msgpack.encode(
        Update(number, 1, 0.5, encoding.encode(vector, kind, options_of(kind), number), b"m" * number, "")
    )
    code = encoding.CODES[kind]
    return Answer(bytes([number]) * 16, bytes(32), Verdict.ACCEPTED, "", samples=number, encoding=code, body=body)


def spooled(directory, kinds, size=SIZE):
    spool = Spool(directory)
    segment = spool.segment(b"j" * 16, 1, 1)
    entries = spool.append(segment, [answer(1 + number, kind, size) for number, kind in enumerate(kinds)])
    return segment, SpooledUpdates(segment, entries[::-1], size)


def whole(updates):
    return np.array([update.delta.copy() for update in updates])


def part(updates, start, stop):
    out = np.full((len(updates), stop - start), np.nan, np.float32)
    updates.columns(start, out)
    return out


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory):
    _, updates = spooled(tmp_path_factory.mktemp("state") / "spool", (*KINDS, *WHOLE) * 2)
    return updates, whole(updates)


@given(ends=st.lists(st.integers(0, SIZE), min_size=2, max_size=2, unique=True).map(sorted))
def test_any_columns_have_the_bits_of_a_whole_decoding(every_kind, ends):
    updates, decoded = every_kind
    start, stop = ends
    assert part(updates, start, stop).tobytes() == decoded[:, start:stop].tobytes()


def test_every_encoding_is_tried():
    assert {*KINDS, *WHOLE} == encoding.CODES.keys()
    assert columns.SLICED.keys() == set(KINDS)


def test_an_encoding_that_is_not_read_in_parts_is_decoded_once(tmp_path, monkeypatch):
    segment, updates = spooled(tmp_path / "spool", ("int8", *WHOLE))
    decoded = whole(updates)
    calls = []
    monkeypatch.setattr(encoding, "decode", lambda *args, real=encoding.decode: (calls.append(args[1]), real(*args)))
    for start in range(0, SIZE, 700):
        stop = min(start + 700, SIZE)
        assert part(updates, start, stop).tobytes() == decoded[:, start:stop].tobytes()
    assert calls == list(reversed(WHOLE)) or calls == list(WHOLE)
    assert sorted(segment.parent.iterdir()) == [segment]  # its name is gone at once


def test_damage_is_found_before_a_column_is_used(tmp_path):
    segment, updates = spooled(tmp_path / "spool", KINDS)
    data = bytearray(segment.read_bytes())
    data[-20] ^= 1
    segment.write_bytes(bytes(data))
    with pytest.raises(DamagedError, match="is damaged"):
        part(updates, 0, 5)


def test_checksums_are_compared_once(tmp_path, monkeypatch):
    _, updates = spooled(tmp_path / "spool", KINDS)
    calls = []
    real = updates._find
    monkeypatch.setattr(updates, "_find", lambda: (calls.append(1), real())[1])
    for start in range(5):
        part(updates, start, start + 7)
    assert len(calls) == 1


def test_a_file_that_has_become_shorter_is_damage(tmp_path):
    segment, updates = spooled(tmp_path / "spool", ["float32"])
    part(updates, 0, 5)
    os.truncate(segment, 1000)
    with pytest.raises(DamagedError, match=r"\d+ of 40 bytes at \d+ of an update are there"):
        part(updates, SIZE - 10, SIZE)


def test_a_segment_that_is_gone_is_damage(tmp_path):
    segment, updates = spooled(tmp_path / "spool", ["float32"])
    segment.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        part(updates, 0, 5)


def test_nothing_stays_open(tmp_path):
    def opened():
        return sum(os.path.realpath(each).startswith(str(tmp_path)) for each in Path("/proc/self/fd").iterdir())

    _, updates = spooled(tmp_path / "spool", (*KINDS, *WHOLE))
    part(updates, 0, 5)
    assert opened() == 2
    del updates
    gc.collect()
    assert opened() == 0
