"""Frames and chunks: any order, duplicates, corruption, truncation, bounded memory."""

import contextlib
import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.assembler import IDLE_S, Assembler
from fedloom.errors import Reason, Refused
from fedloom.wire import chunks
from fedloom.wire.chunks import (
    HEADER_BYTES,
    MIN_SLICE,
    Chunks,
    chunk_at,
    chunk_hashes,
    cut,
    pack_missing,
    read_missing,
    read_question,
    split,
)

SMALLEST_FRAME = HEADER_BYTES + 2 * MIN_SLICE
BLOBS = st.builds(lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 9), st.integers(0, 20_000))
FRAME_SIZES = st.integers(SMALLEST_FRAME, 4000)


def assembler() -> Assembler:
    return Assembler(max_blob_bytes=20_000, max_transfers=3)


def reason_of(call, *arguments) -> Reason:
    with pytest.raises(Refused) as refusal:
        call(*arguments)
    return refusal.value.reason


def test_golden_frame() -> None:
    blob = bytes(range(256)) * 3
    first, second = split(blob, SMALLEST_FRAME)
    assert first[:HEADER_BYTES].hex(" ") == (
        "46 4c 46 "  # magic "FLF"
        "01 "  # version
        "f3 a2 5a a9 3a a2 fb ba 28 d7 92 60 53 5b bd 6a "  # SHA-256 of the blob, first 16 bytes
        "00 00 "  # index
        "00 02 "  # count
        "00 00 03 00"  # length of the blob: 768
    )
    assert first[HEADER_BYTES:] == blob[:384]
    assert second[20:HEADER_BYTES].hex(" ") == "00 01 00 02 00 00 03 00"
    assert second[HEADER_BYTES:] == blob[384:]


def test_what_fits_travels_as_it_is() -> None:
    assert split(b"FLE" + bytes(chunks.MAX_FRAME - 3)) == [b"FLE" + bytes(chunks.MAX_FRAME - 3)]
    frames = split(bytes(chunks.MAX_FRAME + 1))
    assert len(frames) == 2
    assert all(chunks.is_frame(frame) and len(frame) <= chunks.MAX_FRAME for frame in frames)


@given(blob=BLOBS, max_frame=FRAME_SIZES, data=st.data())
def test_any_order_with_duplicates_gives_the_blob_once(blob, max_frame, data) -> None:
    frames = split(blob, max_frame)
    if frames == [blob]:
        return
    assert all(len(frame) <= max_frame for frame in frames)
    order = data.draw(st.permutations(range(len(frames))))
    taker = assembler()
    *before, last = order
    for index in [*before, *before[:3]]:
        assert taker.accept(frames[index]) is None
    assert taker.accept(frames[last]) == blob
    assert taker.held_bytes() == 0


@given(blob=BLOBS.filter(lambda blob: len(blob) > SMALLEST_FRAME), data=st.data())
def test_a_flipped_bit_never_gives_another_blob(blob, data) -> None:
    frames = split(blob, SMALLEST_FRAME)
    victim = data.draw(st.integers(0, len(frames) - 1))
    position = data.draw(st.integers(0, len(frames[victim]) * 8 - 1))
    damaged = bytearray(frames[victim])
    damaged[position // 8] ^= 1 << position % 8
    frames[victim] = bytes(damaged)
    taker, results = assembler(), []
    for frame in frames:
        try:
            results.append(taker.accept(frame))
        except Refused:
            continue
    assert blob not in results
    assert not any(results)


@given(payload=st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda tail: b"FLF\x01" + tail)))
def test_junk_is_refused_or_kept_within_bounds(payload) -> None:
    taker = assembler()
    with contextlib.suppress(Refused):
        assert taker.accept(payload) is None
    assert taker.held_bytes() <= len(payload)


