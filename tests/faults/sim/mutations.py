"""Guarantees, each broken on purpose: the simulation must notice every one of them."""

import os
from collections.abc import Callable
from typing import Any

import edge_client.outbox
import fedloom.files
from aggregator import archive, fusion, history, spool, store
from aggregator.coordinator import Coordinator
from aggregator.intake import Intake
from aggregator.spool import SpooledUpdates
from edge_client import believe, rounds
from edge_client.delivery import Delivery
from edge_client.outbox import StateDirectory
from edge_client.personal_files import PersonalFiles
from edge_client.sequence import Sequence
from edge_client.session import Session
from edge_client.turn import Turn

Patch = Callable[[Any, str, Any], None]
"""pytest's `monkeypatch.setattr`."""


def receipt_before_store(patch: Patch) -> None:
    """The aggregator answers when it has seen an update, not when it has stored it."""
    admit = Intake._admit

    def hasty(self: Intake, candidate: Any, received: Any, *rest: Any) -> list[Any]:
        actions = admit(self, candidate, received, *rest)
        hastily = [
            action for order in actions if hasattr(order, "answer") for action in self.stored((order.answer,), *rest)
        ]
        return [*hastily, *actions]

    patch(Intake, "_admit", hasty)


def spool_not_synced(patch: Patch) -> None:
    """Updates are appended, and left to the operating system."""

    def append(segment: Any, parts: list[bytes], flags: int) -> None:
        descriptor = os.open(segment, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)
        os.write(descriptor, b"".join(parts))
        os.close(descriptor)

    patch(spool, "_append_durably", append)


def spool_name_not_synced(patch: Patch) -> None:
    """A segment's content is fsynced, its name is not."""
    patch(spool.Spool, "_sync_name", lambda self, segment: None)


def standings_forgotten(patch: Patch) -> None:
    """A process that is started again knows nothing of what devices have told."""
    patch(history, "_standings", lambda connection: ())


def outbox_not_synced(patch: Patch) -> None:
    """An update is written to the outbox and published, and not fsynced."""

    def write(path: Any, data: bytes) -> None:
        path.write_bytes(data)

    patch(edge_client.outbox, "write_durably", write)


def outbox_found_not_synced(patch: Patch) -> None:
    """What a killed process has left in the outbox is taken for durable."""
    patch(StateDirectory, "_sync_names", lambda self: None)


def rename_not_synced(patch: Patch) -> None:
    """A file is replaced, and its directory not fsynced."""
    patch(fedloom.files, "sync_directory", lambda path: None)


def counted_twice(patch: Patch) -> None:
    """The first update of a round goes into the sum twice."""
    blocks = SpooledUpdates.blocks

    def twice(self: SpooledUpdates, rows: int) -> Any:
        for number, block in enumerate(blocks(self, rows)):
            yield from (block, block._replace(updates=block.updates[:1], deltas=block.deltas[:1]))[: 1 + (not number)]

    patch(SpooledUpdates, "blocks", twice)


def not_counted(patch: Patch) -> None:
    """The last update of a round is left out."""
    fuse = fusion.fuse

    def forgetful(order: Any, job: Any, strategy: Any, segment: Any, entries: Any, *rest: Any) -> Any:
        return fuse(order, job, strategy, segment, entries[:-1] or entries, *rest)

    patch(archive, "fuse", forgetful)


def key_not_erased(patch: Patch) -> None:
    """The private key of a closed round stays in the database."""
    erase = store._erase_keys
    patch(store, "_erase_keys", erase.values(round_key=store.t.rounds.c.round_key))


def log_not_emptied(patch: Patch) -> None:
    """The key is erased in the table, and stays in the write-ahead log."""
    patch(store.Store, "forget", lambda self: True)


def published_before_committed(patch: Patch) -> None:
    """A round is announced before the turn that opens it is durable."""
    commit = Coordinator._commit

    def hasty(self: Coordinator, turn: Any, *rest: Any) -> list[Any]:
        actions = commit(self, turn, *rest)
        announced = self._announcer.announce(turn.opened, self._progress.broadcast) if turn.opened else []
        return [*announced, *actions]

    patch(Coordinator, "_commit", hasty)


