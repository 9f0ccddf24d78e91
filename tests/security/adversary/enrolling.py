"""Scripts of a broker that attacks devices that join or are renewed: requests, and the registrar's answers."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from itertools import cycle, islice

from adversary.altering import CUTS, ENVELOPE, flip
from adversary.message import Message, Send
from adversary.proxy import Proxy, Script
from fedloom import msgpack
from fedloom.trust.certificates import new_request
from fedloom.trust.device_keys import DeviceSecrets
from fedloom.trust.documents import Root, peek_root
from fedloom.trust.seal import Recipient, SealKey
from fedloom.trust.signing import SIGNATURE_BYTES, SigningKey, key_id
from fedloom.trust.tokens import Broker, TlsMode
from fedloom.wire.envelope import HEADER_BYTES, Header, Type, write_sealed
from fedloom.wire.messages import Admission, Capabilities, Enrol, Membership

Edit = Callable[[bytes, Proxy], bytes]
BORNE = 3
"""Requests of one token that the registrar opens besides the genuine one, before its throttle closes."""
_SENDER_KEY = slice(*ENVELOPE["sender's key"])


def _flipped(place: tuple[int, int], payload: bytes, wire: Proxy) -> bytes:
    return flip(payload, place, wire)


def _cut(length: int, payload: bytes, wire: Proxy) -> bytes:
    return payload[:length]


FLIPS: tuple[Edit, ...] = tuple(partial(_flipped, place) for place in ENVELOPE.values())
TRUNCATIONS: tuple[Edit, ...] = tuple(partial(_cut, length) for length in CUTS)


class Alter(Script):
    """Altered copies go before the first message of a kind on each topic; the next client gets the next edits."""

    def __init__(self, kind: str, edits: Sequence[Edit], share: int) -> None:
        """`share`: copies before one message."""
        self._kind = kind
        self._edits = cycle(edits)
        self._share = share
        self._seen: set[tuple[str, str]] = set()

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        place = (message.client, message.topic)
        if message.kind != self._kind or place in self._seen:
            return None
        self._seen.add(place)
        copies = [edit(message.payload, wire) for edit in islice(self._edits, self._share)]
        return [*(Send(message._replace(payload=copy)) for copy in copies), Send(message)]


class Mix(Script):
    """Holds the first message of a kind until another device's is there: each comes under the other's topic, and
    spliced with it, before both come right.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._held: dict[str, Message] = {}

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != self._kind or len(self._held) == 2:
            return None
        self._held.setdefault(message.topic, message)
        if len(self._held) < 2:
            return []
        one, other = self._held.values()
        return [Send(each) for each in (*_mixed(one, other), *_mixed(other, one), one, other)]


class Delay(Script):
    """Keeps each answer of the registrar for a while."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        return [Send(message, self._delay_s)] if message.kind == "membership" else None


class OthersWords(Script):
    """Before each answer of the registrar come those that others got, as they were and spliced with this one."""

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "membership":
            return None
        others = [each for each in wire.memberships if each.topic != message.topic][-4:]
        return [Send(mixed) for other in others for mixed in _mixed(message, other)] + [Send(message)]


def _mixed(one: Message, other: Message) -> Iterator[Message]:
    """What is to come on `one`'s topic, to whom that is for."""
    mine, theirs = one.payload, other.payload
    yield one._replace(payload=theirs)
    yield one._replace(payload=mine[:HEADER_BYTES] + theirs[HEADER_BYTES:])
    yield one._replace(payload=mine[:HEADER_BYTES] + theirs[HEADER_BYTES:-SIGNATURE_BYTES] + mine[-SIGNATURE_BYTES:])


class KeepFirst(Script):
    """Loses the first answer on each topic, and delivers it ahead of each later one."""

    def __init__(self) -> None:
        self._kept: dict[str, Message] = {}

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "membership":
            return None
        if message.topic not in self._kept:
            self._kept[message.topic] = message
            return []
        return [Send(self._kept[message.topic]), Send(message)]


class FirstForEver(Script):
    """Delivers the first answer on each topic in place of each later one."""

    def __init__(self) -> None:
        self._kept: dict[str, Message] = {}

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "membership":
            return None
        kept = self._kept.setdefault(message.topic, message)
        return None if kept is message else [Send(kept)]


class RepeatLast(Script):
    """Delivers what the registrar said to a device before ahead of each of its answers, and behind it."""

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "membership":
            return None
        said = [each for each in wire.memberships if each.topic == message.topic and each.payload != message.payload]
        old = [Send(message._replace(payload=each.payload)) for each in said]
        return [*old, Send(message), *old]


class ReplayRequests(Script):
    """Before each request come those that other devices have made."""

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "enrol":
            return None
        earlier = {each.topic: each for each in wire.remembered if each.kind == "enrol" and each.topic != message.topic}
        return [Send(each) for each in (*earlier.values(), message)]


class ForgeRequests(Script):
    """Before each request comes one with keys of the broker's own: it has seen the token's id, but not its secret."""

    def __init__(self) -> None:
        self.seals: list[SealKey] = []
        """Of those keys: what the registrar answers is sealed to them."""

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "enrol":
            return None
        root = _root_seen(wire)
        own = DeviceSecrets.generate(root.suite)
        self.seals.append(own.seal)
        body = Enrol(
            secret=os.urandom(32),
            signing=own.signing.public,
            seal=own.seal.public,
            request=new_request(own.tls),
            name="mallory",
            capabilities=Capabilities("", "", 0, 0),
        )
        token = bytes.fromhex(message.token)
        header = Header(Type.ENROL, root.federation, token, os.urandom(16), recipient=root.registrar.id)
        recipient = Recipient(root.suite, root.registrar.seal)
        forged = write_sealed(header, msgpack.encode(body), own.signing, recipient)
        return [Send(message._replace(payload=forged)), Send(message)]


class ForgeAnswers(Script):
    """Before each answer come two that the broker has signed: in its own key's name, and in the registrar's."""

    def delivered(self, message: Message, wire: Proxy) -> Sequence[Send] | None:
        if message.kind != "membership":
            return None
        root, signer = _root_seen(wire), SigningKey.generate()
        request = next(each for each in reversed(wire.remembered) if each.kind == "enrol")
        answers = sha256(request.payload).digest()
        body = Membership(answers, Admission.ACCEPTED, "", b"", b"", Broker("127.0.0.1", 1883, TlsMode.NONE))
        header = Header(
            Type.MEMBERSHIP, root.federation, root.registrar.id, os.urandom(16), bytes.fromhex(message.token)
        )
        forged = write_sealed(header, msgpack.encode(body), signer, Recipient(root.suite, root.registrar.seal))
        named = bytearray(forged)
        named[_SENDER_KEY] = key_id(root.registrar.signing)
        return [Send(message._replace(payload=each)) for each in (forged, bytes(named))] + [Send(message)]


def _root_seen(wire: Proxy) -> Root:
    """The newest root document that has passed: everybody may read it."""
    seen = [peek_root(each.payload) for each in wire.remembered if each.kind == "root"]
    return max(seen, key=lambda root: root.version)
