"""Watches a run from outside: what is promised must be durable, and what was promised once holds for ever."""

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import select

from aggregator import tables as t
from edge_client import events
from edge_client.state import OUTBOX_MAGIC, OutboxEntry, from_bytes
from fedloom import msgpack
from fedloom.errors import FedloomError
from fedloom.wire import chunks, envelope
from fedloom.wire.envelope import Type
from fedloom.wire.messages import Phase, Receipt, Verdict
from fedloom.wire.model_blob import plain_model
from sim.disk import Disk
from sim.party import Stage, unfailing

if TYPE_CHECKING:
    from aggregator import events as ev
    from sim.client import Client
    from sim.server import Server

MAX_BYTES = 2**24


class Violation(AssertionError):
    """An invariant does not hold."""


class RoundSeen(NamedTuple):
    """A round as the database has it."""

    hash: bytes
    job: bytes
    round: int
    attempt: int
    phase: str
    status: str
    model_version: int | None


class UpdateSeen(NamedTuple):
    """An update that a device has published."""

    device: bytes
    manifest: bytes


class Oracle:
    """Knows what was published, promised and stored so far."""

    def __init__(self, stage: Stage, disk: Disk) -> None:
        self._stage = stage
        self._disk = disk
        self.rounds: dict[int, RoundSeen] = {}
        """Committed, by the version of their manifest."""
        self.models: dict[int, bytes] = {}
        """Hashes of committed models, by version."""
        self.round_keys: dict[bytes, bytes] = {}
        """Private key of each round, by the hash of its manifest."""
        self.receipts: dict[bytes, Verdict] = {}
        """What was said of each update."""
        self.updates: dict[bytes, UpdateSeen] = {}
        """What devices have published, by its digest."""
        self.clients: dict[bytes, Client] = {}
        self.unreliable: set[str] = set()
        """Devices whose memory cannot be trusted: restored from an old copy, or running twice."""
        self._manifest: dict[str, int] = {}
        """Version of the newest manifest that a device has accepted, by its name."""
        self._applied: dict[str, int] = {}
        """Version of the newest manifest for which a device has worked."""
        self.answers: dict[tuple[bytes, bytes], bytes] = {}
        """A device's update for a manifest."""
        self.variates: dict[tuple[str, int], float] = {}
        """How far a device's own variate had come in the round of a manifest, by its name."""
        self._numbers: dict[tuple[bytes, int, int], bytes] = {}

    def violated(self, invariant: str, what: str) -> None:
        raise Violation(f"{invariant}: {what}")

    # The aggregator

    def looked_at(self, server: "Server") -> None:
        """Compare its database with what was there before."""
        with unfailing(self._stage), server.archive.store.engine.connect() as connection:
            rounds = connection.execute(select(t.rounds)).all()
            models = connection.execute(select(t.models)).all()
        now = {
            row.manifest_version: RoundSeen(
                row.manifest_hash, row.job, row.round, row.attempt, row.phase, row.status, row.model_version
            )
            for row in rounds
        }
        for version, before in self.rounds.items():
            if version not in now:
                self.violated("I3", f"the round of manifest {version} has disappeared")
            if now[version] != before and not (
                before.status == "open" and now[version] == before._replace(status=now[version].status)
            ):
                self.violated("I3", f"the round of manifest {version} was {before}, is {now[version]}")
        self.rounds = now
        found = {row.version: row.hash for row in models}
        for version, digest in self.models.items():
            if found.get(version) != digest:
                self.violated("I3", f"model {version} has changed")
        for version in found.keys() - self.models.keys():
            self._check_file(server, version, found[version])
        self.models = found

    def _check_file(self, server: "Server", version: int, digest: bytes) -> None:
        registry = server.archive.registry
        if not self._disk.is_durable(registry.path(version)):
            self.violated("I3", f"model {version} is committed, but its file is not durable")
        model = registry.load(version)
        if sha256(plain_model(model.weights, model.standardiser)).digest() != digest:
            self.violated("I3", f"the file of model {version} has another hash than the database")
        if not np.isfinite(model.weights).all():
            self.violated("I9", f"model {version} is not finite")

    def turning(self, order: "ev.Turn") -> None:
        if order.opened is not None:
            self.round_keys[order.opened.manifest_hash] = order.opened.round_key

    def aggregator_publishes(self, server: "Server", topic: str, payload: bytes) -> None:
        """Whatever it says must be durable by then."""
        if topic.endswith("/all/manifest"):
            digest = envelope.parse(payload, MAX_BYTES).digest
            if all(seen.hash != digest for seen in self.rounds.values()):
                self.violated("I3", "a manifest is published whose round is not durable")
        elif topic.endswith("/down"):
            message = envelope.parse(payload, MAX_BYTES)
            client = self.clients[message.header.recipient]
            if message.header.type is Type.RECEIPT:
                self._receipt(server, client, msgpack.decode(message.open(client.keys.seal), Receipt))

    def _receipt(self, server: "Server", client: "Client", receipt: Receipt) -> None:
        self._stage.story.tell(server.name, "says %s to %s %s", receipt.verdict.value, client.name, receipt.reason)
        if self._is_forgotten(receipt):
            return
        before = self.receipts.setdefault(receipt.digest, receipt.verdict)
        if before is not receipt.verdict:
            self.violated("I2", f"{client.name} is told {receipt.verdict.value} of an update that was {before.value}")
        if receipt.verdict in (Verdict.ACCEPTED, Verdict.DECLINED):
            self._check_stored(server, client, receipt)

    def _is_forgotten(self, receipt: Receipt) -> bool:
        """What is not in a model may be called late as well. Else the answers to two rounds are known by heart."""
        if self.receipts.get(receipt.digest) is Verdict.REJECTED:
            return receipt.verdict is Verdict.LATE
        newest = sorted(self.rounds)[-2:]
        manifest = self.updates[receipt.digest].manifest
        return receipt.verdict is Verdict.LATE and all(self.rounds[each].hash != manifest for each in newest)

    def _check_stored(self, server: "Server", client: "Client", receipt: Receipt) -> None:
        with unfailing(self._stage), server.archive.store.engine.connect() as connection:
            row = connection.execute(select(t.updates).where(t.updates.c.digest == receipt.digest)).one_or_none()
        if row is None or row.verdict != receipt.verdict.value:
            self.violated("I2", f"{client.name} has a receipt for what is not in the database")
        elif receipt.verdict is Verdict.ACCEPTED:
            seen = self.rounds[row.counted_in]
            segment = server.archive._spool.segment(seen.job, seen.round, seen.attempt)
            if not self._disk.is_durable(segment, row.spool_offset, row.spool_offset + row.spool_length):
                self.violated("I2", f"{client.name} has a receipt for what is not durable in the spool")

    # The devices

    def device_stopped(self, client: "Client", error: FedloomError) -> None:
        """Whether it is for a good reason."""
        if "cannot be written" not in str(error) and "cannot be used" not in str(error):
            self.violated("I5", f"{client.name} cannot start: {error}")

    def trains(self, client: "Client", work: events.Work) -> None:
        self._believes(client, work)
        self._stage.story.tell(
            client.name, "works: %s %d.%d", work.manifest.phase.value, work.manifest.round, work.manifest.attempt
        )

    def variate_used(self, client: "Client", work: events.Work, own: bytes) -> None:
        if work.brief.plan.correction != "none" and work.task.train:
            self.variates[client.name, work.manifest.version] = float(np.frombuffer(own, "<f4").sum())

    def device_did(self, client: "Client", action: events.Action) -> None:
        """What is durable now."""
        if isinstance(action, events.PersistState):
            self._manifest[client.name] = action.state.manifest_version

    def device_acts(self, client: "Client", action: events.Action) -> None:
        """What it is about to do."""
        match action:
            case events.PersistState(state):
                newest = self._manifest.get(client.name, 0)
                if state.manifest_version < newest and client.name not in self.unreliable:
                    self.violated("I4", f"{client.name} goes back from manifest {newest} to {state.manifest_version}")
                self._check_manifest(client, state.manifest_version, state.manifest_hash)
            case events.SaveModel(work):
                self._believes(client, work)
            case events.PublishFrame(digest=digest):
                self._is_in_outbox(client, digest.hex())
            case events.Publish(topic, payload):
                self._device_publishes(client, topic, payload)

    def _is_in_outbox(self, client: "Client", start: str) -> None:
        """An update whose digest begins so is on its way."""
        outbox = client.root / "state" / "outbox"
        entry = next((each for each in outbox.iterdir() if each.name.startswith(start)), None)
        if entry is None or not self._disk.is_durable(entry):
            self.violated("outbox", f"{client.name} publishes an update that is not durable")
        else:
            self._update_seen(client, entry)

    def _update_seen(self, client: "Client", entry: Path) -> None:
        stored = from_bytes(OUTBOX_MAGIC, entry.read_bytes(), OutboxEntry, entry, "")
        self.updates[stored.digest] = UpdateSeen(client.keys.id, stored.manifest)
        first = self.answers.setdefault((client.keys.id, stored.manifest), stored.digest)
        if first != stored.digest and client.name not in self.unreliable:
            self.violated("outbox", f"{client.name} publishes two updates for one manifest")

    def number_used(self, client: "Client", payload: bytes) -> None:
        """A sequence number stands for one content."""
        message = envelope.parse(payload, MAX_BYTES)
        header = message.header
        content = message.digest if header.type is Type.UPDATE else message.clear()
        key = (header.sender, header.incarnation, header.sequence)
        if self._numbers.setdefault(key, content) != content and client.name not in self.unreliable:
            self.violated("sequence", f"{client.name} uses the number {header.sequence} for two messages")

    def _device_publishes(self, client: "Client", topic: str, payload: bytes) -> None:
        if topic.endswith("/state"):
            return self.number_used(client, payload)
        if chunks.is_frame(payload) or chunks.is_question(payload):
            start = payload[4:20].hex()
        else:
            self.number_used(client, payload)
            start = envelope.parse(payload, MAX_BYTES).digest.hex()
        return self._is_in_outbox(client, start)

    def _believes(self, client: "Client", work: events.Work) -> None:
        manifest = work.manifest
        self._check_manifest(client, manifest.version, work.manifest_hash)
        if manifest.version < self._applied.get(client.name, 0) and client.name not in self.unreliable:
            self.violated("I4", f"{client.name} goes back to manifest {manifest.version}")
        self._applied[client.name] = manifest.version
        if work.model and manifest.model and self.models.get(manifest.model.version) != work.model.plain_hash:
            self.violated("I4", f"{client.name} applies a model that is not version {manifest.model.version}")
        if manifest.phase is Phase.TRAIN and work.model is None:
            self.violated("I4", f"{client.name} trains without a model")

    def _check_manifest(self, client: "Client", version: int, digest: bytes) -> None:
        if version and (version not in self.rounds or self.rounds[version].hash != digest):
            self.violated("I4", f"{client.name} accepts a manifest {version} that is none")


def outbox_of(root: Path) -> list[Path]:
    """The updates that a device holds."""
    return [each for each in (root / "state" / "outbox").iterdir() if not each.name.startswith(".")]