def sequence_not_reserved(patch: Patch) -> None:
    """Numbers are used that nobody has put on the disk."""
    take = Sequence.take

    def from_nowhere(self: Sequence, count: int = 1) -> int:
        self._end = max(self._end, self._next + count)
        return take(self, count)

    patch(Sequence, "take", from_nowhere)
    patch(Sequence, "reserve", lambda self: None)


def old_manifest_believed(patch: Patch) -> None:
    """A device follows whatever manifest it sees."""
    patch(believe, "_check_order", lambda manifest, state: None)


def manifest_not_persisted(patch: Patch) -> None:
    """A device forgets, when it is restarted, which manifest it has followed."""
    persist = Turn.persist

    def forgetful(self: Turn, **changes: Any) -> None:
        persist(self, **{name: value for name, value in changes.items() if name != "manifest_version"})

    patch(Turn, "persist", forgetful)


def outbox_ignored(patch: Patch) -> None:
    """A device that is restarted trains again, instead of sending what it has."""
    start = Session._start

    def afresh(self: Session, *ages: Any) -> None:
        self._entries = ()
        start(self, *ages)

    patch(Session, "_start", afresh)


def fsync_tried_again(patch: Patch) -> None:
    """After an error from fsync the spool tries once more, and believes the answer."""

    def append(segment: Any, parts: list[bytes], flags: int) -> None:
        descriptor = os.open(segment, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)
        os.write(descriptor, b"".join(parts))
        try:
            os.fsync(descriptor)
        except OSError:
            os.fsync(descriptor)
        os.close(descriptor)

    patch(spool, "_append_durably", append)


def second_answer_wins(patch: Patch) -> None:
    """Another update of the same device replaces the one that was accepted."""

    def add(self: store.Store, manifest_version: int, answers: Any, entries: Any) -> None:
        with self.exclusively() as connection:
            for answer in answers:
                columns = store.t.updates.c
                ours = (columns.manifest_version == manifest_version) & (columns.device == answer.device)
                connection.execute(store.t.updates.delete().where(ours))
        original(self, manifest_version, answers, entries)

    original = store.Store.add_answers
    patch(store.Store, "add_answers", add)
    patch(Intake, "_refuse_second", lambda self, device: None)


def variate_taken_as_sent(patch: Patch) -> None:
    """A device believes that every update is in a model, once it is sent."""
    current = rounds.current_control

    def hopeful(state: Any, job: bytes, counted: bytes) -> bytes:
        return state.offered or current(state, job, counted)

    patch(rounds, "current_control", hopeful)


def personal_model_before_its_update(patch: Patch) -> None:
    """A device's own model is current as soon as it is written."""
    write = PersonalFiles.write

    def hasty(self: PersonalFiles, update: bytes, model: bytes) -> None:
        write(self, update, model)
        self.adopt(update)

    patch(PersonalFiles, "write", hasty)


def personal_model_left_behind(patch: Patch) -> None:
    """A device that starts again forgets what an update on its disk has brought."""
    tidy = PersonalFiles.tidy
    patch(PersonalFiles, "tidy", lambda self, waiting: tidy(self, ()))


def variate_before_the_receipt_lost(patch: Patch) -> None:
    """The variate of an update that is given up is given up with it."""
    leaves = Delivery.leaves

    def forgetful(self: Delivery, is_accepted: bool = False) -> dict[str, bytes]:
        changes = leaves(self, is_accepted)
        return changes if is_accepted else {name: value for name, value in changes.items() if name != "offered"}

    patch(Delivery, "leaves", forgetful)


MUTATIONS = (
    receipt_before_store,
    standings_forgotten,
    spool_not_synced,
    spool_name_not_synced,
    outbox_not_synced,
    outbox_found_not_synced,
    rename_not_synced,
    counted_twice,
    not_counted,
    key_not_erased,
    log_not_emptied,
    published_before_committed,
    sequence_not_reserved,
    old_manifest_believed,
    manifest_not_persisted,
    outbox_ignored,
    fsync_tried_again,
    second_answer_wins,
    variate_taken_as_sent,
    variate_before_the_receipt_lost,
    personal_model_before_its_update,
    personal_model_left_behind,
)
