"""What must hold of joining, renewing and following roots, checked on both sides and on the wire.

J1  a token that was used has let in exactly one device, the one that holds the keys; nobody else is in the books
J2  device and registrar agree on credential and certificate, byte for byte
J3  the registrar lets in nobody but for what that device has said itself, and answers it alone
J4  no token's secret, no key and no name that is wished for crosses the broker in clear, or appears in a log
J5  a device holds only root documents of the genuine chain, and never one older than before
"""

import base64
import sqlite3
import ssl
from collections.abc import Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from adversary.fleet import secret_files
from adversary.message import Message
from adversary.proxy import Proxy
from fedloom import msgpack
from fedloom.errors import Reason, Refused
from fedloom.trust.device_keys import DeviceKeys, load_device_keys
from fedloom.trust.documents import open_next_root, open_root, peek_root
from fedloom.trust.seal import SealKey
from fedloom.trust.tokens import Token, write_token
from fedloom.wire.envelope import MAX_OVERHEAD_BYTES, parse
from fedloom.wire.messages import MAX_MEMBERSHIP_BYTES, Admission, Membership

WISH = "canary-gate"
"""What devices that join would like to be called."""


class Entrant(NamedTuple):
    """A device, and the token that it came with, or none."""

    keys: Path
    token: Token | None


class Row(NamedTuple):
    """A device in the registrar's books."""

    id: bytes
    credential: bytes
    certificate: bytes
    """The newest, DER."""


class Entries(NamedTuple):
    """What the registrar has written down."""

    devices: Mapping[bytes, Row]
    tokens: Mapping[bytes, tuple[str, bytes | None]]
    """State and device of each token, by its id."""


def read_entries(state: Path) -> Entries:
    """One consistent view, of a database that is being written."""
    with closing(sqlite3.connect(f"file:{state / 'aggregator.db'}?mode=ro", uri=True, timeout=10)) as connection:
        connection.execute("begin")
        devices = connection.execute("select id, credential from devices").fetchall()
        newest = connection.execute("select device, certificate from certificates order by not_after").fetchall()
        tokens = connection.execute("select id, state, device from tokens").fetchall()
    certificates = dict(newest)
    return Entries(
        {each: Row(each, credential, certificates[each]) for each, credential in devices},
        {each: (state, device) for each, state, device in tokens},
    )


