"""Scripts of a broker that alters what it delivers. What is altered comes first, the genuine message right behind.

So nothing is merely lost: a receiver that took the altered one would refuse the genuine one, or act on the wrong one.
"""

from collections.abc import Callable, Sequence
from itertools import count, cycle

from adversary.message import Message, Send
from adversary.proxy import Proxy, Script
from fedloom.trust.signing import SIGNATURE_BYTES as SIGNATURE
from fedloom.wire.chunks import HEADER_BYTES as FRAME_BYTES
from fedloom.wire.envelope import HEADER_BYTES

ENVELOPE = {
    "magic": (0, 3),
    "version": (3, 4),
    "suite": (4, 5),
    "type": (5, 6),
    "content": (6, 7),
    "encoding": (7, 8),
    "federation": (8, 24),
    "sender": (24, 40),
    "sender's key": (40, 48),
    "recipient": (48, 64),
    "recipient's key": (64, 72),
    "job": (72, 88),
    "round": (88, 92),
    "attempt": (92, 96),
    "manifest": (96, 128),
    "message id": (128, 144),
    "incarnation": (144, 148),
    "sequence": (148, 156),
    "plain length": (156, 160),
    "body": (HEADER_BYTES, -SIGNATURE),
    "signature": (-SIGNATURE, 0),
}
"""Where each class of an envelope's bytes begins and ends; from the end where negative or 0: fedloom.wire.envelope."""
FRAME = {
    "magic": (0, 3),
    "version": (3, 4),
    "transfer": (4, 20),
    "index": (20, 22),
    "count": (22, 24),
    "length": (24, 28),
    "slice": (FRAME_BYTES, 0),
}
MAX_UP = 3
"""Messages of one device that are accompanied by altered ones, in one script."""
CUTS = (
    0,
    1,
    3,
    HEADER_BYTES - 1,
    HEADER_BYTES,
    HEADER_BYTES + 1,
    HEADER_BYTES + SIGNATURE,
    -SIGNATURE - 1,
    -SIGNATURE,
    -1,
)
"""Lengths that a message is cut to; from the end where negative."""


def flip(payload: bytes, place: tuple[int, int], wire: Proxy) -> bytes:
    """All bits of one byte in `place` are the other way round."""
    start, end = place[0] % len(payload), place[1] if place[1] > 0 else len(payload) + place[1]
    at = int(wire.rng.integers(start, end))
    return payload[:at] + bytes([payload[at] ^ 0xFF]) + payload[at + 1 :]


class Victim(Script):
    """On the way up one device bears it, and for few messages: the aggregator throttles what looks like a flood."""

    def __init__(self) -> None:
        self._victim = ""
        self._left = MAX_UP

    def begin(self, wire: Proxy) -> None:
        self._victim = next(wire.victims)

    def is_target(self, message: Message) -> bool:
        """Everything that devices get, and some of what the victim sends."""
        if not message.device or message.client == message.device:
            return True
        self._left -= message.device == self._victim
        return message.device == self._victim and self._left >= 0


class FlipEnvelope(Victim):
    """An altered copy goes before each envelope."""

    def __init__(self, place: tuple[int, int]) -> None:
        super().__init__()
        self._place = place

    def begin(self, wire: Proxy) -> None:
        super().begin(wire)
        for presence in wire.presence.values():
            altered = presence._replace(client=wire.aggregator, to_client=True)
            wire.send(Send(self._flip(altered, wire)))

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if not message.is_envelope or not self.is_target(message):
            return None
        return [Send(self._flip(message, wire)), Send(message)]

    def _flip(self, message: Message, wire: Proxy) -> Message:
        return message._replace(payload=flip(message.payload, self._place, wire))


class FlipChunk(Script):
    """An altered copy goes before each chunk of a model."""

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "chunk" or not message.payload:
            return None
        return [Send(message._replace(payload=flip(message.payload, (0, 0), wire))), Send(message)]


class FlipFrame(Script):
    """Has one device send its updates in frames, and puts an altered one before each, in one field after the other."""

    def __init__(self, device: str, max_packet_bytes: int) -> None:
        self._device = device
        self._max_packet_bytes = max_packet_bytes
        self._places = cycle(FRAME.values())

    def begin(self, wire: Proxy) -> None:
        wire.max_packet_bytes[self._device] = self._max_packet_bytes
        wire.cut(self._device)

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "frame":
            return None
        return [Send(message._replace(payload=flip(message.payload, next(self._places), wire))), Send(message)]

    def end(self, wire: Proxy) -> None:
        del wire.max_packet_bytes[self._device]
        wire.cut(self._device)