@given(blob=BLOBS.filter(lambda blob: len(blob) > SMALLEST_FRAME), cut=st.integers(1, 600))
def test_a_truncated_frame_is_refused(blob, cut) -> None:
    frame = split(blob, SMALLEST_FRAME)[0]
    assert reason_of(assembler().accept, frame[:-cut]) in (Reason.WRONG_LENGTH, Reason.MALFORMED)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_memory_stays_bounded_whatever_arrives(seed) -> None:
    draw, taker = random.Random(seed), assembler()
    for step in range(100):
        frames = split(draw.randbytes(draw.randrange(1000, 20_000)), SMALLEST_FRAME)
        for frame in draw.sample(frames, len(frames) - 1):
            with contextlib.suppress(Refused):
                taker.accept(frame, source=draw.choice(["a", "b", "c", "d", "e"]), now_s=100.0 * step)
        assert taker.held_bytes() <= 3 * 20_000
        assert len(taker._transfers) <= 3


def test_nobody_crowds_out_or_spoils_anothers_transfer() -> None:
    taker = Assembler(max_blob_bytes=5000, max_transfers=4)
    blob = bytes(range(250)) * 8
    honest = split(blob, 1000)
    assert taker.accept(honest[0], "honest") is None
    for number in range(50):
        taker.accept(split(b"%4d" % number * 500, 1000)[0], "hostile")
    forged = honest[1][:HEADER_BYTES] + bytes(len(honest[1]) - HEADER_BYTES)
    taker.accept(forged, "hostile")
    assert [taker.accept(frame, "honest") for frame in honest[1:]] == [None] * (len(honest) - 2) + [blob]


def header(index: int = 0, count: int = 2, total: int = 1000, version: int = 1) -> bytes:
    fields = version.to_bytes(1) + bytes(16) + index.to_bytes(2) + count.to_bytes(2) + total.to_bytes(4)
    return b"FLF" + fields + bytes(500)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", Reason.MALFORMED),
        (b"FLE" + bytes(600), Reason.MALFORMED),
        (header(version=2), Reason.UNKNOWN_VERSION),
        (header(total=20_001), Reason.TOO_LARGE),
        (header(total=0xFFFF_FFFF, count=0xFFFF), Reason.TOO_LARGE),
        (header(count=0), Reason.MALFORMED),
        (header(count=1), Reason.MALFORMED),
        (header(index=2), Reason.MALFORMED),
        (header(total=0), Reason.MALFORMED),
        (header(count=1000), Reason.MALFORMED),
        (header() + b"x", Reason.WRONG_LENGTH),
    ],
)
def test_malformed_frames_are_refused_with_their_reason(frame, reason) -> None:
    assert reason_of(assembler().accept, frame) == reason


def test_a_transfer_cannot_change_its_size_nor_lie_about_its_hash() -> None:
    taker = assembler()
    taker.accept(header())
    assert taker.accept(header(total=999, index=1)[:-1]) is None  # cut otherwise: another transfer
    assert reason_of(taker.accept, header(index=1)) is Reason.HASH_MISMATCH
    assert taker.held_bytes() == 499


@pytest.mark.parametrize(("size", "max_frame"), [(2000, SMALLEST_FRAME - 1), (40_000_000, SMALLEST_FRAME), (100, 0)])
def test_a_blob_that_no_receiver_would_take_is_not_split(size, max_frame) -> None:
    assert reason_of(split, bytes(size), max_frame) is Reason.TOO_LARGE


@given(blob=BLOBS.filter(lambda blob: len(blob) > SMALLEST_FRAME), source=st.sampled_from(["a", "b"]), data=st.data())
def test_the_missing_frames_are_those_that_have_not_come(blob, source, data) -> None:
    frames, taker = split(blob, SMALLEST_FRAME), assembler()
    transfer = cut(hashlib.sha256(blob).digest(), len(blob), SMALLEST_FRAME)
    assert read_question(transfer.question(), len(blob)) == transfer
    come = data.draw(st.sets(st.integers(0, len(frames) - 1), max_size=len(frames) - 1))
    for number in come:
        taker.accept(frames[number], "a")
    missing = read_missing(taker.missing(transfer, source, 0.0), transfer.frames)
    assert missing == sorted(set(range(len(frames))) - (come if source == "a" else set()))