class EntryAuditor:
    """Checks again and again; what was known before must still hold."""

    def __init__(self, directory: Path, state: Path, proxy: Proxy, pinned: bytes, tokens: Sequence[Token]) -> None:
        """`pinned`: SHA-256 of root document 1; `tokens`: all that there are."""
        self._directory = directory
        self._state = state
        self._proxy = proxy
        self._pinned = pinned
        self._tokens = tokens
        self._roots: dict[Path, int] = {}
        self._answers = 0
        self._grepped: dict[Path, int] = {}
        self._captured: list[bytes] = []

    def check(
        self,
        entrants: Sequence[Entrant],
        documents: Sequence[bytes],
        forged: Sequence[SealKey],
        captured: Sequence[bytes],
    ) -> None:
        """All invariants. `entrants`: all devices that there may be; `documents`: the root documents from version 1 on;
        `forged`: keys of the broker's own that it has asked with; `captured`: what clients have handed in since.

        Raises:
            AssertionError: names the invariant that is broken.
        """
        entries = read_entries(self._state)
        held = {entrant: load_device_keys(entrant.keys) for entrant in entrants}
        self._check_books(entries, held)
        self._check_agreement(entries, held)
        self._check_answers(held, forged)
        self._check_secrecy(captured)
        self._check_roots(held, documents)

    def _check_books(self, entries: Entries, held: Mapping[Entrant, DeviceKeys]) -> None:
        ids = [keys.id for keys in held.values()]
        assert len(set(ids)) == len(ids), "J1: two devices are one"
        assert entries.devices.keys() == set(ids), "J1: the books have other devices than there are"
        joined = {token: device for token, (state, device) in entries.tokens.items() if state == "joined"}
        expected = {entrant.token.id: keys.id for entrant, keys in held.items() if entrant.token}
        assert joined == expected, "J1: tokens have let in others than their devices"

    def _check_agreement(self, entries: Entries, held: Mapping[Entrant, DeviceKeys]) -> None:
        for entrant, keys in held.items():
            row = entries.devices[keys.id]
            assert (entrant.keys / "credential").read_bytes() == row.credential, f"J2: {entrant.keys}: credential"
            certificate = ssl.PEM_cert_to_DER_cert((entrant.keys / "tls.crt").read_text())
            assert certificate == row.certificate, f"J2: {entrant.keys}: certificate"

    def _check_answers(self, held: Mapping[Entrant, DeviceKeys], forged: Sequence[SealKey]) -> None:
        said, self._answers = self._proxy.memberships[self._answers :], len(self._proxy.memberships)
        by_token = {entrant.token.id.hex(): keys for entrant, keys in held.items() if entrant.token}
        by_device = {keys.id.hex(): keys for keys in held.values()}
        for message in said:
            keys = by_token.get(message.token) or by_device.get(message.device)
            assert keys is not None, f"J3: an answer on {message.topic}, to nobody"
            self._check_answer(message, keys, forged)

    def _check_answer(self, message: Message, keys: DeviceKeys, forged: Sequence[SealKey]) -> None:
        answer = _opened(message.payload, keys.seal)
        if answer is None:
            others = [each for each in (_opened(message.payload, key) for key in forged) if each]
            assert others, f"J3: an answer on {message.topic} that its device cannot open"
            refused = Admission.REFUSED, Reason.UNKNOWN_TOKEN.value
            assert (others[0].verdict, others[0].reason) == refused, "J3: the broker itself was let in"
        elif message.token:
            asked = self._proxy.published[message.token]
            assert answer.answers[:16] in asked, f"J3: an answer on {message.topic} to what its device never sent"
        else:
            assert answer.answers == bytes(32), f"J3: a renewal on {message.topic} that answers something"

    def _check_roots(self, held: Mapping[Entrant, DeviceKeys], documents: Sequence[bytes]) -> None:
        chain = [open_root(documents[0], self._pinned)]
        for document in documents[1:]:
            chain.append(open_next_root(document, chain[-1]))
        for entrant in held:
            self._check_root(entrant.keys, (entrant.keys / "root").read_bytes(), documents)

    def _check_root(self, keys: Path, document: bytes, documents: Sequence[bytes]) -> None:
        root = peek_root(document)  # of this moment: a device that runs may have taken the next one since we looked
        assert root.version <= len(documents), f"J5: {keys}: version {root.version} was never made"
        genuine = documents[root.version - 1]
        assert document == genuine, f"J5: {keys}: another version {root.version}"
        assert root.version >= self._roots.get(keys, 1), f"J5: {keys}: went back to version {root.version}"
        self._roots[keys] = root.version

    def _check_secrecy(self, captured: Sequence[bytes]) -> None:
        needles = [each for token in self._tokens for each in _spellings(token)]
        needles += [each for key in secret_files(self._directory) for each in (key, key.hex().encode())]
        streams = [*captured, *self._new_logs()]
        leaked = [needle[:8] for needle in needles for each in streams if needle in each]
        leaked += [WISH.encode() for each in captured if WISH.encode() in each]
        assert not leaked, f"J4: {leaked}"

    def _new_logs(self) -> list[bytes]:
        texts = []
        for path in sorted([*self._directory.glob("*.log"), *self._directory.glob("*.out")]):
            whole = path.read_bytes()
            texts.append(whole[self._grepped.get(path, 0) :])
            self._grepped[path] = len(whole)
        return texts


def _spellings(token: Token) -> list[bytes]:
    text = write_token(token).encode()
    secret = token.secret
    return [secret, secret.hex().encode(), base64.b64encode(secret), text, sha256(secret).digest()]


def _opened(payload: bytes, key: SealKey) -> Membership | None:
    try:
        envelope = parse(payload, MAX_MEMBERSHIP_BYTES + MAX_OVERHEAD_BYTES)
        return msgpack.decode(envelope.open(key), Membership)
    except Refused:
        return None
