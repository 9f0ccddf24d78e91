"""The messages that a device signs: presence and updates."""

import threading
from collections.abc import Callable
from typing import Literal

from edge_client.believe import round_recipient
from edge_client.events import Answer, Publish, Work
from edge_client.rounds import counts_until
from edge_client.sequence import Sequence
from edge_client.state import OutboxEntry
from fedloom import __version__, msgpack
from fedloom.trust.device_keys import DeviceKeys
from fedloom.wire.envelope import Envelope, Header, Type, write_clear, write_sealed
from fedloom.wire.messages import Manifest, Phase, Presence
from fedloom.wire.topics import Topics

_READIES = 4
"""How often a device may say `ready` on one connection: at first, and when it holds something new."""


class Writer:
    """Numbers each message, and signs it."""

    def __init__(self, keys: DeviceKeys, incarnation: int, sequence: Sequence, entropy: Callable[[int], bytes]) -> None:
        self.keys = keys
        """Replaced when the credential is renewed."""
        self._incarnation = incarnation
        self._sequence = sequence
        self._entropy = entropy
        self._topic = Topics(keys.root.federation).state(keys.id)
        self._readies = range(0)
        """Numbers of this connection's `ready`; the one in use comes first."""
        self._lock = threading.Lock()
        """The link asks for its will in its own thread."""

    def will(self) -> Publish:
        """The last will of the next connection, which outranks each `ready` of that connection."""
        with self._lock:
            self._readies = self._numbers()
            last = self._readies[-1] + 1
        return self._presence("lost", last)

    def ready(self) -> Publish:
        """What is said first on a connection; said again it is the same."""
        with self._lock:
            self._readies = self._readies or self._numbers()
            number = self._readies[0]
        return self._presence("ready", number)

    def ready_anew(self) -> Publish:
        """It outranks the `ready` before it, unless that was the last one that this connection had."""
        with self._lock:
            self._readies = self._readies[1:] or self._readies
        return self.ready()

    def _numbers(self) -> range:
        first = self._sequence.take(_READIES + 1)
        return range(first, first + _READIES)

    def goodbye(self) -> Publish:
        """What is said last."""
        return self._presence("disconnected", self._sequence.take())

    def sleeping(self) -> Publish:
        """What is said last before a sleep."""
        return self._presence("sleeping", self._sequence.take())

    def update(self, work: Work, answer: Answer) -> OutboxEntry:
        """An answer, sealed to its round."""
        manifest: Manifest = work.manifest
        header = self._header(Type.UPDATE, self._sequence.take())._replace(
            job=manifest.job,
            round=manifest.round,
            attempt=manifest.attempt,
            manifest=work.manifest_hash,
            encoding=answer.encoding,
        )
        blob = write_sealed(
            header,
            msgpack.encode(answer.update),
            self.keys.signing,
            round_recipient(manifest.suite, manifest.round_key),
        )
        digest = Envelope(header, blob).digest
        return OutboxEntry(
            digest,
            work.manifest_hash,
            manifest.job,
            has_residual=answer.residual is not None,
            blob=blob,
            counts_until=counts_until(manifest),
            has_control=answer.control is not None,
            is_exchange=manifest.phase is Phase.EXCHANGE,
        )

    def _presence(self, state: Literal["ready", "sleeping", "disconnected", "lost"], sequence: int) -> Publish:
        body = msgpack.encode(Presence(state, f"fedloom {__version__}", self.keys.credential.not_after))
        blob = write_clear(self._header(Type.PRESENCE, sequence), body, self.keys.signing)
        return Publish(self._topic, blob, retain=True)

    def _header(self, kind: Type, sequence: int) -> Header:
        return Header(
            kind,
            self.keys.root.federation,
            self.keys.id,
            self._entropy(16),
            incarnation=self._incarnation,
            sequence=sequence,
        )
