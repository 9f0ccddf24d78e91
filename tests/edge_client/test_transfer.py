"""A large model down and a large update up, whatever is lost, repeated or killed: whole, and within bounds."""

import random
import tempfile
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator import assembler as assembling
from aggregator.assembler import Assembler
from aggregator.incoming import Incoming
from edge_client.delivery import Delivery
from edge_client.download import Download
from edge_client.events import (
    Action,
    KeepChunk,
    OpenDownload,
    Publish,
    PublishFrame,
    ReadDownload,
    Subscribe,
    Unsubscribe,
)
from edge_client.fetch import MAX_WINDOW, Fetch
from edge_client.state import OutboxEntry
from edge_client.upload import ASK_FROM, WINDOW
from fedloom.errors import Reason, Refused
from fedloom.wire.chunks import chunk_at, chunk_hashes, is_question, read_question
from fedloom.wire.messages import Missing, ModelRef
from fedloom.wire.topics import Topics

CHUNK = 100
FRAME = 600
TOPICS = Topics(bytes(16))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["come", "come", "come", "lose", "repeat", "time", "cut", "kill", "spoil"]), st.integers(0, 99)
    ),
    max_size=80,
)


class Model:
    """A device that fetches a model of 40 chunks, and a broker that has it."""

    def __init__(self, folder: Path, chunks: int = 40) -> None:
        self.blob = random.Random(chunks).randbytes(chunks * CHUNK - 30)
        hashes = chunk_hashes(self.blob, CHUNK)
        self.ref = ModelRef(1, bytes(32), sha256(self.blob).digest(), len(self.blob), CHUNK, hashes)
        self.disk = Download(folder / "download")
        self.disk.path.mkdir()
        self.now_s, self.read, self.asked = 0.0, b"", 0
        self.heard: set[int] = set()
        self.kept: list[int] = []
        self.kill()

    def kill(self) -> None:
        self.waiting: list[int] = []
        self.heard.clear()
        self.fetch = Fetch(TOPICS, lambda: 0.5)
        self.fetch.connected(self.now_s)
        self.do(self.fetch.begin(self.ref, self.now_s))

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Subscribe(topic):
                    self.waiting.append(TOPICS.chunk_of(topic)[1])
                    self.heard.add(self.waiting[-1])
                    self.asked += 1
                    assert len(self.heard) <= MAX_WINDOW, "more is asked for than fits the window"
                case Unsubscribe(topic):
                    self.heard.discard(TOPICS.chunk_of(topic)[1])
                case OpenDownload(model, chunks):
                    self.do(self.fetch.opened(model, self.disk.open(model, chunks), self.now_s))
                case KeepChunk(model, start, payload):
                    self.disk.keep(model, start, payload)
                    self.kept.append(start // CHUNK)
                case ReadDownload(model):
                    self.read = self.disk.read(model)
                    if not self.read:
                        self.do(self.fetch.begin_again(self.now_s))

    def come(self, number: int) -> None:
        self.now_s += 1.0
        self.do(self.fetch.accept(self.ref.cipher_hash, number, chunk_at(self.blob, CHUNK, number), self.now_s))

    def time(self) -> None:
        if self.fetch.again_at_s is not None:
            self.now_s = max(self.now_s, self.fetch.again_at_s)
            self.do(self.fetch.tick(self.now_s))

    def spoil(self, number: int) -> None:
        path = self.disk.path / self.ref.cipher_hash.hex()
        if path.exists():
            data = bytearray(path.read_bytes())
            data[number % len(data)] ^= 1
            path.write_bytes(data)

    def step(self, name: str, number: int) -> None:
        match name:
            case "come" | "lose" | "repeat" if self.waiting:
                which = self.waiting[number % len(self.waiting)]
                if name != "repeat":
                    self.waiting.remove(which)
                if name != "lose":
                    self.come(which)
            case "time":
                self.time()
            case "cut":
                self.fetch.disconnected()
                self.fetch.connected(self.now_s)
            case "kill":
                self.kill()
            case "spoil":
                self.spoil(number)

    def finish(self) -> None:
        """Nothing is lost any more."""
        for _ in range(1000):
            if self.read:
                return
            if self.waiting:
                self.come(self.waiting.pop(0))
            else:
                self.time()
        raise AssertionError("the model does not arrive")


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_a_model_arrives_whole(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Model(Path(folder))
        for name, number in steps:
            model.step(name, number)
        model.finish()
        assert model.read == model.blob
        if not any(name == "spoil" for name, _ in steps):
            assert sorted(model.kept) == list(range(40)), "a chunk was fetched twice"


def test_what_is_on_its_way_is_not_asked_for_again(tmp_path: Path) -> None:
    model = Model(tmp_path)
    while not model.read:
        model.now_s += 120.0  # 1 kB/s
        model.come(model.waiting.pop(0))
    assert model.asked == 40


def test_a_lost_chunk_is_asked_for_when_later_ones_have_come(tmp_path: Path) -> None:
    model = Model(tmp_path)
    lost = model.waiting.pop(0)
    for _ in range(3):
        assert lost not in model.waiting
        model.come(model.waiting.pop(0))
    assert lost in model.waiting


def test_a_model_of_one_chunk_takes_one_subscription_and_no_file(tmp_path: Path) -> None:
    model = Model(tmp_path, chunks=1)
    assert model.waiting == [0]
    model.come(0)
    assert model.fetch.is_here
    assert model.heard == set()
    assert list(model.disk.path.iterdir()) == []


def test_another_model_takes_the_place_of_the_first(tmp_path: Path) -> None:
    first, disk = Model(tmp_path), Download(tmp_path / "download")
    first.come(0)
    second = sha256(b"other").digest()
    disk.keep(second, 0, b"chunk")
    disk.drop(keep=second)
    assert [path.name for path in disk.path.iterdir()] == [second.hex()]
    assert [path.stat().st_mode & 0o777 for path in disk.path.iterdir()] == [0o600]


class Update:
    """A device that sends an update of 40 frames, and an aggregator."""

    def __init__(self, folder: Path, frames: int = 40) -> None:
        blob = random.Random(frames).randbytes(frames * (FRAME - 30) - 50)
        self.entry = OutboxEntry(sha256(blob).digest(), bytes(32), bytes(16), False, blob)
        self.incoming = Incoming(folder / "incoming")
        self.now_s, self.sent, self.spoiled = 0.0, 0, 0
        self.blob: bytes | None = None
        self.queue: list[bytes] = []
        self.boot_aggregator()
        self.delivery = Delivery("up", lambda: 0.5, FRAME)
        self.do(self.delivery.put(self.entry, self.now_s))
        self.do(self.delivery.connected(2**20, True, self.now_s))

    def boot_aggregator(self) -> None:
        self.incoming.open("1")
        self.assembler = Assembler(len(self.entry.blob), 4, shelf=self.incoming)

    def kill(self) -> None:
        self.queue.clear()
        self.delivery = Delivery("up", lambda: 0.5, FRAME)
        self.do(self.delivery.restore(self.entry, True, self.now_s))
        self.do(self.delivery.connected(2**20, True, self.now_s))

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case PublishFrame(_, header, _, start, length):
                    self.queue.append(header + self.entry.blob[start : start + length])
                    self.sent += 1
                case Publish(_, payload):
                    self.queue.append(payload)
        assert len(self.queue) <= WINDOW + 2, "more is in the link than fits the window"

    def come(self, message: bytes) -> None:
        if is_question(message):
            transfer = read_question(message, len(self.entry.blob))
            bits = self.assembler.missing(transfer, "up", self.now_s)
            if self.blob is None:
                self.told(Missing(transfer.id, bits))
            return
        try:
            self.blob = self.assembler.accept(message, "up", self.now_s) or self.blob
        except Refused as refused:
            if refused.reason is not Reason.HASH_MISMATCH:
                raise
            self.spoiled += 1  # the transfer begins anew

    def told(self, message: Missing) -> None:
        try:
            self.do(self.delivery.missing(message, self.now_s))
        except Refused as refused:
            if refused.reason is not Reason.OLD:
                raise

    def time(self) -> None:
        if self.delivery.resend_at_s is not None:
            self.now_s = max(self.now_s, self.delivery.resend_at_s)
            self.do(self.delivery.tick(not self.queue, self.now_s))

    def step(self, name: str, number: int) -> None:
        match name:
            case "come" | "lose" | "repeat" if self.queue:
                which = self.queue[number % len(self.queue)]
                if name != "lose":
                    self.come(which)
                if name != "repeat":
                    self.queue.remove(which)
                    self.do(self.delivery.sent(len(self.queue), self.now_s))
            case "time":
                self.time()
            case "cut":
                self.delivery.disconnected()
                self.do(self.delivery.connected(2**20, not self.queue, self.now_s))
            case "kill" if number % 2:
                self.kill()
            case "kill":
                self.boot_aggregator()
            case "spoil":
                for path in (self.incoming._directory).iterdir():
                    data = bytearray(path.read_bytes())
                    data[number % len(data)] ^= 1
                    path.write_bytes(data)

    def finish(self) -> None:
        """Nothing is lost any more."""
        for _ in range(2000):
            if self.blob is not None:
                return
            self.step("come", 0) if self.queue else self.time()
        raise AssertionError("the update does not arrive")


@pytest.fixture
def _on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembling, "ON_DISK_FROM_BYTES", 0)


@pytest.mark.usefixtures("_on_disk")
class TestUploads:
    @settings(max_examples=60, deadline=None)
    @given(steps=STEPS)
    def test_an_update_arrives_whole(self, steps: list[tuple[str, int]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            update = Update(Path(folder))
            for name, number in steps:
                update.step(name, number)
            assert not update.spoiled or any(name == "spoil" for name, _ in steps)
            update.finish()
            assert update.blob == update.entry.blob
            assert list(update.incoming._directory.iterdir()) == []

    def test_only_what_is_missing_is_sent_after_both_ends_have_died(self, tmp_path: Path) -> None:
        update = Update(tmp_path)
        update.come(update.queue.pop(0))  # the question
        for _ in range(25):
            update.step("come", 0)
        update.boot_aggregator()
        update.kill()
        update.sent = 0
        update.finish()
        assert update.sent == 15
        assert update.blob == update.entry.blob

    def test_a_closed_round_leaves_nothing(self, tmp_path: Path) -> None:
        update = Update(tmp_path)
        update.finish() if not update.queue else update.come(update.queue.pop(0))
        for _ in range(5):
            update.step("come", 0)
        assert [path.stat().st_mode & 0o777 for path in (tmp_path / "incoming").iterdir()] == [0o600]
        assert (tmp_path / "incoming").stat().st_mode & 0o777 == 0o700
        update.incoming.open("2")
        assert list((tmp_path / "incoming").iterdir()) == []

    def test_an_answer_that_was_not_asked_for_is_refused(self, tmp_path: Path) -> None:
        update = Update(tmp_path)
        message = Missing(update.entry.digest[:16], b"\xff" * 5)
        assert is_question(update.queue[0])
        update.told(message)
        queued = len(update.queue)
        update.told(message)
        assert len(update.queue) == queued > 1

    def test_a_short_transfer_begins_without_a_question(self, tmp_path: Path) -> None:
        update = Update(tmp_path, frames=ASK_FROM)
        assert len(update.queue) == ASK_FROM
        update.finish()
        assert update.sent == ASK_FROM
