"""Puts on the broker root documents, a round's model and manifest, all retained, and a task for each device. No I/O."""

from aggregator.events import Action, Publish
from aggregator.fleet import Fleet
from aggregator.opening import Broadcast
from aggregator.own_manifest import own_manifest
from aggregator.records import Invitation, RoundRecord
from aggregator.writer import Writer


class Announcer:
    """What the broker should have retained, and a way to say it again when it may have forgotten."""

    def __init__(
        self, fleet: Fleet, writer: Writer, manifests: tuple[bytes, ...], documents: tuple[bytes, ...]
    ) -> None:
        """`manifests`: the federation's newest ones, newest first; chunks of the first are current, of others stale.

        `documents`: the root documents from version 1 on.
        """
        self.is_link_up = False
        self._documents = documents
        self._fleet = fleet
        self._writer = writer
        self._opened: RoundRecord | None = None
        self._broadcast: Broadcast | None = None
        refs = [own_manifest(blob).model for blob in manifests]
        self._current = refs[0] if refs else None
        self._stale = refs[1] if len(refs) > 1 else None

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
        """Say it (again), and clear the chunks of the model before."""
        if not self.is_link_up or self._opened is None:
            return []
        topics, actions = self._fleet.topics, list[Action]()
        if self._broadcast:
            sealed = self._broadcast.sealed
            for number in range(len(sealed.ref.chunk_hashes)):
                topic = topics.chunk(sealed.ref.cipher_hash, number)
                actions.append(Publish(topic, sealed.chunk(number), retain=True))
        actions.append(Publish(topics.manifest, self._opened.manifest, retain=True))
        if self._stale and (self._current is None or self._stale.cipher_hash != self._current.cipher_hash):
            for number in range(len(self._stale.chunk_hashes)):
                actions.append(Publish(topics.chunk(self._stale.cipher_hash, number), b"", retain=True))
        return actions

    def task(self, invitation: Invitation) -> list[Action]:
        """Invite one device to the round."""
        device = self._fleet.get(invitation.device)
        if not self.is_link_up or self._opened is None or device is None or device.revoked:
            return []
        return [Publish(self._fleet.topics.down(device.id), self._writer.task(device, self._opened, invitation))]
