"""Two aggregators with one identity: the watch by itself, in the service, and as real processes on real brokers.

That a link says when its place was taken is tested in tests/link/test_mqtt.py, with a broker of our own: Mosquitto
2.0.11 closes the connection without saying why.
"""

import json
import shutil
import subprocess
import sys
import time
from hashlib import sha256

import msgspec
import pytest
from stage import PATIENCE_S, database, forged

from aggregator import events as ev
from aggregator import keys, rival
from aggregator.rival import MAX_WAIT_S, QUIET_S, RivalError, RivalWatch
from aggregator.roots import changes as root_changes
from fedloom.errors import Refused, StoreError
from fedloom.link.base import Connected, Denied, Disconnected, Limits, Received, Subscribed, Token
from fedloom.link.memory import MemoryLink
from fedloom.link.mqtt import MqttConfig, MqttLink
from fedloom.trust.documents import sign_root
from fedloom.trust.signing import SigningKey
from fedloom.wire.envelope import Header, Type, write_clear

TOLD = (
    r"^another aggregator uses this identity, or this state directory is an old copy: devices have accepted manifest "
)


@pytest.fixture
def own(rig):
    """The keys of a federation whose first round is open."""
    return keys.load(rig.state)


@pytest.fixture
def manifest(rig):
    return rig.retained[rig.devices[0].topics.manifest]


@pytest.fixture
def watch(own, manifest):
    return RivalWatch(own.root, lambda: (1, sha256(manifest).digest()))


def came(topic, payload, retained=True):
    return Received(topic, payload, retained, Token(1, 1))


def connect(watch, now_s=0.0):
    watch.handle(Connected(Limits()), now_s)
    for each in watch.topics:
        watch.handle(Subscribed(each), now_s)


# The watch by itself


def test_what_is_retained_is_looked_at_before_we_speak(watch, manifest):
    connect(watch, 10.0)
    assert not watch.is_clear(10.0)
    watch.handle(came(watch.manifest_topic, manifest), 10.01)
    assert watch.is_clear(10.01)
    assert not watch.is_clear(10.01)  # said once
    assert watch.wake_at_s is None


def test_where_nothing_is_retained_a_short_silence_is_enough(watch):
    connect(watch, 10.0)
    assert not watch.is_clear(10.0 + QUIET_S - 0.01)
    assert watch.is_clear(10.0 + QUIET_S)


def test_the_silence_begins_when_the_broker_has_answered_for_the_manifest(watch):
    watch.handle(Connected(Limits()), 10.0)
    watch.handle(Subscribed(watch.next_root_topic), 10.0)
    assert not watch.is_clear(10.0 + MAX_WAIT_S - 0.01)
    assert watch.is_clear(10.0 + MAX_WAIT_S)


def test_what_waits_in_our_session_is_no_silence_but_not_for_ever(watch):
    connect(watch, 10.0)
    for number in range(1, int(MAX_WAIT_S / QUIET_S) * 2):
        now_s = 10.0 + number * QUIET_S / 2
        watch.handle(came("fedloom/x/d/y/up", b"update"), now_s)
        assert not watch.is_clear(now_s)
    assert watch.is_clear(10.0 + MAX_WAIT_S)


def test_a_broker_that_denies_the_subscription_is_not_waited_for(watch):
    watch.handle(Connected(Limits()), 10.0)
    watch.handle(Denied(watch.manifest_topic, "Not authorized"), 10.0)
    assert watch.is_clear(10.0 + QUIET_S)


def test_each_connection_is_watched_anew(watch, manifest):
    connect(watch, 10.0)
    watch.handle(came(watch.manifest_topic, manifest), 10.0)
    assert watch.is_clear(10.0)
    watch.handle(Disconnected("cut"), 11.0)
    assert watch.wake_at_s is None
    connect(watch, 12.0)
    assert not watch.is_clear(12.0)


@pytest.mark.parametrize("retained", [True, False])
@pytest.mark.parametrize("version", [1, 2, 1000])
def test_a_manifest_that_our_key_signed_and_we_did_not(watch, own, manifest, version, retained):
    connect(watch)
    other = forged(manifest, own.signing, version=version, previous=b"x" * 32)
    with pytest.raises(
        RivalError, match=rf"{TOLD}version {version}, this state knows 1; stop the other one, or restore"
    ):
        watch.handle(came(watch.manifest_topic, other, retained), 0.1)


