"""Scripts of a broker that attacks the chain of root documents: old ones, forged ones, none, and far too many."""

from collections.abc import Iterator, Sequence

import msgspec

from adversary.enrolling import Edit
from adversary.message import Message, Send
from adversary.proxy import Proxy, Script
from fedloom.trust.documents import Registrar, Root, peek_root, sign_root
from fedloom.trust.signing import SigningKey, key_id

FLOOD = 500


def _flip_at(share: float) -> Edit:
    def edit(payload: bytes, wire: Proxy) -> bytes:
        at = int(share * (len(payload) - 1))
        return payload[:at] + bytes([payload[at] ^ 0xFF]) + payload[at + 1 :]

    return edit


def _halved(payload: bytes, wire: Proxy) -> bytes:
    return payload[: len(payload) // 2]


EDITS: tuple[Edit, ...] = (_flip_at(0.0), _flip_at(0.1), _flip_at(0.5), _flip_at(0.9), _flip_at(1.0), _halved)
"""The outermost array, the body at its borders and in the middle, a signature; and what was cut."""


class Withhold(Script):
    """Devices that have a root document get it again where a newer one should come."""

    def __init__(self) -> None:
        self._newest = Message("", True, "", b"")

    def begin(self, wire: Proxy) -> None:
        self._newest = _newest(wire)

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "root" or _version(message) <= _version(self._newest):
            return None
        return [Send(message._replace(payload=self._newest.payload))]


class ServeOld(Script):
    """Each root document that there ever was comes under the names of the next versions."""

    def begin(self, wire: Proxy) -> None:
        newest = _newest(wire)
        documents = {each.payload for each in wire.remembered if each.kind == "root"}
        for client in _devices(wire):
            wire.send(*(Send(each) for each in _under_next(client, newest, *documents)))

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "root":
            return None
        documents = {each.payload for each in wire.remembered if each.kind == "root"}
        old = [message._replace(payload=each) for each in documents if each != message.payload]
        return [Send(each) for each in (*old, message)]


class Forge(Script):
    """Root documents that name the broker's own keys come before each genuine one, and as the next version."""

    def __init__(self) -> None:
        self._own = SigningKey.generate()

    def begin(self, wire: Proxy) -> None:
        newest = _newest(wire)
        for client in _devices(wire):
            wire.send(*(Send(each) for each in _under_next(client, newest, *self._forged(newest.payload, 1))))

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "root":
            return None
        forged = [message._replace(payload=each) for each in self._forged(message.payload, 0)]
        return [Send(each) for each in (*forged, message)]

    def _forged(self, document: bytes, later: int) -> Iterator[bytes]:
        """Signed by its own new root key; by that in the old one's name; by nobody."""
        real = peek_root(document)
        ours = self._rewritten(real, later)
        yield sign_root(ours, self._own)
        kept = msgspec.structs.replace(ours, root_keys=real.root_keys)
        yield sign_root(kept, self._own).replace(self._own.id, key_id(real.root_keys[0]))
        yield sign_root(kept)

    def _rewritten(self, real: Root, later: int) -> Root:
        registrar = Registrar(real.registrar.id, self._own.public, real.registrar.seal, real.registrar.ca)
        aggregators = tuple(msgspec.structs.replace(each, signing=self._own.public) for each in real.aggregators)
        return msgspec.structs.replace(
            real,
            version=real.version + later,
            root_keys=(self._own.public,),
            threshold=1,
            registrar=registrar,
            aggregators=aggregators,
        )


class Flood(Script):
    """Hundreds of documents that are none, of the next version and of hundreds beyond."""

    def begin(self, wire: Proxy) -> None:
        newest = _newest(wire)
        for client in _devices(wire):
            for number in range(1, FLOOD + 1):
                garbage = wire.rng.bytes(1000)
                wire.send(*(Send(each) for each in _under_next(client, newest, garbage, steps=(1, 1 + number))))


def _version(message: Message) -> int:
    return int(message.topic.rsplit("/", 1)[1] or 0) if message.topic else 0


def _newest(wire: Proxy) -> Message:
    return max((each for each in wire.remembered if each.kind == "root"), key=_version)


def _devices(wire: Proxy) -> list[str]:
    return [client for client in wire.clients if client in wire.presence]


def _under_next(client: str, newest: Message, *payloads: bytes, steps: Sequence[int] = (1, 2)) -> Iterator[Message]:
    """As if they were the versions that follow."""
    head = newest.topic.rsplit("/", 1)[0]
    for payload in payloads:
        for step in steps:
            yield Message(client, True, f"{head}/{_version(newest) + step}", payload, True)
