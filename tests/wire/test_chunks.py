"""Frames and chunks: any order, duplicates, corruption, truncation, bounded memory."""

import contextlib
import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.errors import Reason, Refused
from fedloom.wire import chunks
from fedloom.wire.chunks import HEADER_BYTES, MIN_SLICE, Assembler, Download, chunk_at, chunk_hashes, split

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


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_memory_stays_bounded_whatever_arrives(seed) -> None:
    draw, taker = random.Random(seed), assembler()
    for _ in range(100):
        frames = split(draw.randbytes(draw.randrange(1000, 20_000)), SMALLEST_FRAME)
        for frame in draw.sample(frames, len(frames) - 1):
            taker.accept(frame, source=draw.choice(["a", "b", "c", "d", "e"]))
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
    assert reason_of(taker.accept, header(total=1001, index=1)) is Reason.MALFORMED
    assert reason_of(taker.accept, header(index=1)) is Reason.HASH_MISMATCH
    assert taker.held_bytes() == 0


@pytest.mark.parametrize(("size", "max_frame"), [(2000, SMALLEST_FRAME - 1), (40_000_000, SMALLEST_FRAME), (100, 0)])
def test_a_blob_that_no_receiver_would_take_is_not_split(size, max_frame) -> None:
    assert reason_of(split, bytes(size), max_frame) is Reason.TOO_LARGE


@given(blob=BLOBS.filter(bool), chunk_bytes=st.integers(100, 5000), data=st.data())
def test_a_download_takes_chunks_in_any_order(blob, chunk_bytes, data) -> None:
    hashes = chunk_hashes(blob, chunk_bytes)
    assert hashes[0] == hashlib.sha256(blob[:chunk_bytes]).digest()
    download = Download(hashes, chunk_bytes, len(blob))
    for index in data.draw(st.permutations(range(len(hashes)))):
        assert not download.complete
        assert reason_of(download.assemble) is Reason.WRONG_LENGTH
        assert download.accept(index, chunk_at(blob, chunk_bytes, index))
        assert not download.accept(index, b"anything")
    assert download.complete
    assert download.assemble() == blob


def test_a_wrong_chunk_is_refused_and_can_come_again() -> None:
    blob = bytes(250)
    download = Download(chunk_hashes(blob, 100), 100, 250)
    assert reason_of(download.accept, 0, b"x" * 100) is Reason.HASH_MISMATCH
    assert reason_of(download.accept, 2, bytes(100)) is Reason.WRONG_LENGTH
    assert reason_of(download.accept, 3, bytes(100)) is Reason.MALFORMED
    assert reason_of(download.accept, -1, bytes(100)) is Reason.MALFORMED
    assert all([download.accept(0, bytes(100)), download.accept(1, bytes(100)), download.accept(2, bytes(50))])
    assert download.assemble() == blob


@pytest.mark.parametrize(("count", "chunk_bytes", "total"), [(2, 100, 250), (4, 100, 250), (1, 0, 1), (0, 100, 0)])
def test_a_download_that_does_not_add_up_is_refused(count, chunk_bytes, total) -> None:
    assert reason_of(Download, [bytes(32)] * count, chunk_bytes, total) is Reason.MALFORMED
