"""Joining under an adversary: messages lost, repeated, in any order, changed; killed between any two actions.

The disk is a real one; network, registrar and clock are by hand.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_client import join_events, joining
from edge_client.events import Log, Publish, Subscribe, Tick, WriteDocument
from edge_client.join_directory import JoinDirectory
from edge_client.join_errors import NotJoinedError
from fedloom.errors import FedloomError, LinkError, Reason, TrustError
from fedloom.link.base import Connected, Denied, Disconnected, Limits, Received, Token
from fedloom.trust.device_keys import load_device_keys
from fedloom.trust.documents import Credential
from fedloom.trust.signing import SigningKey
from fedloom.trust.tokens import Broker, TlsMode
from fedloom.wire.messages import Capabilities
from fedloom.wire.topics import Topics

PATIENCE_S = 1000.0
NOWHERE = Token(0, 0)


class Killed(Exception):
    """The process died."""


class Device:
    """A join with its disk; `kill_after` actions from now the process dies."""

    def __init__(self, directory: Path, token: Any) -> None:
        self.directory, self.token = directory, token
        self.topics = Topics(token.federation)
        self.now_s = 0.0
        self.kill_after: int | None = None
        self.requests: list[bytes] = []
        self.actions: list[Any] = []
        self.said: list[str] = []
        self.joined: Credential | None = None
        self.failed: FedloomError | None = None
        self.keys: set[bytes] = set()

    def start(self) -> None:
        """A new process."""
        self.store = JoinDirectory(self.directory)
        self.store.hold()
        try:
            found = self.store.read(self.token)
        finally:
            self.store.release()
        if isinstance(found, Credential):
            self.joined = found
            return
        wish = join_events.Wish(self.token, "pump", Capabilities("", "", 1, 1), "data.csv")
        self.core = joining.Joining(wish, found, self.now_s + PATIENCE_S, os.urandom, lambda: 0.5)
        self.carry_out_all(self.core.begin())
        self.tell(Connected(Limits()))

    def tell(self, *events: Any) -> None:
        for event in events:
            if self.joined is None and self.failed is None:
                self.carry_out_all(self.core.handle(event, self.now_s))

    def hear(self, topic: str, payload: bytes) -> None:
        self.tell(Received(topic, payload, False, NOWHERE))

    def answer(self, payload: bytes) -> None:
        self.hear(self.topics.enrol_down(self.token.id), payload)

    def root(self, version: int, document: bytes) -> None:
        self.hear(self.topics.root(version), document)

    def carry_out_all(self, actions: list[Any]) -> None:
        for action in actions:
            if self.kill_after == 0:
                raise Killed
            if self.kill_after is not None:
                self.kill_after -= 1
            self.actions.append(action)
            self.carry_out(action)

    def carry_out(self, action: Any) -> None:
        match action:
            case join_events.MakeKeys(root, document):
                made = self.store.make_keys(root, document, self.token)
                self.keys.add(made.signing.public)
                self.tell(join_events.Made(made))
            case join_events.Secure():
                self.tell(Connected(Limits()))
            case join_events.WriteConfig(text):
                self.store.write_config(text)
            case join_events.Discard():
                self.store.discard()
            case join_events.Say(text):
                self.said.append(text)
            case join_events.Joined(credential):
                self.joined = credential
            case join_events.Failed(error):
                self.failed = error
            case WriteDocument(name, data):
                self.store.write(name, data)
            case Publish(topic, payload):
                assert topic == self.topics.enrol_up(self.token.id)
                assert (self.directory / "keys" / "signing.key").exists(), "asked before the keys were on disk"
                self.requests.append(payload)
            case _:
                assert isinstance(action, Subscribe | Log)


class World:
    """A device, a federation that has turned its root three times, and what of it the network lets through."""

    def __init__(self, registrar: Any, directory: Path, token: Any) -> None:
        self.registrar, self.aggregator = registrar, registrar.aggregator
        self.device = Device(directory, token)

    def step(self, name: str, number: int) -> None:
        device, roots = self.device, self.aggregator.roots
        match name:
            case "start":
                device.start()
            case "root":
                device.root(1 + number % len(roots), roots[number % len(roots)][1])
            case "swap":
                device.root(1 + number % len(roots), roots[(number + 1) % len(roots)][1])
            case "answer" | "corrupt" if device.requests:
                answer = self.registrar.hear(device.requests[number % len(device.requests)])
                if name == "corrupt":
                    place = number % len(answer)
                    answer = answer[:place] + bytes([answer[place] ^ 1]) + answer[place + 1 :]
                device.answer(answer)
            case "time":
                device.now_s = min(device.now_s + number, PATIENCE_S - 1)
                device.tell(Tick())
            case "connection":
                device.tell(Disconnected("gone"), Connected(Limits()))
            case "kill":
                device.kill_after = number

    def steps(self, steps: list[tuple[str, int]]) -> None:
        for step in steps:
            self.step(*step)

    def survive(self, name: str, number: int) -> None:
        try:
            self.step(name, number)
        except Killed:
            self.device.kill_after = None
            self.device.start()

    def fair(self) -> None:
        """From here on the network does what it should."""
        self.device.kill_after = None
        self.device.start()
        for _ in range(2):
            for number in range(len(self.aggregator.roots)):
                self.step("root", number)
            if self.device.requests:
                self.step("answer", len(self.device.requests) - 1)


@pytest.fixture
def world(registrar: Any, tmp_path: Path) -> World:
    for _ in range(2):
        registrar.aggregator.rotate()
    return World(registrar, tmp_path / "device", registrar.token(root=0))


def check_joined(world: World, root_version: int = 3) -> None:
    """The device has one identity, the only one that the registrar knows, and at least this root document."""
    device, registrar = world.device, world.registrar
    assert device.joined is not None, device.failed
    keys = load_device_keys(device.directory / "keys")
    assert keys.credential == device.joined
    assert keys.root.version >= root_version
    assert {keys.signing.public} == device.keys
    assert len(registrar.devices) == 1
    assert registrar.alarms == 0
    assert {path.name for path in device.directory.iterdir()} == {"keys", "edge.toml"}
    assert (device.directory / "keys").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (device.directory / "keys").iterdir()} == {0o600}


def test_the_usual_way(world: World) -> None:
    world.step("start", 0)
    for number in range(3):
        world.step("root", number)
    world.step("answer", 0)
    world.fair()
    check_joined(world)


def test_a_chain_in_any_order_is_followed_to_its_end(registrar: Any, world: World) -> None:
    world.step("start", 0)
    for number in (2, 1, 0, 2, 1, 0, 2, 1):  # what came too early is asked for again
        world.step("root", number)
    again = [action for action in world.device.actions if action == Subscribe(world.device.topics.all_roots)]
    assert len(again) == 3
    assert registrar.hear(world.device.requests[-1]) is not None
    world.step("answer", -1)
    check_joined(world)


def test_a_long_chain_is_asked_for_once_and_the_request_is_made_once(registrar: Any, world: World) -> None:
    for _ in range(50):
        world.aggregator.rotate()
    world.step("start", 0)
    for number in range(len(world.aggregator.roots)):
        world.step("root", number)
    asked = [action for action in world.device.actions if isinstance(action, Subscribe)]
    assert asked.count(Subscribe(world.device.topics.all_roots)) == 2  # at the start, and when there are keys
    assert len(world.device.requests) == 1
    world.step("answer", -1)
    check_joined(world)


STEPS = st.lists(
    st.one_of(
        st.integers(0, 2).map(lambda n: ("root", n)),
        st.integers(0, 2).map(lambda n: ("swap", n)),
        st.integers(0, 50).map(lambda n: ("answer", n)),
        st.integers(0, 5000).map(lambda n: ("corrupt", n)),
        st.integers(0, 40).map(lambda n: ("time", n)),
        st.just(("connection", 0)),
        st.integers(0, 8).map(lambda n: ("kill", n)),
    ),
    max_size=30,
)


@pytest.fixture
def anew(tmp_path: Path) -> Iterator[Any]:
    """A new place for each example."""
    made: list[Path] = []

    def make() -> Path:
        made.append(tmp_path / f"example-{len(made)}")
        return made[-1]

    yield make
    for path in made:
        shutil.rmtree(path, ignore_errors=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, pinned=st.integers(0, 2), tls=st.sampled_from(list(TlsMode)))
def test_whatever_the_network_does_there_is_one_identity(
    registrar: Any, anew: Any, steps: list[tuple[str, int]], pinned: int, tls: TlsMode
) -> None:
    while len(registrar.aggregator.roots) < 3:
        registrar.aggregator.rotate()
    registrar.devices.clear()
    token = registrar.token(root=pinned, broker=Broker("127.0.0.1", 1883, tls))
    world = World(registrar, anew(), token)
    world.survive("start", 0)
    for step in steps:
        world.survive(*step)
        if isinstance(world.device.failed, TrustError):  # ten seconds with other roots than ours
            world.device.failed = None
            world.survive("start", 0)
    world.fair()
    check_joined(world, pinned + 1)  # the answer may have come before the newer roots: the daemon follows them


@pytest.mark.parametrize("kill_after", range(12))
def test_a_kill_at_any_action_leaves_one_identity(world: World, kill_after: int) -> None:
    world.device.kill_after = kill_after
    steps = [("start", 0), ("root", 0), ("root", 1), ("root", 2), ("answer", -1)]
    with pytest.raises(Killed):
        world.steps(steps)
    assert world.device.joined is None
    world.fair()
    check_joined(world)


def test_the_kills_reach_every_action(world: World) -> None:
    world.steps([("start", 0), ("root", 0), ("root", 1), ("root", 2), ("answer", -1)])
    kinds = [type(action).__name__ for action in world.device.actions]
    assert len(kinds) == 12  # the range above
    writes = [action.name for action in world.device.actions if isinstance(action, WriteDocument)]
    assert writes == ["root", "root", "tls.crt", "credential"]
    assert kinds[-3:] == ["WriteConfig", "WriteDocument", "Joined"]


def test_what_exists_of_edge_toml_stays(world: World) -> None:
    world.device.directory.mkdir()
    (world.device.directory / "edge.toml").write_text("# mine")
    world.fair()
    check_joined(world)
    assert (world.device.directory / "edge.toml").read_text() == "# mine"


def test_the_same_bytes_are_asked_again_with_growing_waits(world: World) -> None:
    world.step("start", 0)
    for number in range(3):
        world.step("root", number)
    sent, waits = world.device.requests[-1], []
    for _ in range(8):
        due = world.device.core.wake_at_s
        waits.append(due - world.device.now_s)
        world.device.now_s = due
        world.device.tell(Tick())
        assert world.device.requests[-1] is sent
    assert waits == sorted(waits)
    assert 2.0 < waits[0] < waits[-1] < 20.0


def test_approval_is_waited_for_and_said_once(registrar: Any, world: World) -> None:
    registrar.approves = False
    world.fair()
    assert len([text for text in world.device.said if "approval" in text]) == 1
    world.device.now_s = PATIENCE_S
    world.device.tell(Tick())
    assert isinstance(world.device.failed, NotJoinedError)
    assert "run the same command again" in str(world.device.failed)
    registrar.approves, world.device.failed = True, None
    world.fair()
    check_joined(world)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (Reason.EXPIRED, "has expired; make another"),
        (Reason.REVOKED, "revoked"),
        (Reason.UNKNOWN_TOKEN, "does not know the token"),
        (Reason.REJECTED, "not approved"),
        (Reason.LATE, "late"),
    ],
)
def test_a_refusal_says_why_and_leaves_nothing(registrar: Any, world: World, reason: Reason, remedy: str) -> None:
    registrar.refuses[world.device.token.id] = reason
    world.fair()
    assert isinstance(world.device.failed, TrustError)
    assert remedy in str(world.device.failed)
    assert list(world.device.directory.iterdir()) == []


def test_a_token_that_another_device_has_used_is_refused_with_an_alarm(
    registrar: Any, world: World, tmp_path: Path
) -> None:
    world.fair()
    thief = World(registrar, tmp_path / "thief", world.device.token)
    thief.fair()
    assert "used by another device" in str(thief.device.failed)
    assert registrar.alarms > 0
    assert len(registrar.devices) == 1
    assert not (tmp_path / "thief" / "keys").exists()


def test_an_old_answer_and_one_for_another_are_not_believed(registrar: Any, world: World, tmp_path: Path) -> None:
    registrar.approves = False
    world.fair()
    pending = registrar.hear(world.device.requests[-1])
    registrar.approves = True
    other = World(registrar, tmp_path / "other", registrar.token(root=0))
    other.fair()
    before = dict(world.device.core.refusals)
    world.device.answer(registrar.hear(other.device.requests[-1]))
    world.device.answer(registrar.aggregator.renewal())
    assert world.device.joined is None
    assert sum(world.device.core.refusals.values()) == sum(before.values()) + 2
    world.device.start()  # its request is another one now
    world.device.answer(pending)
    assert world.device.core.refusals == {Reason.OLD: 1}


@pytest.mark.parametrize("part", ["signer", "keys", "certificate", "name", "host"])
def test_a_grant_that_does_not_fit_is_not_written(registrar: Any, world: World, part: str) -> None:
    admit, aggregator = registrar.admit, registrar.aggregator

    def wrong(wish: Any, tls: bytes) -> Any:
        granted = admit(wish, tls)
        credential, certificate, broker = granted.credential, granted.certificate, granted.broker
        match part:
            case "signer":
                real, aggregator.registrar = aggregator.registrar, SigningKey.generate()
                credential, aggregator.registrar = aggregator.credential(), real
            case "keys":
                credential = aggregator.credential()
            case "certificate":
                certificate = aggregator.certificate()
            case "name":
                own = {"signing": wish.signing, "seal": wish.seal}
                credential = aggregator.credential(name="a\nhost = 'evil'", **own)
            case "host":
                broker = Broker("hub\x7f", 1883, TlsMode.NONE)  # no TOML file can hold it
        return type(granted)(bytes(32), granted.verdict, "", credential, certificate, broker)

    registrar.admit = wrong
    world.fair()
    assert world.device.joined is None
    assert not (world.device.directory / "keys" / "credential").exists()
    assert not (world.device.directory / "edge.toml").exists()
    world.device.now_s = PATIENCE_S
    world.device.tell(Tick())
    assert "that can be believed" in str(world.device.failed)


def test_other_roots_than_the_tokens_are_told_apart_from_silence(registrar: Any, world: World) -> None:
    device, roots = world.device, world.aggregator.roots
    device.token = device.token._replace(root_hash=bytes(32))
    world.step("start", 0)
    for number in range(3):
        world.step("root", number)
    device.now_s = device.core.wake_at_s
    assert device.now_s == joining.ROOT_TIME_S
    device.tell(Tick())
    assert "none of the broker's root documents is the one" in str(device.failed)
    assert not device.directory.joinpath("keys").exists()
    assert device.requests == []
    assert len(roots) == 3


def test_a_trickle_of_other_roots_is_not_taken_for_silence(registrar: Any, world: World) -> None:
    device = world.device
    device.token = device.token._replace(root_hash=bytes(32))
    world.step("start", 0)
    while device.now_s < PATIENCE_S:
        world.step("root", 0)
        device.now_s = min(device.now_s + joining.ROOT_TIME_S / 2, PATIENCE_S)
    device.tell(Tick())
    assert "none of the broker's root documents is the one" in str(device.failed)


def test_a_tampered_root_is_not_believed(world: World) -> None:
    world.step("start", 0)
    document = world.aggregator.roots[0][1]
    for place in range(0, len(document), 7):
        world.device.root(1, document[:place] + bytes([document[place] ^ 1]) + document[place + 1 :])
    assert not any(isinstance(action, join_events.MakeKeys) for action in world.device.actions)


def test_a_root_of_another_federation_than_the_tokens_is_refused(registrar: Any, world: World) -> None:
    other = world.device.token._replace(federation=b"X" * 16)
    device = Device(world.device.directory, other)
    device.start()
    device.root(1, world.aggregator.roots[0][1])
    assert isinstance(device.failed, TrustError)
    assert not device.directory.joinpath("keys").exists()


@pytest.mark.parametrize(
    ("events", "said", "status"),
    [
        ((), "no root document", 1),
        ((Denied("fedloom/x", "Not authorized"),), "denies fedloom/x: Not authorized", 1),
        ((Disconnected("Connection refused"),), "cannot be reached (Connection refused)", 1),
        ((Disconnected("the broker refuses us", fatal=True),), "the broker refuses us", 1),
    ],
)
def test_what_did_not_come_is_named(world: World, events: tuple[Any, ...], said: str, status: int) -> None:
    world.step("start", 0)
    world.device.tell(*events)
    world.device.now_s = PATIENCE_S
    world.device.tell(Tick())
    assert world.device.failed is not None
    assert said in str(world.device.failed)
    assert world.device.failed.exit_status == status
    assert isinstance(world.device.failed, LinkError | NotJoinedError)


def test_nothing_but_subscribing_happens_before_the_broker_is_verified(registrar: Any, tmp_path: Path) -> None:
    token = registrar.token(broker=Broker("127.0.0.1", 8883, TlsMode.FEDERATION))
    world = World(registrar, tmp_path / "device", token)
    world.step("start", 0)
    world.step("root", 0)
    secured = next(n for n, action in enumerate(world.device.actions) if isinstance(action, join_events.Secure))
    assert {type(action).__name__ for action in world.device.actions[:secured]} == {"Subscribe", "MakeKeys"}
    assert Subscribe(world.device.topics.enrol_down(token.id)) not in world.device.actions[:secured]
    assert any(isinstance(action, Publish) for action in world.device.actions[secured:])
