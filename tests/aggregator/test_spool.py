"""The spool: what was written is read back, in order, and damage is found."""

import resource

import numpy as np
import pytest

from aggregator.notices import RoundClosed
from aggregator.records import Answer
from aggregator.spool import MAGIC, Spool, SpooledUpdates, read
from fedloom import msgpack
from fedloom.errors import StoreError
from fedloom.wire.messages import Update, Verdict


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


def answer(number, size=5):
    vector = np.full(size, number, "<f4").tobytes()
    body = msgpack.encode(Update(number, 1, 0.5, vector, b"", ""))
    return Answer(bytes([number]) * 16, bytes(32), Verdict.ACCEPTED, "", samples=number, encoding=1, body=body)


def test_updates_come_back_in_the_order_of_ids_again_and_again(spool):
    segment = spool.segment(b"j" * 16, 1, 1)
    entries = [*spool.append(segment, [answer(3), answer(1)]), *spool.append(segment, [answer(2)])]
    updates = SpooledUpdates(segment, entries, 5)
    assert len(updates) == 3
    for _ in range(2):
        assert [(u.client[0], u.samples, float(u.delta[0])) for u in updates] == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]


def test_a_torn_tail_is_ignored_and_appended_behind(spool):
    segment = spool.segment(b"j" * 16, 1, 1)
    first = spool.append(segment, [answer(1)])
    with segment.open("ab") as file:
        file.write(b"torn")
    second = spool.append(segment, [answer(2)])
    assert [each.update.samples for each in read(segment, [*first, *second])] == [1, 2]


@pytest.mark.parametrize("left", range(4))
def test_what_a_full_disk_or_a_kill_has_left_of_the_head_is_written_anew(spool, left):
    segment = spool.segment(b"j" * 16, 1, 1)
    segment.parent.mkdir(mode=0o700)
    segment.write_bytes(MAGIC[:left])
    entries = [*spool.append(segment, [answer(1)]), *spool.append(segment, [answer(2)])]
    assert [each.update.samples for each in read(segment, entries)] == [1, 2]


def test_a_disk_that_was_full_for_a_while_stops_no_round(rig):
    rig.send(rig.devices[0], rig.devices[0].update())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(StoreError, match="spool: cannot be written"):
            rig.work()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.stat().st_size for file in rig.state.rglob("*.spool")] == [0]
    rig.crash()
    rig.boot()
    rig.ready()
    rig.finish_job()
    assert rig.told(RoundClosed)[0].accepted == 3


def test_every_flipped_byte_is_found(spool):
    segment = spool.segment(b"j" * 16, 1, 1)
    entries = spool.append(segment, [answer(1)])
    good = segment.read_bytes()
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 0x01
        segment.write_bytes(bytes(bad))
        with pytest.raises(StoreError, match=r"damaged|not a spool"):
            list(read(segment, entries))


def test_a_missing_segment_is_found(spool):
    entries = spool.append(spool.segment(b"j" * 16, 1, 1), [answer(1)])
    with pytest.raises(StoreError, match="cannot be read"):
        list(read(spool.segment(b"j" * 16, 2, 1), entries))


def test_old_rounds_and_other_runs_are_pruned(spool):
    for job, number in ((b"a" * 16, 1), (b"b" * 16, 1), (b"b" * 16, 2), (b"b" * 16, 3)):
        spool.append(spool.segment(job, number, 1), [answer(1)])
    spool.prune(b"b" * 16, keep_from_round=2)
    assert not spool.segment(b"a" * 16, 1, 1).exists()
    assert [spool.segment(b"b" * 16, number, 1).exists() for number in (1, 2, 3)] == [False, True, True]
