"""Watches for another aggregator with our identity: a copy of the state directory on another host, or an old backup.

Devices believe whoever holds the key, and the manifest with the highest version. So before we say anything on a new
connection, and as long as it stands, we look at what the broker has: a manifest that one of the federation's
aggregators signed, that is not ours and not older than ours; the root document that would follow ours; somebody who
connects with our client id again and again. Where the state was restored from a backup, what another life of it has
published since then is lost and may be retained still: that is no rival, but a newer one that comes while we are there
is. Until then `LinkGate` keeps all else waiting. Events in, no I/O. A broker
that withholds all this delays the discovery; devices still refuse the one of two manifests that does not follow what
they have accepted.
"""

from collections import deque
from collections.abc import Callable

from aggregator.backup.leap import Leap
from fedloom import msgpack
from fedloom.errors import Reason, Refused, StoreError
from fedloom.link.base import Connected, Denied, Disconnected, Event, Received, Subscribed
from fedloom.trust.documents import Root, open_next_root
from fedloom.trust.signing import VerifyingKey
from fedloom.wire.envelope import MAX_OVERHEAD_BYTES, Envelope, Type, parse
from fedloom.wire.messages import MAX_MANIFEST_BYTES, Manifest
from fedloom.wire.topics import Topics

QUIET_S = 0.25
"""After the broker has confirmed our subscription: what it retains comes right behind, if it retains anything."""
MAX_WAIT_S = 2.0
"""The longest that a connection is watched in silence."""
MAX_TAKEOVERS = 3
TAKEOVER_WINDOW_S = 60.0

_REMEDY = "stop the other one, or restore the newest copy of the state directory"


class RivalError(StoreError):
    """It is certain that there is another aggregator, or a newer state: only a person can say which one goes on."""

    exit_status = 2


class RivalWatch:
    """What a run knows of others with its identity. Every method may raise StoreError: this run must end."""

    def __init__(self, root: Root, newest: Callable[[], tuple[int, bytes]], leap: Leap | None = None) -> None:
        """`newest`: version and hash of the newest manifest that this state knows; `leap`: versions it has lost."""
        topics = Topics(root.federation)
        self.next_root_topic, self.manifest_topic = topics.root(root.version + 1), topics.manifest
        self.topics = (self.next_root_topic, self.manifest_topic)
        """To be subscribed to before all others, in this order: the broker answers for the last one last."""
        self._root = root
        self._aggregators = {each.id: VerifyingKey(each.signing) for each in root.aggregators}
        self._newest = newest
        self._leap = leap
        self._newest_lost = 0
        """The highest lost version that was there before we were."""
        self._until_s: float | None = None
        self._limit_s = 0.0
        self._is_answered = False
        self._takeovers: deque[float] = deque(maxlen=MAX_TAKEOVERS)

    @property
    def wake_at_s(self) -> float | None:
        """When to ask `is_clear` again; None where nothing is waited for."""
        return self._until_s

    def is_clear(self, now_s: float) -> bool:
        """Whether the connection was watched long enough for us to speak on it; said once a connection."""
        if self._until_s is None or now_s < self._until_s:
            return False
        self._until_s = None
        return True

    def handle(self, event: Event, now_s: float) -> None:
        """Take an event of the link.

        Raises:
            RivalError: a newer state than ours is in use.
            StoreError: somebody keeps taking our client id.
            Refused: a manifest or root document that is not believed, which changes nothing.
        """
        match event:
            case Connected():
                self._limit_s = self._until_s = now_s + MAX_WAIT_S
                self._is_answered = False
            case Disconnected(taken_over=is_taken_over):
                self._until_s = None
                if is_taken_over:
                    self._count_takeover(now_s)
            case Subscribed(topic) | Denied(topic, _):
                self._is_answered = self._is_answered or topic == self.manifest_topic
                self._wait_on(now_s)
            case Received():
                self._wait_on(now_s)
                if event.payload and event.topic == self.next_root_topic:
                    self._root_came(event.payload)
                elif event.payload and event.topic == self.manifest_topic:
                    self._manifest_came(event, now_s)

    def _wait_on(self, now_s: float) -> None:
        """As long as something comes, what is retained may still be behind it."""
        if self._until_s is not None and self._is_answered:
            self._until_s = min(self._limit_s, now_s + QUIET_S)

    def _root_came(self, payload: bytes) -> None:
        """Raise RivalError if this follows our root document, Refused if not."""
        root = open_next_root(payload, self._root)
        ours = self._root.version
        raise RivalError(
            f"root version {root.version} is published, this state directory has {ours}: another aggregator uses this "
            f"identity, or the directory is an old copy; {_REMEDY}, or install that root: fedloom root install FILE"
        )

    def _manifest_came(self, received: Received, now_s: float) -> None:
        version, own = self._newest()
        envelope = parse(received.payload, MAX_MANIFEST_BYTES + MAX_OVERHEAD_BYTES)
        is_ours = envelope.digest == own
        if self._until_s is not None and (is_ours or received.retained):
            self._until_s = now_s  # the one that we were waiting for
        if is_ours:
            return
        other = self._believed(envelope)
        if other.version >= version:
            raise RivalError(
                "another aggregator uses this identity, or this state directory is an old copy: devices have accepted "
                f"manifest version {other.version}, this state knows {version}; {_REMEDY}"
            )
        if self._leap and self._leap.start < other.version <= self._leap.end:
            self._lost_came(other.version, is_kept=received.retained)

    def _lost_came(self, version: int, *, is_kept: bool) -> None:
        """Raise RivalError if somebody goes on from what we have lost."""
        if is_kept or self._until_s is not None:  # now comes what the broker has queued for us
            self._newest_lost = max(self._newest_lost, version)
        elif version > self._newest_lost:
            raise RivalError(
                f"this state was restored from a backup, and another aggregator has just published manifest version "
                f"{version} with the identity that it had before; stop that one, and start this one again"
            )

    def _believed(self, envelope: Envelope) -> Manifest:
        header = envelope.header
        key = self._aggregators.get(header.sender)
        if header.type is not Type.MANIFEST or header.federation != self._root.federation or key is None:
            raise Refused(Reason.UNKNOWN_SENDER, "no manifest of this federation's aggregators")
        envelope.verify(key)
        return msgpack.decode(envelope.clear(), Manifest)

    def _count_takeover(self, now_s: float) -> None:
        self._takeovers.append(now_s)
        if len(self._takeovers) == MAX_TAKEOVERS and now_s - self._takeovers[0] <= TAKEOVER_WINDOW_S:
            raise StoreError(
                f"another client has taken our place at the broker {MAX_TAKEOVERS} times within a minute: another "
                f"aggregator uses this identity; {_REMEDY}"
            )
