"""What must hold when a run is over: the one-hot vectors of the devices show who is in which model.

Device k adds 1 to coordinate k with one sample, so a fused step holds 1/n for each of the n devices whose updates were
accepted, and 0 elsewhere; in an asynchronous job, 1/n times the weight that the staleness of each update gives it. With
SCAFFOLD its own variate grows by 1 with each update that is in a model, and the server's sum does. A device's personal
model is here the list of the manifests that it has answered.
"""

from collections import defaultdict
from typing import Any

import numpy as np
from sqlalchemy import select

from aggregator import history
from aggregator import tables as t
from edge_client.outbox import StateDirectory
from edge_client.rounds import current_control
from fedloom import msgpack
from fedloom.learning.model_file import load
from fedloom.wire.messages import Verdict
from sim.client import Client
from sim.oracle import Oracle, outbox_of
from sim.server import Server
from strategies.fedbuff import staleness_weight
from strategies.variates import Variates, sum_of

HASH_BYTES = 32


def check(oracle: Oracle, server: Server, clients: list[Client]) -> None:
    """Raises Violation."""
    with server.archive.store.engine.connect() as connection:
        rows = connection.execute(select(t.updates)).all()
    accepted = [row for row in rows if row.verdict == "accepted"]
    _check_rounds(oracle)
    _check_receipts(oracle, accepted, rows)
    _check_models(oracle, server, accepted)
    if oracle.variates:
        _check_variates(oracle, server, clients, accepted)
    _check_personal(oracle, clients)
    _check_standings(oracle, server, accepted)
    _check_keys(oracle, server)
    _check_bounds(oracle, server, clients)
    _check_devices(oracle, server, clients)


def _check_rounds(oracle: Oracle) -> None:
    newest = max(oracle.rounds)
    for version, seen in oracle.rounds.items():
        if seen.status == "open":
            oracle.violated("I5", f"the round of manifest {version} is open, of {newest}")


def _check_receipts(oracle: Oracle, accepted: list[Any], rows: list[Any]) -> None:
    stored = {row.digest for row in accepted}
    for digest, verdict in oracle.receipts.items():
        if (verdict is Verdict.ACCEPTED) != (digest in stored):
            oracle.violated("I2", f"an update was {verdict.value}, which the database does not say")
    for row in rows:
        sent = oracle.updates.get(row.digest)
        if sent is None or sent.device != row.device:
            oracle.violated("I1", "there is an answer that the device has not sent")
    if len({(row.manifest_version, row.device) for row in rows}) < len(rows):
        oracle.violated("I1", "a device has two answers to one manifest")


def _check_models(oracle: Oracle, server: Server, accepted: list[Any]) -> None:
    counted = defaultdict(list)
    for row in accepted:
        stale = oracle.rounds[row.counted_in].round - oracle.rounds[row.manifest_version].round
        counted[row.counted_in].append((row.device, staleness_weight(stale)))
    registry, version = server.archive.registry, None
    for number in sorted(oracle.rounds):
        seen = oracle.rounds[number]
        if seen.phase != "train" or seen.status != "done":
            continue
        assert seen.model_version is not None
        if version is not None and seen.model_version != version:
            oracle.violated("I3", f"round {seen.round} starts from model {seen.model_version}, not {version}")
        version = seen.model_version + 1
        step = registry.load(version).weights - registry.load(seen.model_version).weights
        expected = np.zeros(step.size)
        for device, weight in counted[number]:
            expected[int.from_bytes(device, "big") - 1] += weight
        if not np.allclose(step * len(counted[number]), expected, atol=1e-4):
            oracle.violated("I1", f"round {seen.round}: accepted {expected.nonzero()[0]}, fused {step.nonzero()[0]}")


