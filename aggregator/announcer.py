"""Puts on the broker root documents, a round's model and manifest, all retained, and a task for each device. No I/O.

A model may be larger than all that the link takes at once: its chunks go a window at a time, the next as the broker has
those before. The manifest goes behind the last chunk, tasks behind the manifest.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import partial

from aggregator.events import Action, Now, Publish, WakeAt
from aggregator.fleet import Fleet
from aggregator.opening import Broadcast
from aggregator.own_manifest import own_manifest
from aggregator.records import Invitation, RoundRecord
from aggregator.writer import Writer

WINDOW = 32
"""Messages of an announcement that the link holds at once; fewer where its queue has no room for so many."""
AGAIN_S = 1.0
"""After so long what the link had no room for is tried again, where the broker has not taken any other sooner."""


class Announcer:
    """What the broker should have retained, and a way to say it again when it may have forgotten."""

    def __init__(
        self,
        fleet: Fleet,
        writer: Writer,
        manifests: tuple[bytes, ...],
        documents: tuple[bytes, ...],
        counted: Mapping[bytes, bytes],
    ) -> None:
        """`manifests`: the federation's newest ones, newest first; chunks of the first are current, of others stale.

        `documents`: the root documents from version 1 on; `counted`: see `Progress.counted`, as it becomes.
        """
        self.is_link_up = False
        self._documents = documents
        self._counted = counted
        self._fleet = fleet
        self._writer = writer
        self._opened: RoundRecord | None = None
        self._broadcast: Broadcast | None = None
        refs = [own_manifest(blob).model for blob in manifests]
        self._current = refs[0] if refs else None
        self._stale = refs[1] if len(refs) > 1 else None
        self._todo: deque[Callable[[], Publish]] = deque()
        """What is still to be said; a chunk is cut when its turn comes."""
        self._under_way: dict[str, Callable[[], Publish]] = {}
        """What was handed to the link, by topic; where all of it fits the window, nobody tells what becomes of it."""
        self._is_large = False
        self._window = WINDOW
        self._again_at_s: float | None = None
        self._unheard: set[bytes] = set()
        """Devices for which the link had no room: of a task, or of a word that comes again by itself."""

    @property
    def is_said(self) -> bool:
        """Whether all of the newest round's announcement was handed to the link."""
        return self.is_link_up and not self._todo

    def roots(self) -> list[Action]:
        """All of them, so that a device that knows any of them can follow to the newest, link by link."""
        topics = self._fleet.topics
        return [Publish(topics.root(number), each, retain=True) for number, each in enumerate(self._documents, 1)]

    def resume(self, opened: RoundRecord, model: Broadcast | None) -> None:
        """This round was announced, perhaps, by the process before."""
        self._opened, self._broadcast = opened, model

    def announce(self, opened: RoundRecord, model: Broadcast | None) -> list[Action]:
        """Replace the round before by a new one; tasks come separately."""
        self._opened, self._broadcast = opened, model
        self._stale, self._current = self._current, model.sealed.ref if model else None
        return self.repeat()

    def repeat(self) -> list[Action]:
        """Begin to say it (again), and to clear the chunks of the model before."""
        if self._opened is None:
            return []
        self._under_way.clear()
        self._unheard.clear()  # all get their tasks behind it
        self._window = WINDOW
        self._todo = deque(self._all_of(self._opened))
        self._is_large = len(self._todo) > WINDOW
        return self.go_on()

    def sent(self, topic: str) -> list[Action]:
        """The broker has a message that was published with `tell`: there is room for another."""
        self._under_way.pop(topic, None)
        self._window = min(WINDOW, self._window + 1)
        return self.go_on()

    def unsent(self, publishes: Iterable[Publish], now: Now) -> list[Action]:
        """The link had no room for these."""
        own = [each.topic for each in publishes if each.topic in self._under_way]
        self._todo.extendleft(self._under_way.pop(topic) for topic in reversed(own))
        self._window = max(1, len(self._under_way))
        down = [each.topic for each in publishes if each.topic.endswith("/down")]
        self._unheard.update(map(self._fleet.topics.device_of, down))
        if self._again_at_s is not None:
            return []
        self._again_at_s = now.monotonic_s + AGAIN_S
        return [WakeAt(self._again_at_s)]

    def is_due(self, now: Now) -> bool:
        """Whether it is time to try again what the link had no room for; said once."""
        if self._again_at_s is None or now.monotonic_s < self._again_at_s:
            return False
        self._again_at_s = None
        return True

    def unheard(self) -> Set[bytes]:
        """Devices that may have missed a task since this was last asked."""
        devices, self._unheard = self._unheard, set()
        return devices

    def go_on(self) -> list[Action]:
        """As much of what is still to be said as there is room for."""
        if not self.is_link_up:
            return []
        actions: list[Action] = []
        while self._todo and len(self._under_way) < self._window:
            make = self._todo.popleft()
            publish = make()
            self._under_way[publish.topic] = make
            actions.append(publish)
        return actions

    def _all_of(self, opened: RoundRecord) -> Iterator[Callable[[], Publish]]:
        if self._broadcast:
            for number in range(len(self._broadcast.sealed.ref.chunk_hashes)):
                yield partial(self._chunk, self._broadcast, number)
        yield partial(self._retained, self._fleet.topics.manifest, opened.manifest)
        if self._stale and (self._current is None or self._stale.cipher_hash != self._current.cipher_hash):
            for number in range(len(self._stale.chunk_hashes)):
                yield partial(self._retained, self._fleet.topics.chunk(self._stale.cipher_hash, number), b"")

    def _chunk(self, broadcast: Broadcast, number: int) -> Publish:
        topic = self._fleet.topics.chunk(broadcast.sealed.ref.cipher_hash, number)
        return self._retained(topic, broadcast.sealed.chunk(number))

    def _retained(self, topic: str, payload: bytes) -> Publish:
        return Publish(topic, payload, retain=True, tell=self._is_large)

    def task(self, invitation: Invitation) -> list[Action]:
        """Invite one device to the round."""
        device = self._fleet.get(invitation.device)
        if not self.is_said or self._opened is None or device is None or device.revoked:
            return []
        counted = self._counted.get(device.id, b"")
        task = self._writer.task(device, self._opened, invitation, counted)
        return [Publish(self._fleet.topics.down(device.id), task)]