class FlipSome(Script):
    """A share of everything is altered, and the genuine message is lost."""

    def __init__(self, share: float) -> None:
        self._share = share

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if not message.payload or wire.rng.random() >= self._share:
            return None
        return [Send(message._replace(payload=flip(message.payload, (0, 0), wire)))]


class Anything(Script):
    """Loses, repeats, delays, alters, cuts or replays a share of all deliveries."""

    def __init__(self, share: float) -> None:
        self._share = share

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if not message.payload or wire.rng.random() >= self._share:
            return None
        earlier = [each for each in wire.remembered if each.client == message.client]
        cut = message.payload[: int(wire.rng.integers(len(message.payload)))]
        choices: tuple[list[Send], ...] = (
            [],
            [Send(message)] * 2,
            [Send(message, 0.1)],
            [Send(message._replace(payload=flip(message.payload, (0, 0), wire)))],
            [Send(message._replace(payload=cut))],
            [Send(earlier[int(wire.rng.integers(len(earlier)))]), Send(message)],
        )
        return choices[int(wire.rng.integers(len(choices)))]


class FlipTopic(Victim):
    """A copy under a topic with one altered letter goes before each message."""

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if not self.is_target(message):
            return None
        at = int(wire.rng.integers(len("fedloom/"), len(message.topic)))
        letter = "0" if message.topic[at] != "0" else "1"
        return [Send(message._replace(topic=message.topic[:at] + letter + message.topic[at + 1 :])), Send(message)]


class Truncate(Victim):
    """A copy that was cut goes before each message; the next one is cut elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._cuts: dict[str, Callable[[], int]] = {}

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if not message.payload or not self.is_target(message):
            return None
        following = self._cuts.setdefault(message.client + message.kind, count().__next__)
        cut = CUTS[following() % len(CUTS)]
        return [Send(message._replace(payload=message.payload[:cut])), Send(message)]


class Splice(Victim):
    """Before each envelope go its header with the last one's body, and its header and signature with that body."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, bytes] = {}

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if not message.is_envelope:
            return None
        kind, one = message.kind, message.payload
        other = self._last.get(kind)
        self._last[kind] = one
        if other is None or not self.is_target(message):
            return None
        spliced = (
            one[:HEADER_BYTES] + other[HEADER_BYTES:],
            one[:HEADER_BYTES] + other[HEADER_BYTES:-SIGNATURE] + one[-SIGNATURE:],
        )
        return [*(Send(message._replace(payload=each)) for each in spliced), Send(message)]


class SwapTopics(Victim):
    """Copies under the wrong topic, or for the wrong device, go before each message."""

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        is_for_device = message.client in wire.devices
        if not message.payload or not (message.device or is_for_device) or not self.is_target(message):
            return None
        astray = self._to_devices(message, wire) if is_for_device else self._to_aggregator(message, wire)
        return [*(Send(each) for each in astray), Send(message)]

    def _to_aggregator(self, message: Message, wire: Proxy) -> list[Message]:
        """Another device's, the other one of the device's two, and what was meant for a device."""
        head, own = message.topic.rsplit("/", 1)
        other = wire.neighbour(message.device)
        return [
            message._replace(topic=message.topic.replace(message.device, other)),
            message._replace(topic=f"{head}/{'state' if own == 'up' else 'up'}"),
        ]

    def _to_devices(self, message: Message, wire: Proxy) -> list[Message]:
        """The neighbour's own, the manifest as a task, a task as the manifest, a chunk as the next one."""
        federation = "/".join(message.topic.split("/")[:2])
        down, manifest = f"{federation}/d/{message.client}/down", f"{federation}/all/manifest"
        if message.kind == "chunk":
            head, number = message.topic.rsplit("/", 1)
            return [message._replace(topic=f"{head}/{int(number) + 1}")]
        if message.kind == "manifest":
            return [message._replace(topic=down)]
        neighbour = wire.neighbour(message.client)
        return [
            message._replace(topic=manifest),
            message._replace(client=neighbour, topic=message.topic.replace(message.client, neighbour)),
        ]


class CrossWires(Script):
    """Two devices get what is for the other."""

    def __init__(self, one: str, other: str) -> None:
        self._crossed = {one: other, other: one}

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        other = self._crossed.get(message.client)
        if other is None or message.device != message.client:
            return None
        return [Send(message._replace(client=other, topic=message.topic.replace(message.client, other)))]
