"""Hears devices that want to join, and answers them. Events in, actions out; no I/O, no clock.

A request is checked in the order of cost: size, shape, federation, topic, recipient; how many came; then it is opened,
read, and its signature checked. What fails so far is dropped without a word: anybody may have sent it. What passes is
decided in the store (`aggregator.enrolment.decisions`), and answered when that is on disk. A request is acknowledged to
the broker at once: devices ask again until they are answered.
"""

from collections import Counter
from collections.abc import Sequence, Set

from aggregator.enrolment.issuing import PublicKeys
from aggregator.enrolment.records import Decision, JoinRequest
from aggregator.enrolment.throttle import PAUSE_S, JoinThrottle
from aggregator.enrolment.writer import MembershipWriter
from aggregator.events import Acknowledge, Action, Decide, Listen, Now, Publish, Tell, WakeAt
from aggregator.fleet import Fleet
from aggregator.keys import AggregatorKeys
from aggregator.notices import DeviceJoined, JoinAlarm, JoinNotice, JoinPaused, JoinPending, JoinRefused
from fedloom.errors import Reason, Refused
from fedloom.link.base import Received
from fedloom.msgpack import decode
from fedloom.rarely import is_told
from fedloom.trust.certificates import public_key_in
from fedloom.trust.seal import Recipient, SealSuite
from fedloom.trust.signing import VerifyingKey
from fedloom.trust.tokens import secret_hash
from fedloom.wire import envelope
from fedloom.wire.envelope import Envelope, Type
from fedloom.wire.messages import MAX_ENROL_BYTES, Admission, Enrol

MAX_ENVELOPE_BYTES = MAX_ENROL_BYTES + envelope.MAX_OVERHEAD_BYTES
MAX_WAITING = 1024
"""Requests that wait for the store; more are dropped, and their devices ask again."""
MAX_TOPICS = 1000
"""Tokens whose topics are subscribed to one by one: all fit one packet of 128 KiB."""
_NOBODY = b""