def _check_variates(oracle: Oracle, server: Server, clients: list[Client], accepted: list[Any]) -> None:
    """What the devices hold is what the aggregator has counted, to the end and in each round."""
    fused = {number for number, seen in oracle.rounds.items() if (seen.phase, seen.status) == ("train", "done")}
    counted = [row for row in accepted if row.counted_in in fused]
    store = server.archive.store
    (job,) = {seen.job for seen in oracle.rounds.values()}
    blob = server.archive._states.load(history.newest_state(store, job))
    total = sum_of(msgpack.decode(blob, Variates)) if blob else np.zeros(1)
    last = history.counted(store, job)
    for client in clients:
        number, device = int.from_bytes(client.keys.id, "big") - 1, client.keys.id
        rounds = [row.counted_in for row in counted if row.device == device]
        if blob and abs(total[number] - len(rounds)) > 1e-3 * (1 + len(rounds)):
            oracle.violated("I1", f"the server's sum has {total[number]} of {client.name}, {len(rounds)} counted")
        if client.name in oracle.unreliable:
            continue
        for (name, version), used in oracle.variates.items():
            if name == client.name and abs(used - sum(each < version for each in rounds)) > 1e-3:
                oracle.violated("variate", f"{name} has used {used} in manifest {version}; counted were {rounds}")
        directory = StateDirectory(client.root / "state")
        state = directory.read().state
        assert state is not None
        held = current_control(state, job, last.get(device, b""))
        own = float(np.frombuffer(directory.controls.read(held), "<f4").sum()) if held else 0.0
        if abs(own - len(rounds)) > 1e-3:
            oracle.violated("variate", f"{client.name} holds {own}, {len(rounds)} of its updates are in models")


def _check_personal(oracle: Oracle, clients: list[Client]) -> None:
    """Each update that a device has sent is in its own model, and none twice."""
    for client in clients:
        if client.name in oracle.unreliable:
            continue
        current = StateDirectory(client.root / "state").personals.current
        content = current.read_bytes() if current.exists() else b""
        made = [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]
        sent = {manifest for device, manifest in oracle.answers if device == client.keys.id}
        if len(made) != len(set(made)) or not sent <= set(made):
            problem = f"{len(made)} answers made {client.name}'s own model, {len(set(made))} different ones"
            oracle.violated("personal", f"{problem}; {len(sent - set(made))} that it sent are not in it")


def _check_standings(oracle: Oracle, server: Server, accepted: list[Any]) -> None:
    """What is known of a device for choosing it: what it was asked last, and last answered; on disk as in memory."""
    rule = server.archive._job.cohort.name
    with server.archive.store.engine.connect() as connection:
        kept = {each.device: each for each in history._standings(connection)}
        invited = connection.execute(select(t.invitations).where(t.invitations.c.train)).all()
    assert server.parts is not None
    known = server.parts.core.coordinator._progress._memory._standings
    if known != kept:
        oracle.violated("standings", f"{kept} is kept, {known} is known")
    told: dict[bytes, list[int]] = defaultdict(lambda: [0, 0])
    for row in invited if rule != "uniform" else ():
        told[row.device][0] = max(told[row.device][0], oracle.rounds[row.manifest_version].round)
    for row in accepted if rule != "uniform" else ():
        seen = oracle.rounds[row.manifest_version]
        if seen.phase in ("statistics", "train"):  # round 0 is not counted as an answer
            told[row.device][1] = max(told[row.device][1], seen.round)
    if {device: [each.asked, each.answered] for device, each in kept.items()} != told:
        oracle.violated("standings", f"{kept} is kept, {dict(told)} was asked and answered")


def _check_keys(oracle: Oracle, server: Server) -> None:
    """Nothing on the disk opens an update of a round that is over."""
    files = {path.name: path.read_bytes() for path in server.root.glob("aggregator.db*")}
    for seen in oracle.rounds.values():
        key = oracle.round_keys.get(seen.hash)
        for name, content in files.items():
            if key and key in content:
                oracle.violated("forward secrecy", f"{name} holds the key of round {seen.round}.{seen.attempt}")


def _check_bounds(oracle: Oracle, server: Server, clients: list[Client]) -> None:
    """I7, of what a run leaves behind."""
    strays = [path.name for path in server.root.rglob(".*.new")]
    segments = list((server.root / "spool").rglob("*.spool"))
    if len(strays) > 2 or len(segments) > len(oracle.rounds):
        oracle.violated("I7", f"left behind: {strays}, {len(segments)} segments of {len(oracle.rounds)} rounds")
    for client in clients:
        files = sum(1 for path in (client.root / "state").rglob("*") if path.is_file())
        if files > 10:
            oracle.violated("I7", f"{client.name} holds {files} files")


def _check_devices(oracle: Oracle, server: Server, clients: list[Client]) -> None:
    final = server.archive.registry.load(max(oracle.models)).weights
    for client in clients:
        if client.name in oracle.unreliable:
            continue
        if not client.is_finished:
            oracle.violated("I5", f"{client.name} has not finished")
        if outbox_of(client.root):
            oracle.violated("I7", f"{client.name} still holds an update")
        if not np.array_equal(load(client.root / "state" / "model.fedloom").weights, final):
            oracle.violated("I4", f"{client.name} has another final model")
