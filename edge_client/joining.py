"""Joining a federation, decided: takes events, returns actions; no I/O, no clock, no randomness of its own.

The token names a root document by its hash. Once that has come, keys are made and put on disk; then the device asks the
registrar that the root names, with the same bytes until there is an answer. What the answer brings is put on disk, the
credential last. A process that dies at any point goes on from what is on disk, with the same keys: the registrar gives
the same keys the same answer.
"""

import logging
from collections import Counter
from collections.abc import Callable
from hashlib import sha256

from edge_client import join_errors
from edge_client.events import Log, Publish, Subscribe, Tick, WriteDocument
from edge_client.join_events import (
    Discard,
    Failed,
    JoinAction,
    Joined,
    JoinEvent,
    Made,
    MakeKeys,
    Pending,
    Say,
    Secure,
    Wish,
    WriteConfig,
)
from edge_client.membership import open_accepted, open_membership
from edge_client.trustees import root_documents
from fedloom import msgpack
from fedloom.edge_toml import edge_toml
from fedloom.errors import FedloomError, Reason, Refused, TrustError
from fedloom.link.backoff import full_jitter_s
from fedloom.link.base import Connected, Denied, Disconnected, Received
from fedloom.trust.certificates import new_request
from fedloom.trust.device_keys import DeviceSecrets, member_files
from fedloom.trust.documents import Credential, Root, open_next_root, open_root
from fedloom.trust.seal import Recipient
from fedloom.trust.tokens import TlsMode
from fedloom.wire.envelope import MAX_OVERHEAD_BYTES, Header, Type, parse, write_sealed
from fedloom.wire.messages import MAX_MEMBERSHIP_BYTES, Admission, Enrol, Membership
from fedloom.wire.topics import Topics

ASK_FIRST_S = 2.0
ASK_CAP_S = 30.0
ANSWER_TIME_S = 2.0
"""A registrar at ease answers within this: it is not asked again before."""
ROOT_TIME_S = 10.0
"""So long after the last root document on the connection, no other will come."""