class Registrar:
    """Lets devices in that come with a token."""

    def __init__(self, keys: AggregatorKeys, fleet: Fleet, writer: MembershipWriter, tokens: Set[bytes]) -> None:
        """`tokens`: the ids of those that were made; see `learn`."""
        self._keys = keys
        self._fleet = fleet
        self._writer = writer
        self._throttle = JoinThrottle()
        self._waiting: set[bytes] = set()
        """Digests of requests that the store has not decided on."""
        self._told: Counter[bytes] = Counter()
        """Refusals by token, or nobody's: the 1st, 2nd, 4th, 8th … of each is told."""
        self._heard: frozenset[str] | None = None
        """Topics that are listened to while far too much is said on others; None: all."""
        self._quiet_until_s = 0.0
        """On the monotonic clock."""
        self.learn(tokens)

    def learn(self, tokens: Set[bytes]) -> None:
        """More tokens were made."""
        self._throttle.learn(tokens)

    def received(self, received: Received, now: Now) -> list[Action]:
        """Take a request."""
        if self._heard is not None and received.topic not in self._heard:  # it was on its way already
            return [Acknowledge(received)]
        if not self._throttle.bears(now.monotonic_s):
            return [Acknowledge(received), *self._hear_fewer(now)]
        try:
            request = self._read(received, now)
        except Refused as refusal:
            return [Acknowledge(received), *self._tell_rarely(_NOBODY, JoinRefused("", "", refusal.reason.value))]
        if request is None:
            return [Acknowledge(received)]
        self._waiting.add(request.digest)
        return [Acknowledge(received), Decide(request)]

    def tick(self, now: Now) -> list[Action]:
        """Listen to everybody again, when the time has come."""
        if self._heard is None or now.monotonic_s < self._quiet_until_s:
            return []
        self._heard = None
        return [Listen(frozenset({self._fleet.topics.all_enrol_up}))]

    def decided(self, decisions: Sequence[Decision]) -> list[Action]:
        """These are on disk: answer them, and believe the new devices from now on."""
        return [action for decision in decisions for action in self._answer(decision)]

    def _hear_fewer(self, now: Now) -> list[Action]:
        """Those alone who have a token; nobody where it is they who say too much."""
        known = self._throttle.known
        is_first = self._heard is None and len(known) <= MAX_TOPICS
        self._heard = frozenset(self._fleet.topics.enrol_up(token) for token in known) if is_first else frozenset()
        self._quiet_until_s = now.monotonic_s + PAUSE_S
        return [Listen(self._heard), Tell(JoinPaused(PAUSE_S, len(self._heard))), WakeAt(self._quiet_until_s)]

    def _read(self, received: Received, now: Now) -> JoinRequest | None:
        """The request in a message; None where there were too many, or it waits already."""
        message = self._screen(received)
        if len(self._waiting) >= MAX_WAITING or message.digest in self._waiting:
            return None
        return self._open(message, now) if self._throttle.admits(message.header.sender, now.monotonic_s) else None

    def _screen(self, received: Received) -> Envelope:
        """The checks that need no cryptography; raises Refused."""
        message = envelope.parse(received.payload, MAX_ENVELOPE_BYTES)
        header, root = message.header, self._keys.root
        if header.type is not Type.ENROL:
            raise Refused(Reason.UNKNOWN_TYPE)
        if header.federation != root.federation:
            raise Refused(Reason.WRONG_FEDERATION)
        if self._fleet.topics.token_of(received.topic) != header.sender:
            raise Refused(Reason.WRONG_TOPIC)
        if (header.recipient, header.recipient_key) != (root.registrar.id, self._keys.registrar.seal.id):
            raise Refused(Reason.WRONG_RECIPIENT)
        return message

    def _open(self, message: Envelope, now: Now) -> JoinRequest:
        """The checks that cost cryptography; raises Refused."""
        enrol = decode(message.open(self._keys.registrar.seal), Enrol)
        try:
            message.verify(VerifyingKey(enrol.signing))
        except ValueError:
            raise Refused(Reason.MALFORMED, "not an Ed25519 key") from None
        recipient = _recipient(self._keys.root.suite, enrol.seal)
        return JoinRequest(
            token=message.header.sender,
            secret_hash=secret_hash(enrol.secret),
            keys=PublicKeys(enrol.signing, enrol.seal, public_key_in(enrol.request)),
            recipient=recipient,
            wish=enrol.name,
            capabilities=enrol.capabilities,
            digest=message.digest,
            at_s=now.utc_s,
        )

    def _answer(self, decision: Decision) -> list[Action]:
        request, grant = decision.request, decision.grant
        self._waiting.discard(request.digest)
        place = (request.token, request.recipient)
        if grant:
            self._fleet.take(grant.device)
            blob = self._writer.accepted(*place, grant, request.digest)
        else:
            reason = decision.reason.value if decision.reason else ""
            blob = self._writer.not_accepted(*place, request.digest, decision.verdict, reason)
        return [Publish(self._fleet.topics.enrol_down(request.token), blob), *self._notices(decision)]

    def _notices(self, decision: Decision) -> list[Action]:
        token, name = decision.request.token.hex(), decision.name
        if decision.grant:
            joined = DeviceJoined(name, decision.grant.device.id.hex(), token)
            return [Tell(joined)] if decision.is_first else []
        if decision.verdict is Admission.PENDING:
            return self._tell_rarely(decision.request.token, JoinPending(name, token))
        if decision.shared:
            return self._tell_rarely(decision.request.token, JoinAlarm(name, token, decision.shared))
        reason = decision.reason.value if decision.reason else ""
        return self._tell_rarely(decision.request.token, JoinRefused(token, name, reason))

    def _tell_rarely(self, token: bytes, notice: JoinNotice) -> list[Action]:
        key = token + type(notice).__name__.encode() if token in self._throttle.known else _NOBODY
        self._told[key] += 1
        return [Tell(notice)] if is_told(self._told[key]) else []


def _recipient(suite: SealSuite, public: bytes) -> Recipient:
    """A key that can be sealed to: X25519 keys of low order cannot (RFC 7748, section 6.1).

    Raises:
        Refused: MALFORMED.
    """
    try:
        recipient = Recipient(suite, public)
        recipient.seal(b"", b"")
    except ValueError:
        raise Refused(Reason.MALFORMED, "not a key of the federation's suite") from None
    return recipient