def test_a_rival_is_found_however_late(watch, own, manifest):
    connect(watch)
    assert watch.is_clear(QUIET_S)
    with pytest.raises(RivalError):
        watch.handle(came(watch.manifest_topic, forged(manifest, own.signing, version=2), retained=False), 500.0)


def test_another_aggregator_of_the_root_is_a_rival_too(own, manifest):
    second = SigningKey.generate()
    listed = (
        *own.root.aggregators,
        msgspec.structs.replace(own.root.aggregators[0], id=b"2" * 16, signing=second.public),
    )
    watch = RivalWatch(msgspec.structs.replace(own.root, aggregators=listed), lambda: (1, b"ours"))
    with pytest.raises(RivalError):
        watch.handle(came(watch.manifest_topic, forged(manifest, second, b"2" * 16, version=7)), 0.0)


def test_an_older_manifest_of_ours_is_none(own, manifest):
    """The broker has it from before; the newer one was committed, and its publication lost."""
    watch = RivalWatch(own.root, lambda: (2, b"newer"))
    connect(watch)
    watch.handle(came(watch.manifest_topic, manifest), 0.1)
    assert watch.is_clear(0.1)


def test_our_own_manifest_by_a_key_that_was_rotated_is_ours(own, manifest):
    rotated = msgspec.structs.replace(own.root.aggregators[0], signing=SigningKey.generate().public)
    root = msgspec.structs.replace(own.root, version=2, aggregators=(rotated,))
    watch = RivalWatch(root, lambda: (1, sha256(manifest).digest()))
    connect(watch)
    watch.handle(came(watch.manifest_topic, manifest), 0.1)
    assert watch.is_clear(0.1)


def test_what_nobody_of_the_federation_signed_is_ignored(watch, own, manifest):
    connect(watch)
    stranger = SigningKey.generate()
    flipped = bytearray(forged(manifest, own.signing, version=9))
    flipped[200] ^= 1
    for payload in (
        b"garbage",
        bytes(200_000),
        manifest[:-1],
        bytes(flipped),
        forged(manifest, stranger, version=9),
        forged(manifest, stranger, b"2" * 16, version=9),
        forged(manifest, own.registrar.signing, version=9),
    ):
        with pytest.raises(Refused):
            watch.handle(came(watch.manifest_topic, payload, retained=False), 0.1)
    assert not watch.is_clear(0.2)  # nor does it end the wait
    watch.handle(came(watch.manifest_topic, b""), 0.2)
    assert watch.is_clear(0.2 + QUIET_S)


def test_a_signed_message_that_is_no_manifest_is_ignored(watch, own):
    header = Header(Type.TASK, own.root.federation, own.id, bytes(16))
    with pytest.raises(Refused):
        watch.handle(came(watch.manifest_topic, write_clear(header, b"x", own.signing)), 0.0)


def test_a_newer_root_document_shows_an_old_copy(watch, own, rig):
    federation = SigningKey((rig.state / "keys" / keys.FEDERATION_KEY).read_bytes())
    following = msgspec.structs.replace(own.root, version=2)
    with pytest.raises(Refused):
        watch.handle(came(watch.next_root_topic, sign_root(following, SigningKey.generate())), 0.0)
    with pytest.raises(RivalError, match="root version 2 is published, this state directory has 1"):
        watch.handle(came(watch.next_root_topic, sign_root(following, federation)), 0.0)


def test_three_takeovers_within_a_minute_are_a_fight(watch):
    watch.handle(Disconnected("x", taken_over=True), 0.0)
    watch.handle(Disconnected("x", taken_over=False), 1.0)
    watch.handle(Disconnected("x", taken_over=True), 30.0)
    with pytest.raises(StoreError, match="taken our place at the broker 3 times"):
        watch.handle(Disconnected("x", taken_over=True), 60.0)


def test_takeovers_now_and_then_are_not(watch):
    for number in range(20):
        watch.handle(Disconnected("x", taken_over=True), number * 30.1)


# In the service


def test_an_old_copy_stops_before_it_says_anything(stopped, own, manifest):
    stopped.retain(stopped.rig.devices[0].topics.manifest, forged(manifest, own.signing, version=8))
    before = database(stopped.rig)
    with pytest.raises(RivalError, match="manifest version 8, this state knows 1"):
        stopped.run(stopped.service())
    assert stopped.heard == []
    assert database(stopped.rig) == before


def test_an_old_copy_without_the_newest_root_stops_before_it_says_anything(stopped, rig):
    copy = rig.directory / "copy"
    shutil.copytree(rig.state, copy)
    root_changes.rotate(copy)
    stopped.retain(rig.devices[0].topics.root(2), keys.load(copy).documents[1])
    with pytest.raises(RivalError, match="root version 2 is published"):
        stopped.run(stopped.service())
    assert stopped.heard == []


