"""A link on a virtual clock: so many bytes a second each way, messages lost, connections cut; and who talks over it.

The cores are the real ones; what is simulated is the wire, the broker's part (it hands out retained chunks in the order
in which they are asked for) and the aggregator's word on frames. Files are real files.
"""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random

from aggregator.assembler import Assembler
from aggregator.incoming import Incoming
from edge_client import events as ev
from edge_client.delivery import Delivery
from edge_client.download import Download
from edge_client.fetch import Fetch
from edge_client.state import OutboxEntry
from fedloom.errors import Refused
from fedloom.wire.chunks import Transfer, is_frame, is_question, read_question
from fedloom.wire.messages import Missing, ModelRef
from fedloom.wire.topics import Topics

OVERHEAD_BYTES = 140
"""Of a message: MQTT's header and topic, its acknowledgement, TCP and IP."""
PACKET_BYTES = 130
"""Of SUBSCRIBE or UNSUBSCRIBE."""
LATENCY_S = 0.2


class Clock:
    """What happens when."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()

    def after(self, delay_s: float, deed: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now_s + delay_s, next(self._serial), deed))

    def run(self, until: Callable[[], bool], limit_s: float) -> None:
        while self._agenda and not until() and self.now_s < limit_s:
            self.now_s, _, deed = heapq.heappop(self._agenda)
            deed()


class Pipe:
    """One direction: first in, first out. A cut loses what was on the wire; its message goes out again."""

    def __init__(self, clock: Clock, rate: float, loss: float, rng: Random, deliver: Callable[[bytes], None]) -> None:
        """`rate` in bytes a second; `deliver` gets what is not lost."""
        self.sent_bytes = 0
        self.peak_bytes = 0
        self.on_left: Callable[[bytes], None] = lambda _: None
        self._clock, self._rate, self._loss, self._rng, self._deliver = clock, rate, loss, rng, deliver
        self._waiting: deque[bytes] = deque()
        self._epoch = 0
        self._began_s: float | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: bytes) -> None:
        self._waiting.append(message)
        self.peak_bytes = max(self.peak_bytes, sum(map(len, self._waiting)))
        if self._began_s is None:
            self._start()

    def cut(self) -> None:
        """The connection breaks, and another one stands at once."""
        if self._began_s is not None:
            self.sent_bytes += int((self._clock.now_s - self._began_s) * self._rate)
            self._epoch += 1
            self._start()

    def clear(self) -> None:
        """Whoever was sending has died."""
        self._waiting.clear()
        self._epoch += 1
        self._began_s = None

    def _start(self) -> None:
        self._began_s, epoch = self._clock.now_s, self._epoch
        size = len(self._waiting[0]) + OVERHEAD_BYTES
        self._clock.after(size / self._rate, lambda: self._left(epoch, size))

    def _left(self, epoch: int, size: int) -> None:
        if epoch != self._epoch:
            return
        message = self._waiting.popleft()
        self.sent_bytes += size
        self._began_s = None
        if self._rng.random() >= self._loss:
            self._clock.after(LATENCY_S, lambda: self._deliver(message))
        if self._waiting:
            self._start()
        self._clock.after(LATENCY_S, lambda: self.on_left(message))


class Downloading:
    """A device fetches a model."""

    def __init__(self, clock: Clock, rate: float, loss: float, ref: ModelRef, cipher: bytes, disk: Path) -> None:
        self._clock, self._ref, self._cipher, self._disk = clock, ref, cipher, Download(disk)
        self._rng, self._topics = Random(7), Topics(bytes(16))
        self.pipe = Pipe(clock, rate, loss, self._rng, self._came)
        self.asked_bytes = 0
        self.model = b""
        self._names: dict[bytes, int] = {}
        self.boot()

    def boot(self) -> None:
        """A new process, which knows what is on the disk."""
        self.pipe.clear()
        self._fetch = Fetch(self._topics, self._rng.random)
        self._fetch.connected(self._clock.now_s)
        self._do(self._fetch.begin(self._ref, self._clock.now_s))

    def cut(self) -> None:
        """The connection breaks and stands again."""
        self._fetch.disconnected()
        self.pipe.cut()
        self._fetch.connected(self._clock.now_s)
        self._wake()

    def _came(self, message: bytes) -> None:
        number = int.from_bytes(message[:4], "big")
        self._do(self._fetch.accept(self._ref.cipher_hash, number, message[4:], self._clock.now_s))

    def _do(self, actions: list[ev.Action]) -> None:
        now_s = self._clock.now_s
        for action in actions:
            match action:
                case ev.Subscribe(topic):
                    self.asked_bytes += PACKET_BYTES
                    number = self._topics.chunk_of(topic)[1]
                    start = number * self._ref.chunk_bytes
                    chunk = self._cipher[start : start + self._ref.chunk_bytes]
                    self.pipe.put(number.to_bytes(4, "big") + chunk)
                case ev.Unsubscribe():
                    self.asked_bytes += PACKET_BYTES
                case ev.OpenDownload(model, chunks):
                    self._disk.path.mkdir(exist_ok=True)
                    self._do(self._fetch.opened(model, self._disk.open(model, chunks), now_s))
                case ev.KeepChunk(model, start, payload):
                    self._disk.keep(model, start, payload)
                case ev.ReadDownload(model):
                    self.model = self._disk.read(model)
        self._wake()

    def _wake(self) -> None:
        fetch, at_s = self._fetch, self._fetch.again_at_s
        if at_s is not None:
            self._clock.after(max(0.0, at_s - self._clock.now_s), lambda: self._tick(fetch, at_s))

    def _tick(self, fetch: Fetch, at_s: float) -> None:
        if fetch is self._fetch and fetch.again_at_s == at_s:
            self._do(fetch.tick(self._clock.now_s))


class Uploading:
    """A device sends an update to an aggregator."""

    def __init__(self, clock: Clock, rate: float, loss: float, entry: OutboxEntry, disk: Path, max_frame: int) -> None:
        self._clock, self._entry, self._max_frame = clock, entry, max_frame
        self._rng = Random(7)
        self._incoming = Incoming(disk)
        self.up = Pipe(clock, rate, loss, self._rng, self._arrived)
        self.up.on_left = self._left
        self.down = Pipe(clock, rate, loss, self._rng, self._heard)
        self.blob: bytes | None = None
        self.is_done = False
        self.boot_aggregator()
        self._boot(is_new=True)

    def boot(self) -> None:
        """A new process on the device; the update is in its outbox."""
        self.up.clear()
        self._boot(is_new=False)

    def boot_aggregator(self) -> None:
        """A new process, which knows what is on its disk."""
        self._incoming.open("1")
        self._assembler = Assembler(len(self._entry.blob), 4, shelf=self._incoming)

    def cut(self) -> None:
        """The connection breaks and stands again."""
        self._delivery.disconnected()
        self.up.cut()
        self._connect()

    def _boot(self, is_new: bool) -> None:
        self._delivery = Delivery("up", self._rng.random, self._max_frame)
        if is_new:
            self._do(self._delivery.put(self._entry, self._clock.now_s))
        else:
            self._do(self._delivery.restore(self._entry, True, self._clock.now_s))
        self._connect()

    def _connect(self) -> None:
        self._do(self._delivery.connected(2**20, not len(self.up), self._clock.now_s))

    def _arrived(self, message: bytes) -> None:
        """At the aggregator."""
        try:
            if is_question(message):
                self._answer(read_question(message, len(self._entry.blob)))
            elif is_frame(message):
                self.blob = self._assembler.accept(message, "up", self._clock.now_s) or self.blob
        except Refused:
            return
        if self.blob is not None and not is_question(message):
            self.down.put(b"receipt" + bytes(500))

    def _answer(self, transfer: Transfer) -> None:
        if self.blob is not None:
            self.down.put(b"receipt" + bytes(500))
        else:
            self.down.put(b"missing" + self._assembler.missing(transfer, "up", self._clock.now_s))

    def _heard(self, message: bytes) -> None:
        """At the device."""
        if message.startswith(b"receipt"):
            self.is_done = True
            return
        try:
            self._do(self._delivery.missing(Missing(self._entry.digest[:16], message[7:]), self._clock.now_s))
        except Refused:
            return

    def _left(self, message: bytes) -> None:
        """The link tells of frames alone."""
        if is_frame(message):
            self._do(self._delivery.sent(len(self.up), self._clock.now_s))

    def _do(self, actions: list[ev.Action]) -> None:
        for action in actions:
            match action:
                case ev.PublishFrame(_, header, _, start, length):
                    self.up.put(header + self._entry.blob[start : start + length])
                case ev.Publish(_, payload):
                    self.up.put(payload)
        delivery, at_s = self._delivery, self._delivery.resend_at_s
        if at_s is not None:
            self._clock.after(max(0.0, at_s - self._clock.now_s), lambda: self._tick(delivery, at_s))

    def _tick(self, delivery: Delivery, at_s: float) -> None:
        if delivery is self._delivery and delivery.resend_at_s == at_s:
            self._do(delivery.tick(not len(self.up), self._clock.now_s))