class Joining:
    """One device's way in."""

    def __init__(
        self,
        wish: Wish,
        pending: Pending | None,
        give_up_at_s: float,
        entropy: Callable[[int], bytes],
        draw: Callable[[], float],
    ) -> None:
        """`entropy(n)` gives n random bytes, `draw()` a number from Uniform[0, 1)."""
        self.refusals: Counter[Reason] = Counter()
        """Messages that were not believed."""
        self._wish = wish
        self._token = wish.token
        self._topics = Topics(wish.token.federation)
        self._down = self._topics.enrol_down(wish.token.id)
        self._roots = self._topics.all_roots.rstrip("+")
        self._secrets = pending.secrets if pending else None
        self._root = pending.root if pending else None
        self._entropy = entropy
        self._draw = draw
        self._give_up_at_s = give_up_at_s
        self._is_verified = pending is not None or wish.token.broker.tls is not TlsMode.FEDERATION
        """Whether the connection may carry more than the root document."""
        self._is_connected = False
        self._request = b""
        self._asked = 0
        self._ask_at_s: float | None = None
        self._root_by_s: float | None = None
        """While other root documents than ours have come."""
        self._newest_version = 0
        """Of the root documents that this device has heard of, once it has keys."""
        self._is_pending = False
        self._trouble = ""
        """Why there is no connection."""
        self._denied = ""
        self._now_s = 0.0
        self._actions: list[JoinAction] = []

    @property
    def wake_at_s(self) -> float:
        """When the next `Tick` is due."""
        due = (self._ask_at_s, self._root_by_s, self._give_up_at_s)
        return min(each for each in due if each is not None)

    def begin(self) -> list[JoinAction]:
        """What to do before the first connection."""
        self._subscribe()
        return self._taken()

    def handle(self, event: JoinEvent, now_s: float) -> list[JoinAction]:
        """What to do about an event, at `now_s` on a monotonic clock."""
        self._now_s = now_s
        match event:
            case Connected():
                self._is_connected, self._trouble, self._asked = True, "", 0
                self._ask()
            case Disconnected(reason, fatal):
                self._on_disconnected(reason, fatal)
            case Denied(topic, reason):
                self._denied = f" (the broker denies {topic}: {reason})"
            case Received(topic, payload):
                self._on_message(topic, payload)
            case Made(secrets):
                self._on_keys(secrets)
            case Tick():
                self._tick()
        return self._taken()

    def _taken(self) -> list[JoinAction]:
        actions, self._actions = self._actions, []
        return actions

    def _subscribe(self) -> None:
        """The root documents; and where the broker is to be trusted with the token, the registrar's answers."""
        self._do(Subscribe(self._topics.all_roots))
        if self._is_verified:
            self._do(Subscribe(self._down))

    def _on_disconnected(self, reason: str, fatal: bool) -> None:
        if fatal:
            self._fail(join_errors.refused_by_broker(self._token, reason))
            return
        if not self._trouble:
            where = f"{self._token.broker.host}:{self._token.broker.port}"
            self._do(Say(f"no connection to {where} ({reason}); trying again"))
        self._is_connected, self._trouble, self._ask_at_s, self._root_by_s = False, reason, None, None

    def _on_message(self, topic: str, payload: bytes) -> None:
        if not payload:
            return  # a retained message was cleared
        try:
            if topic.startswith(self._roots):
                self._on_root(self._topics.root_version_of(topic), payload)
            elif topic == self._down and self._secrets is not None and self._root is not None:
                self._on_answer(payload, self._secrets, self._root)
        except Refused as refused:
            self.refusals[refused.reason] += 1
            self._do(Log(logging.DEBUG, "message.refused topic=%s reason=%s", (topic, refused.reason.value)))

    def _on_root(self, version: int, document: bytes) -> None:
        if self._root is None:
            self._on_first_root(document)
        elif self._secrets is not None and version > self._root.version + 1:
            self._newest_version = max(self._newest_version, version)
        elif self._secrets is not None and version == self._root.version + 1:
            before, self._root = self._root, open_next_root(document, self._root)
            self._do(*root_documents(before, self._root, document))
            if self._newest_version > version:
                self._do(Subscribe(self._topics.all_roots))  # what came too early comes again
            if self._root.registrar != before.registrar:
                self._request = b""
                self._ask()

    def _on_first_root(self, document: bytes) -> None:
        """The one that the token names, or another one of the chain."""
        try:
            root = open_root(document, self._token.root_hash)
        except Refused:
            self._root_by_s = self._now_s + ROOT_TIME_S
            raise
        if root.federation != self._token.federation:
            self._fail(join_errors.wrong_root(self._token))
            return
        self._root, self._root_by_s = root, None
        self._do(MakeKeys(root, document))

    def _on_keys(self, secrets: DeviceSecrets) -> None:
        self._secrets = secrets
        if not self._is_verified:
            self._is_verified, self._is_connected = True, False
            self._do(Secure())
        self._subscribe()  # again: what follows the first root may be there already
        self._ask()

    def _ask(self) -> None:
        """Send the request, if there can be one and somebody to hear it."""
        if not self._is_connected or self._secrets is None or self._root is None:
            return
        if not self._request:
            try:
                self._request = self._written(self._secrets, self._root)
            except ValueError:
                problem = "this device's TLS key, or the registrar's key in the root document, is none"
                self._fail(TrustError(f"{problem}; give this join up (remove keys/), and ask for another token"))
                return
        jitter_s = full_jitter_s(self._asked, self._draw(), ASK_FIRST_S, ASK_CAP_S)
        self._ask_at_s = self._now_s + ANSWER_TIME_S + jitter_s
        self._asked += 1
        self._do(Publish(self._topics.enrol_up(self._token.id), self._request))

    def _written(self, secrets: DeviceSecrets, root: Root) -> bytes:
        token, wish = self._token, self._wish
        body = Enrol(
            secret=token.secret,
            signing=secrets.signing.public,
            seal=secrets.seal.public,
            request=new_request(secrets.tls),
            name=wish.name,
            capabilities=wish.capabilities,
        )
        header = Header(Type.ENROL, token.federation, token.id, self._entropy(16), recipient=root.registrar.id)
        recipient = Recipient(root.suite, root.registrar.seal)
        return write_sealed(header, msgpack.encode(body), secrets.signing, recipient)

    def _on_answer(self, blob: bytes, secrets: DeviceSecrets, root: Root) -> None:
        envelope = parse(blob, MAX_MEMBERSHIP_BYTES + MAX_OVERHEAD_BYTES)
        membership = open_membership(envelope, self._token.id, secrets.seal, root)
        if not self._request or membership.answers != sha256(self._request).digest():
            raise Refused(Reason.OLD, "an answer to another request")
        match membership.verdict:
            case Admission.ACCEPTED:
                self._accept(membership, open_accepted(membership, secrets, root))
            case Admission.PENDING:
                if not self._is_pending:
                    self._do(Say("waiting for approval (fedloom device approve)"))
                self._is_pending = True
            case Admission.REFUSED:
                self._do(Discard())
                self._fail(join_errors.refusal(membership.reason))

    def _accept(self, membership: Membership, credential: Credential) -> None:
        assert membership.broker is not None  # noqa: S101 - for the type checker: open_accepted has looked
        writes = [
            WriteDocument(name, data)
            for name, data in member_files(membership.credential, membership.certificate).items()
        ]
        config = WriteConfig(edge_toml(credential.name, membership.broker, self._wish.data))
        self._do(*writes[:-1], config, writes[-1], Joined(credential))  # who has a credential has joined

    def _tick(self) -> None:
        if self._now_s >= self._give_up_at_s:
            self._fail(self._overtime())
        elif self._root_by_s is not None and self._now_s >= self._root_by_s:
            self._fail(join_errors.wrong_root(self._token))
        elif self._ask_at_s is not None and self._now_s >= self._ask_at_s:
            self._ask()

    def _overtime(self) -> FedloomError:
        if self._is_pending:
            return join_errors.not_approved(self._wish.name)
        if not self._is_connected:
            return join_errors.unreachable(self._token, self._trouble or "no answer")
        if self._root_by_s is not None:
            return join_errors.wrong_root(self._token)
        if self._root is None:
            return join_errors.no_root(self._token, self._denied)
        unbelieved = ", ".join(sorted(self.refusals))
        return join_errors.no_answer(self._denied or (f" that can be believed ({unbelieved})" if unbelieved else ""))

    def _fail(self, error: FedloomError) -> None:
        self._do(Failed(error))

    def _do(self, *actions: JoinAction) -> None:
        self._actions += actions
