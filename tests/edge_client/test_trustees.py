"""Root documents and renewals on a running device: what is accepted, what never is, and what a crash leaves."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from session_parts import ANSWER, only

from edge_client.events import (
    Action,
    Came,
    Connected,
    PersistState,
    Publish,
    Started,
    StoreOutbox,
    Subscribe,
    Train,
    Trained,
    WriteDocument,
)
from edge_client.rounds import Bounds
from edge_client.session import Session
from edge_client.state import DeviceState
from fedloom import msgpack
from fedloom.errors import Reason
from fedloom.trust.certificates import new_authority, new_key
from fedloom.trust.device_keys import load_device_keys
from fedloom.trust.documents import AggregatorKey, sign_root
from fedloom.trust.signing import SigningKey
from fedloom.wire.envelope import parse
from fedloom.wire.messages import Admission, Phase, Presence

MAX = 2**20


def give_root(bench: Any, version: int, document: bytes) -> list[Action]:
    return list(bench.do(Came(bench.aggregator.topics.root(version), document)))


def presences(actions: list[Action]) -> list[tuple[str, int, int]]:
    """State, end of the credential and sequence of each presence said."""
    envelopes = [parse(each.payload, MAX) for each in only(actions, Publish) if each.topic.endswith("/state")]
    bodies = [(msgpack.decode(each.clear(), Presence), each.header.sequence) for each in envelopes]
    return [(body.state, body.not_after, sequence) for body, sequence in bodies]


class Disk:
    """Keys and state on disk; `kill_after` actions from now the process dies, and a new one starts."""

    def __init__(self, aggregator: Any, directory: Path) -> None:
        self.aggregator, self.keys = aggregator, directory
        self.state: DeviceState | None = None
        self.kill_after: int | None = None
        self.start()

    def start(self) -> None:
        keys = load_device_keys(self.keys)
        self.state = self.state or DeviceState(keys.id, 1)
        self.session = Session(keys, self.state, (), Bounds(MAX, MAX), os.urandom, lambda: 0.5)
        self.tell(Started(), Connected(MAX))

    def tell(self, *events: Any) -> None:
        for event in events:
            for action in self.session.handle(event, 0.0):
                if self.kill_after == 0:
                    self.kill_after = None
                    self.start()
                    return
                if self.kill_after is not None:
                    self.kill_after -= 1
                match action:
                    case PersistState(state):
                        self.state = state
                    case WriteDocument(name, data):
                        (self.keys / name).write_bytes(data)

    def down(self, blob: bytes) -> None:
        self.tell(Came(self.aggregator.topics.down(self.aggregator.device), blob))

    def roots(self) -> None:
        """As a broker hands them over after each subscription."""
        for _ in self.aggregator.roots:
            for root, document in self.aggregator.roots:
                self.tell(Came(self.aggregator.topics.root(root.version), document))


@pytest.fixture
def disk(aggregator: Any, tmp_path: Path) -> Disk:
    aggregator.write_keys(tmp_path / "device")
    return Disk(aggregator, tmp_path / "device")


def test_a_renewal_is_written_credential_last_then_said(aggregator: Any, bench: Any) -> None:
    (before,) = presences(bench.do(Connected(MAX)))
    actions = bench.down(aggregator.renewal(2**40 + 7))
    assert [each.name for each in only(actions, WriteDocument)] == ["tls.crt", "credential"]
    ((state, not_after, sequence),) = presences(actions)
    assert (state, not_after) == ("ready", 2**40 + 7)
    assert sequence > before[2]
    kinds = [type(action).__name__ for action in actions]
    assert kinds.index("Publish") > kinds.index("WriteDocument")
    will = parse(bench.session.will().payload, MAX)
    assert msgpack.decode(will.clear(), Presence).not_after == 2**40 + 7


def test_each_new_ready_is_outranked_by_the_will_of_its_connection(aggregator: Any, bench: Any) -> None:
    will = parse(bench.session.will().payload, MAX).header.sequence
    said = presences(bench.do(Connected(MAX)))
    for number in range(1, 20):
        said += presences(bench.down(aggregator.renewal(2**40 + number)))
    sequences = [sequence for _, _, sequence in said]
    assert len(sequences) == 20
    assert sequences == sorted(sequences)
    assert len(set(sequences)) == 4
    assert sequences[-1] < will


def test_a_repeated_renewal_changes_nothing_and_an_older_one_is_refused(aggregator: Any, bench: Any) -> None:
    newest = aggregator.renewal(2**40 + 7)
    bench.down(newest)
    assert bench.down(newest) == []
    assert bench.session.refusals == {}
    assert only(bench.down(aggregator.renewal(2**40 + 6)), WriteDocument) == []
    assert bench.session.refusals == {Reason.OLD: 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answers": b"x" * 32}, Reason.OLD),
        ({"verdict": Admission.REFUSED}, Reason.MALFORMED),
        ({"verdict": Admission.PENDING}, Reason.MALFORMED),
        ({"broker": None}, Reason.MALFORMED),
        ({"credential": b""}, Reason.MALFORMED),
        ({"certificate": b""}, Reason.BAD_CREDENTIAL),
        ({"device": b"X" * 16}, Reason.BAD_CREDENTIAL),
        ({"name": "a\nb"}, Reason.BAD_CREDENTIAL),
        ({"federation": b"X" * 16}, Reason.WRONG_FEDERATION),
        ({"sender": b"A" * 16}, Reason.UNKNOWN_SENDER),
        ({"recipient": b"X" * 16}, Reason.WRONG_RECIPIENT),
        ({"signing": SigningKey(b"1" * 32).public}, Reason.BAD_CREDENTIAL),
        ({"seal": b"s" * 32}, Reason.BAD_CREDENTIAL),
        ({"signer": SigningKey(b"1" * 32)}, Reason.UNKNOWN_KEY),
    ],
)
def test_a_renewal_that_is_not_right_is_refused(
    aggregator: Any, bench: Any, changes: dict[str, Any], reason: Reason
) -> None:
    actions = bench.down(aggregator.renewal(**changes))
    assert only(actions, WriteDocument) == presences(actions) == []
    assert bench.session.refusals == {reason: 1}


@pytest.mark.parametrize("wrong", ["key", "name", "authority"])
def test_a_renewal_with_a_certificate_that_does_not_fit_is_refused(aggregator: Any, bench: Any, wrong: str) -> None:
    if wrong == "authority":
        aggregator.ca_key = new_key()
        aggregator.ca = new_authority(aggregator.ca_key, "other", 1.9e9)
    certificate = {
        "key": lambda: aggregator.certificate(tls_key=new_key()),
        "name": lambda: aggregator.certificate(name=b"X" * 16),
        "authority": aggregator.certificate,
    }[wrong]()
    assert only(bench.down(aggregator.renewal(certificate=certificate)), WriteDocument) == []
    assert bench.session.refusals == {Reason.BAD_CREDENTIAL: 1}


def test_the_aggregator_cannot_renew(aggregator: Any, bench: Any) -> None:
    blob = aggregator.renewal(signer=aggregator.signing, sender=aggregator.id)
    assert only(bench.down(blob), WriteDocument) == []
    assert bench.session.refusals == {Reason.UNKNOWN_SENDER: 1}


@pytest.mark.parametrize("kill_after", range(5))
def test_a_kill_in_a_renewal_leaves_a_device_that_carries_on(aggregator: Any, disk: Disk, kill_after: int) -> None:
    disk.kill_after = kill_after
    disk.down(aggregator.renewal(2**40 + 7))
    disk.down(aggregator.renewal(2**40 + 7))
    disk.start()
    assert load_device_keys(disk.keys).credential.not_after == 2**40 + 7


def test_a_new_root_brings_the_new_key_of_the_aggregator(aggregator: Any, bench: Any) -> None:
    document = aggregator.rotate()
    early = aggregator.manifest(Phase.STATISTICS)
    assert only(bench.manifest(early), PersistState) == []
    assert bench.session.refusals == {Reason.UNKNOWN_KEY: 1}
    actions = give_root(bench, 2, document)
    assert only(actions, WriteDocument) == [WriteDocument("root", document)]
    topics = aggregator.topics
    assert only(actions, Subscribe) == [Subscribe(topics.manifest)]
    assert [state for state, _, _ in presences(actions)] == ["ready"]
    assert bench.state is not None
    assert bench.state.root_version == 2
    kinds = [type(action).__name__ for action in actions]
    assert kinds.index("PersistState") < kinds.index("WriteDocument") < kinds.index("Publish")
    assert only(bench.manifest(early), PersistState)


def test_the_old_key_is_not_believed_after_a_new_root(aggregator: Any, bench: Any) -> None:
    old = aggregator.signing
    give_root(bench, 2, aggregator.rotate())
    aggregator.signing = old
    assert only(bench.manifest(aggregator.manifest(Phase.STATISTICS)), PersistState) == []
    assert bench.session.refusals == {Reason.UNKNOWN_KEY: 1}


def test_versions_that_a_thief_of_the_old_key_has_run_ahead_do_not_shut_the_new_key_out(
    aggregator: Any, bench: Any, make_bench: Callable[..., Any]
) -> None:
    aggregator.version = 2**60
    bench.manifest(aggregator.manifest(Phase.STATISTICS, round=1))
    ahead = bench.state.manifest_hash
    aggregator.version, aggregator.head = 6, bytes(32)
    assert only(bench.manifest(aggregator.manifest(Phase.STATISTICS)), PersistState) == []
    document = aggregator.rotate()
    give_root(bench, 2, document)
    assert (bench.state.manifest_version, bench.state.manifest_hash) == (0, ahead)
    first, second = (aggregator.manifest(Phase.STATISTICS) for _ in range(2))
    bench.manifest(second)
    assert bench.state.manifest_version == 9
    assert only(bench.manifest(first), PersistState) == []
    assert bench.session.refusals == {Reason.OLD: 2}


def test_versions_go_on_counting_where_a_new_root_has_the_same_aggregators(aggregator: Any, bench: Any) -> None:
    bench.manifest(aggregator.manifest(Phase.STATISTICS))
    same = aggregator.signing
    body, _ = aggregator.roots[0]
    document = aggregator.rotate(aggregators=body.aggregators)
    aggregator.signing = same
    give_root(bench, 2, document)
    assert (bench.state.root_version, bench.state.manifest_version) == (2, 1)


def test_manifests_of_a_key_that_stays_are_not_taken_again_after_a_new_root(aggregator: Any, bench: Any) -> None:
    stays = aggregator.signing
    first, second = (aggregator.manifest(Phase.STATISTICS) for _ in range(2))
    bench.manifest(first)
    bench.manifest(second)
    more = AggregatorKey(aggregator.id, stays.public), AggregatorKey(b"Z" * 16, SigningKey.generate().public)
    give_root(bench, 2, aggregator.rotate(aggregators=more))
    bench.manifest(first)
    assert (bench.state.root_version, bench.state.manifest_version) == (2, 2)
    assert bench.session.refusals == {Reason.OLD: 1}


def test_an_old_copy_of_the_keys_does_not_open_the_way_to_old_manifests(
    aggregator: Any, disk: Disk, tmp_path: Path
) -> None:
    shutil.copytree(disk.keys, tmp_path / "copy")
    aggregator.rotate()
    disk.roots()
    first, second = (aggregator.manifest(Phase.STATISTICS) for _ in range(2))
    disk.tell(Came(aggregator.topics.manifest, first))
    disk.tell(Came(aggregator.topics.manifest, second))
    shutil.rmtree(disk.keys)
    shutil.copytree(tmp_path / "copy", disk.keys)
    disk.start()
    disk.roots()
    assert load_device_keys(disk.keys).root.version == 2
    disk.tell(Came(aggregator.topics.manifest, first))
    assert disk.state is not None
    assert (disk.state.root_version, disk.state.manifest_version) == (2, 2)
    assert disk.session.refusals == {Reason.OLD: 1}


def test_a_time_that_a_thief_of_the_old_key_has_signed_is_forgotten_with_the_key(aggregator: Any, bench: Any) -> None:
    bench.manifest(aggregator.manifest(Phase.STATISTICS, issued_at=2**64 - 1))
    assert bench.state.time_floor == 2**64 - 1
    give_root(bench, 2, aggregator.rotate())
    assert bench.state.time_floor == 0
    bench.manifest(aggregator.manifest(Phase.STATISTICS, issued_at=2_000_000_000))
    assert bench.state.time_floor == 2_000_000_000


def test_a_chain_is_followed_over_skipped_and_replayed_versions(aggregator: Any, disk: Disk) -> None:
    for _ in range(4):
        aggregator.rotate()
    for version in (5, 4, 3, 1, 2, 2, 1, 5, 3, 3, 5, 4, 5):
        disk.tell(Came(aggregator.topics.root(version), aggregator.roots[version - 1][1]))
    assert disk.session.refusals == {}
    assert load_device_keys(disk.keys).root.version == 5
    assert disk.state is not None
    assert disk.state.root_version == 5


def test_a_root_that_came_before_its_turn_is_asked_for_again(aggregator: Any, bench: Any) -> None:
    second, third = aggregator.rotate(), aggregator.rotate()
    assert give_root(bench, 3, third) == []
    again = Subscribe(aggregator.topics.all_roots)
    assert again in give_root(bench, 2, second)
    assert again not in give_root(bench, 3, third)


def test_forged_roots_are_not_followed(aggregator: Any, bench: Any) -> None:
    real_key, aggregator.root_key = aggregator.root_key, SigningKey.generate()
    by_a_stranger = aggregator.rotate()
    body = aggregator.roots.pop()[0]
    aggregator.root_key = real_key
    for document in (
        by_a_stranger,
        sign_root(body, aggregator.registrar),
        aggregator.rotate(federation=b"X" * 16, version=2),
        aggregator.rotate(version=3),  # under the topic of version 2
        aggregator.roots[0][1],
        b"junk",
    ):
        actions = give_root(bench, 2, document)
        assert only(actions, WriteDocument) == only(actions, PersistState) == []
    assert sum(bench.session.refusals.values()) == 6


def test_every_changed_byte_of_a_root_is_noticed(aggregator: Any, bench: Any) -> None:
    document = aggregator.rotate()
    for place in range(0, len(document), 5):
        changed = document[:place] + bytes([document[place] ^ 0x20]) + document[place + 1 :]
        assert only(give_root(bench, 2, changed), WriteDocument) == [], place
    assert only(give_root(bench, 2, document), WriteDocument)


@pytest.mark.parametrize("topic", ["all/root/x", "all/root/-1", "all/root/1/2", "all/root/9999999"])
def test_a_root_on_a_strange_topic_is_refused(aggregator: Any, bench: Any, topic: str) -> None:
    bench.do(Came(f"fedloom/{aggregator.federation.hex()}/{topic}", aggregator.rotate()))
    assert bench.session.refusals == {Reason.WRONG_TOPIC: 1}


@pytest.mark.parametrize("kill_after", range(8))
def test_a_kill_in_a_rotation_leaves_a_device_that_carries_on(aggregator: Any, disk: Disk, kill_after: int) -> None:
    aggregator.rotate()
    aggregator.rotate()
    disk.kill_after = kill_after
    disk.roots()
    assert load_device_keys(disk.keys).root.version == 3
    assert disk.state is not None
    assert disk.state.root_version == 3
    disk.tell(Came(aggregator.topics.manifest, aggregator.manifest(Phase.STATISTICS)))
    assert disk.state.manifest_version == 1


def test_a_round_in_flight_survives_the_rotation(aggregator: Any, bench: Any) -> None:
    manifest = aggregator.manifest(Phase.STATISTICS)
    bench.manifest(manifest)
    give_root(bench, 2, aggregator.rotate())
    (train,) = only(bench.down(aggregator.task(manifest)), Train)
    (stored,) = only(bench.do(Trained(train.work, ANSWER)), StoreOutbox)
    assert bench.down(aggregator.receipt(stored.entry.blob))
    assert bench.state.answered == stored.entry.manifest
    assert bench.session.refusals == {}


def test_after_a_restart_the_old_manifest_is_known_by_its_hash_alone(
    aggregator: Any, bench: Any, make_bench: Callable[..., Any]
) -> None:
    manifest = aggregator.manifest(Phase.STATISTICS)
    bench.manifest(manifest)
    document = aggregator.rotate()
    give_root(bench, 2, document)
    again = make_bench(bench.state)  # with the old root file: it is behind at first
    again.up()
    give_root(again, 2, document)
    again.manifest(manifest)
    assert only(again.down(aggregator.task(manifest)), Train)
    flipped = manifest[:-1] + bytes([manifest[-1] ^ 1])
    again.manifest(flipped)
    assert again.session.refusals == {Reason.UNKNOWN_KEY: 1}


def test_an_old_copy_of_the_keys_believes_nothing_until_it_has_caught_up(
    aggregator: Any, disk: Disk, tmp_path: Path
) -> None:
    shutil.copytree(disk.keys, tmp_path / "copy")
    old_key = aggregator.signing
    aggregator.rotate()
    aggregator.rotate()
    disk.roots()
    new_key = aggregator.signing
    shutil.rmtree(disk.keys)
    shutil.copytree(tmp_path / "copy", disk.keys)
    disk.start()
    said = presences(disk.session.handle(Connected(MAX), 0.0))
    assert said == []
    aggregator.signing = old_key
    stolen = aggregator.manifest(Phase.STATISTICS)
    aggregator.version, aggregator.head = 0, bytes(32)
    disk.tell(Came(aggregator.topics.manifest, stolen))
    disk.down(aggregator.renewal())
    assert disk.state is not None
    assert disk.state.manifest_version == 0
    assert disk.session.refusals == {Reason.OLD: 2}
    first = disk.session.handle(Came(aggregator.topics.root(2), aggregator.roots[1][1]), 0.0)
    assert presences(first) == []
    assert only(first, PersistState) == []
    assert disk.state.root_version == 3  # never goes back
    second = disk.session.handle(Came(aggregator.topics.root(3), aggregator.roots[2][1]), 0.0)
    assert [state for state, _, _ in presences(second)] == ["ready"]
    aggregator.signing = new_key
    disk.tell(Came(aggregator.topics.manifest, aggregator.manifest(Phase.STATISTICS)))
    assert disk.state.manifest_version == 1


def test_an_old_copy_of_the_state_takes_the_newer_root_file(aggregator: Any, disk: Disk) -> None:
    old = disk.state
    aggregator.rotate()
    disk.roots()
    disk.state = old
    disk.start()
    assert disk.state is not None
    assert disk.state.root_version == 2
    disk.tell(Came(aggregator.topics.manifest, aggregator.manifest(Phase.STATISTICS)))
    assert disk.state.manifest_version == 1


def test_another_registrar_and_authority_do_not_lock_the_device_out(aggregator: Any, disk: Disk) -> None:
    aggregator.registrar = SigningKey.generate()
    aggregator.ca_key, before = new_key(), aggregator.ca
    aggregator.ca = new_authority(aggregator.ca_key, "new", 1.9e9)
    aggregator.rotate()
    disk.roots()
    assert (disk.keys / "ca.crt").read_text().count("BEGIN CERTIFICATE") == 2
    assert before != aggregator.ca
    disk.start()  # the credential of the registrar before is still ours
    disk.down(aggregator.renewal(2**40 + 7))
    assert load_device_keys(disk.keys).credential.not_after == 2**40 + 7


def test_the_time_floor_never_goes_back(aggregator: Any, bench: Any) -> None:
    bench.manifest(aggregator.manifest(Phase.STATISTICS, issued_at=2_000_000_000))
    bench.manifest(aggregator.manifest(Phase.STATISTICS, issued_at=1_000_000_000))
    assert bench.state.time_floor == 2_000_000_000
    assert bench.state.manifest_version == 2


def test_only_the_types_of_its_topic_are_taken(aggregator: Any, bench: Any) -> None:
    bench.manifest(aggregator.renewal())
    assert bench.session.refusals == {Reason.UNKNOWN_TYPE: 1}