def test_a_rival_that_comes_later_ends_the_run_and_nothing_more_is_said(stopped, own, manifest):
    topic = stopped.rig.devices[0].topics.manifest
    service = stopped.service()
    other = forged(manifest, own.signing, version=2)
    said = []

    def until():
        if not said and topic in stopped.topics():
            said.append(True)
            stopped.heard.clear()
            stopped.other.publish(topic, other, retain=True)
        return False

    with pytest.raises(RivalError):
        stopped.run(service, until)
    assert stopped.heard == [(topic, other)]


def test_a_forged_manifest_disturbs_nothing(stopped, manifest, caplog):
    topic = stopped.rig.devices[0].topics.manifest
    stopped.retain(topic, forged(manifest, SigningKey.generate(), version=8))
    stopped.run(stopped.service(), until=lambda: (topic, manifest) in stopped.heard)
    assert "manifest.forged" in caplog.text


def test_ours_on_the_broker_is_no_rival(stopped, manifest):
    topics = stopped.rig.devices[0].topics
    stopped.retain(topics.manifest, manifest)
    stopped.run(stopped.service(), until=lambda: topics.manifest in stopped.topics())
    assert stopped.topics()[0] == topics.root(1)
    assert (topics.manifest, manifest) in stopped.heard


def test_a_broker_that_has_forgotten_all_is_told_after_a_short_silence(stopped, monkeypatch):
    monkeypatch.setattr(rival, "MAX_WAIT_S", 2 * PATIENCE_S)  # to wait for that would be too long
    topic = stopped.rig.devices[0].topics.manifest
    began_s = time.monotonic()
    stopped.run(stopped.service(), until=lambda: topic in stopped.topics())
    assert time.monotonic() - began_s >= QUIET_S


def test_a_fight_for_the_client_id_ends(stopped):
    class Fighting(MemoryLink):
        def start(self):
            for _ in range(3):
                self.emit(Disconnected("the broker says: Session taken over", taken_over=True))

    with pytest.raises(StoreError, match="taken our place"):
        stopped.run(stopped.service(lambda on_event: Fighting(stopped.broker, "x", on_event)))


def test_after_a_failure_nothing_is_done(stopped):
    service = stopped.service()
    service._fail(StoreError("first"))
    service._loop = None  # whoever used it would fail
    service._handle(ev.LinkUp())


# On a real broker


@pytest.fixture
def aggregator(broker):
    """`aggregator(directory)`: a real `fedloom aggregator run` of the configuration there."""
    running = []

    def start(directory):
        (directory / "aggregator.toml").write_text(
            f'job = "job.toml"\n[broker]\nhost = "{broker.host}"\nport = {broker.port}\n'
        )
        command = [sys.executable, "-m", "fedloom.command", "aggregator", "run", "--json"]
        running.append(
            subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_a_copy_on_another_host_stops_and_the_newest_goes_on(make_rig, broker, aggregator, tmp_path):
    """The copy was made before the first round; by the time it is started, devices have accepted manifests."""
    rig = make_rig()
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copytree(rig.state, copy / "state")
    shutil.copyfile(tmp_path / "job.toml", copy / "job.toml")
    manifests = []

    def hear(event):
        if isinstance(event, Received) and event.payload:
            manifests.append(event.payload)
            link.acknowledge(event)

    link = MqttLink(MqttConfig(host=broker.host, port=broker.port), f"test-{rig.devices[0].id.hex()}", hear)
    link.subscribe(rig.devices[0].topics.manifest)
    link.start()
    first = aggregator(tmp_path)
    try:
        for device in rig.devices:
            link.publish(device.topics.state(device.id), device.presence(), retain=True)
        wait_for(lambda: manifests)
        second = aggregator(copy)
        _, told = second.communicate(timeout=PATIENCE_S)
        assert second.returncode == 2
        assert told.splitlines()[-1].startswith("fedloom: error: another aggregator uses this identity")
        assert "manifest version 1, this state knows 0" in told
        link.publish(rig.devices[0].topics.state(rig.devices[0].id), rig.devices[0].presence(), retain=True)
        assert first.poll() is None
        assert set(manifests) == {manifests[0]}
    finally:
        link.close()
    first.terminate()
    said, _ = first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 0
    assert "round_opened" in [json.loads(line)["event"] for line in said.splitlines()]


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