def test_golden_question() -> None:
    blob = bytes(range(256)) * 3
    assert cut(hashlib.sha256(blob).digest(), len(blob), SMALLEST_FRAME).question().hex(" ") == (
        "46 4c 51 "  # magic "FLQ"
        "01 "  # version
        "f3 a2 5a a9 3a a2 fb ba 28 d7 92 60 53 5b bd 6a "  # SHA-256 of the blob, first 16 bytes
        "00 02 "  # count
        "00 00 03 00"  # length of the blob: 768
    )


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"FLQ", Reason.MALFORMED),
        (b"FLQ\x02" + bytes(16) + bytes.fromhex("0002 00000300"), Reason.UNKNOWN_VERSION),
        (b"FLQ\x01" + bytes(16) + bytes.fromhex("0002 00004e21"), Reason.TOO_LARGE),
        (b"FLQ\x01" + bytes(16) + bytes.fromhex("0001 00000300"), Reason.MALFORMED),
        (b"FLQ\x01" + bytes(16) + bytes.fromhex("ffff 00000300"), Reason.MALFORMED),
        (b"FLQ\x01" + bytes(16) + bytes.fromhex("0002 00000300 00"), Reason.MALFORMED),
    ],
)
def test_malformed_questions_are_refused_with_their_reason(payload, reason) -> None:
    assert reason_of(read_question, payload, 20_000) == reason


@pytest.mark.parametrize("bits", [b"", b"\x80\x40\x00", b"\x80\x20"])
def test_bits_that_do_not_fit_the_frames_are_refused(bits) -> None:
    assert read_missing(pack_missing([0, 9], 10), 10) == [0, 9]
    assert reason_of(read_missing, bits, 10) is Reason.MALFORMED


def test_those_under_way_come_to_an_end_before_others_begin() -> None:
    taker = Assembler(max_blob_bytes=5000, max_transfers=2)
    blobs = [bytes([number]) * 2000 for number in range(3)]
    first, second, third = [split(blob, 1000) for blob in blobs]
    taker.accept(first[0], "first", 0.0)
    taker.accept(second[0], "second", 0.0)
    assert reason_of(taker.accept, third[0], "third", 1.0) is Reason.BUSY
    assert reason_of(taker.missing, cut(hashlib.sha256(blobs[2]).digest(), 2000, 1000), "third", 1.0) is Reason.BUSY
    taker.accept(second[1], "second", IDLE_S)
    assert taker.accept(third[0], "third", IDLE_S) is None  # the first has been silent for too long
    assert [taker.accept(frame, "second", IDLE_S) for frame in second[2:]] == [blobs[1]]


@pytest.mark.parametrize(("count", "chunk_bytes", "total"), [(2, 100, 250), (4, 100, 250), (1, 0, 1), (0, 100, 0)])
def test_chunks_that_do_not_add_up_are_refused(count, chunk_bytes, total) -> None:
    assert reason_of(Chunks.checked, [bytes(32)] * count, chunk_bytes, total) is Reason.MALFORMED


def test_each_chunk_is_checked_alone() -> None:
    blob = bytes(250)
    chunks = Chunks.checked(chunk_hashes(blob, 100), 100, 250)
    assert chunks.hashes[0] == hashlib.sha256(blob[:100]).digest()
    for number in range(3):
        chunks.check(number, chunk_at(blob, 100, number))
    assert reason_of(chunks.check, 0, b"x" * 100) is Reason.HASH_MISMATCH
    assert reason_of(chunks.check, 2, bytes(100)) is Reason.WRONG_LENGTH
    assert reason_of(chunks.check, 3, bytes(100)) is Reason.MALFORMED
    assert reason_of(chunks.check, -1, bytes(100)) is Reason.MALFORMED
