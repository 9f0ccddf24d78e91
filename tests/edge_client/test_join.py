"""`fedloom-edge join` as a user runs it: the real process, on a real broker, with and without TLS."""

import json
import logging
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge_client import cli, join
from edge_client.join_directory import JoinDirectory
from edge_client.join_errors import NotJoinedError
from fedloom import msgpack
from fedloom.errors import LinkError, Reason, StoreError, TrustError
from fedloom.link.base import Connected, Event, Received
from fedloom.link.config import MqttConfig, Tls
from fedloom.link.mqtt import MqttLink
from fedloom.trust.certificates import Authority, new_authority, new_key, public_key_of, to_pem
from fedloom.trust.device_keys import load_device_keys
from fedloom.trust.tokens import Broker, TlsMode, write_token
from fedloom.wire.envelope import parse
from fedloom.wire.messages import Phase, Presence
from simulation.broker import find_mosquitto, start_broker

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed"),
]
ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
TEN_YEARS_S = 10 * 366 * 86_400
DYING = """
import os, signal, sys
from edge_client import cli, join
left = int(sys.argv.pop(1))
carry_out = join.Joiner.carry_out
def dying(self, action):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    carry_out(self, action)
join.Joiner.carry_out = dying
sys.exit(cli.main())
"""


class Office:
    """The registrar's end of the broker; a context manager."""

    def __init__(self, registrar: Any, port: int, tls: Tls | None = None) -> None:
        self.registrar, self.topics = registrar, registrar.aggregator.topics
        self.events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self.others: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self.link = MqttLink(MqttConfig("127.0.0.1", port, tls=tls), f"office-{port}", self.events.put)
        self.thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Office":
        self.link.subscribe(self.topics.all_enrol_up)
        self.link.subscribe(self.topics.all_states)
        self.link.subscribe(self.topics.all_up)
        self.link.start()
        while not isinstance(self.events.get(timeout=PATIENCE_S), Connected):
            pass
        for root, document in self.registrar.aggregator.roots:
            self.link.publish(self.topics.root(root.version), document, retain=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.events.put(None)
        self.thread.join(PATIENCE_S)
        for root, _ in self.registrar.aggregator.roots:
            self.link.publish(self.topics.root(root.version), b"", retain=True)
        self.link.close()

    def _work(self) -> None:
        while (event := self.events.get()) is not None:
            if not isinstance(event, Received):
                continue
            self.link.acknowledge(event)
            if "/enrol/" not in event.topic:
                self.others.put((event.topic, event.payload))
            elif answer := self.registrar.hear(event.payload):
                self.link.publish(self.topics.enrol_down(self.topics.token_of(event.topic)), answer)

    def hear(self, topic: str) -> bytes:
        """The next message on another topic."""
        deadline = time.monotonic() + PATIENCE_S
        while (left_s := deadline - time.monotonic()) > 0.0:
            came, payload = self.others.get(timeout=left_s)
            if came == topic and payload:
                return payload
        raise AssertionError(f"nothing came on {topic}")


@pytest.fixture
def office(registrar: Any, mosquitto: Any) -> Iterator[Office]:
    registrar.aggregator.broker = Broker("127.0.0.1", mosquitto.port, TlsMode.NONE)
    with Office(registrar, mosquitto.port) as office:
        yield office


def run(*arguments: str, text: str = "", python: tuple[str, ...] = ("-m", "edge_client")) -> Any:
    return subprocess.run(
        [sys.executable, *python, *arguments], cwd=ROOT, input=text, capture_output=True, text=True, timeout=60
    )


def join_here(token: Any, directory: Path, timeout_s: float = PATIENCE_S, **options: Any) -> join.Outcome:
    """Join in this process."""
    said: list[str] = options.pop("said", [])
    return join.Joiner(token, JoinDirectory(directory), said.append, **options).join("pump", "data.csv", timeout_s)


def test_a_device_joins_and_joining_again_changes_nothing(office: Office, registrar: Any, tmp_path: Path) -> None:
    text, directory = write_token(registrar.token()), tmp_path / "device"
    first = run("join", "-", "--dir", str(directory), "--name", "pump", "--json", text=f"{text}\n")
    assert first.returncode == 0, first.stderr
    said = json.loads(first.stdout)
    keys = load_device_keys(directory / "keys")
    assert (said["device"], said["name"], said["is_new"]) == (keys.id.hex(), "pump", True)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.rglob("*") if path.is_file()}
    assert run("check", "--config", said["config"]).returncode == 2  # there is no data yet
    (tmp_path / "token").write_text(text)
    second = run("join", str(tmp_path / "token"), "--dir", str(directory))
    assert second.returncode == 0
    assert "has joined" in second.stdout
    assert "already" in second.stdout
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.rglob("*") if path.is_file()}
    assert after == before
    assert registrar.heard == 1
    third = run("join", "-", "--dir", str(directory), text=write_token(registrar.token()))
    assert third.returncode == 2
    assert f"belongs to device {keys.id.hex()} already" in third.stderr
    assert {path: path.read_bytes() for path in before} == {path: content for path, (content, _) in before.items()}
    shown = json.loads(run("status", "--config", said["config"], "--json").stdout)
    assert (shown["membership"], shown["root_version"], shown["device"]) == ("joined", 1, keys.id.hex())


def test_sigkill_before_each_action_leaves_one_identity(office: Office, registrar: Any, tmp_path: Path) -> None:
    text, directory = write_token(registrar.token()), tmp_path / "device"
    signing_keys, killed, status = set(), 0, None
    while status != 0:
        arguments = (str(killed), "join", "-", "--dir", str(directory))
        status = run(*arguments, text=text, python=("-c", DYING)).returncode
        assert status in (0, -signal.SIGKILL)
        killed += 1
        if (key := directory / "keys" / "signing.key").exists():
            signing_keys.add(key.read_bytes())
        if (directory / "keys" / "credential").exists():
            load_device_keys(directory / "keys")
    assert killed > 7
    assert len(signing_keys) == len(registrar.devices) == 1
    assert registrar.alarms == 0
    assert (directory / "edge.toml").exists()


def test_joining_takes_less_than_a_second(office: Office, registrar: Any, tmp_path: Path) -> None:
    took_s = []
    for number in range(3):  # the best of them: other processes may have the machine
        began_s = time.monotonic()
        join_here(registrar.token(), tmp_path / f"device-{number}")
        took_s.append(time.monotonic() - began_s)
    assert min(took_s) < 1.0


def test_a_broker_without_mqtt_5_will_do(registrar: Any, amqtt: Any, tmp_path: Path) -> None:
    registrar.aggregator.broker = Broker("127.0.0.1", amqtt.port, TlsMode.NONE)
    with Office(registrar, amqtt.port):
        assert join_here(registrar.token(), tmp_path / "device").is_new


def test_an_interrupt_is_one_line_and_the_join_goes_on_later(office: Office, registrar: Any, tmp_path: Path) -> None:
    registrar.approves, token = False, registrar.token()
    command = [sys.executable, "-m", "edge_client", "join", "-", "--dir", str(tmp_path / "device")]
    pipe = subprocess.PIPE
    # A shell lets what it runs in the background ignore SIGINT, and its children with it: this one shall hear it.
    hear = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, cwd=ROOT, stdin=pipe, stderr=pipe, stdout=pipe, text=True, preexec_fn=hear
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(write_token(token))
        process.stdin.close()
        assert "waiting for approval" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        (line,) = process.stderr.read().splitlines()
        assert "interrupted; to go on, run the same command again" in line
        assert process.wait(PATIENCE_S) == 1
    registrar.approves = True
    assert join_here(token, tmp_path / "device").is_new
    assert len(registrar.devices) == 1


def test_standard_input_that_is_no_text_is_one_line() -> None:
    command = [sys.executable, "-m", "edge_client", "join", "-"]
    ended = subprocess.run(command, cwd=ROOT, input=b"\xff\xfe\x00" * 99, capture_output=True, timeout=60)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1


def test_waiting_for_approval_ends_with_1_and_goes_on_later(office: Office, registrar: Any, tmp_path: Path) -> None:
    registrar.approves, token = False, registrar.token()
    arguments = ("join", "-", "--dir", str(tmp_path / "device"))
    ended = run(*arguments, "--timeout", "1.5", text=write_token(token))
    assert ended.returncode == 1
    assert "waiting for approval" in ended.stderr
    assert "run the same command again" in ended.stderr.splitlines()[-1]
    assert json.loads(_status(tmp_path / "device"))["membership"] == "pending"
    other = run(*arguments, text=write_token(registrar.token()))
    assert other.returncode == 2
    assert "another token" in other.stderr
    registrar.approves = True
    assert run(*arguments, text=write_token(token)).returncode == 0
    assert len(registrar.devices) == 1


def _status(directory: Path) -> str:
    config = directory / "other.toml"
    config.write_text('[broker]\nhost = "127.0.0.1"\n[data]\npath = "data.csv"\n')
    out: str = run("status", "--config", str(config), "--json").stdout
    config.unlink()
    return out


def test_a_refused_device_can_use_another_token_at_once(office: Office, registrar: Any, tmp_path: Path) -> None:
    expired = registrar.token()
    registrar.refuses[expired.id] = Reason.EXPIRED
    with pytest.raises(TrustError, match="has expired; make another with: fedloom token new"):
        join_here(expired, tmp_path / "device")
    assert join_here(registrar.token(), tmp_path / "device").is_new


def test_silence_is_explained(office: Office, registrar: Any, tmp_path: Path) -> None:
    token = registrar.token()
    foreign = token._replace(federation=b"X" * 16)
    with pytest.raises(NotJoinedError, match="no root document of it"):
        join_here(foreign, tmp_path / "foreign", 0.5)
    registrar.aggregator.registrar_seal = type(registrar.aggregator.registrar_seal).generate(join_suite(registrar))
    with pytest.raises(NotJoinedError, match="no registrar answers; is the aggregator running"):
        join_here(token, tmp_path / "deaf", 0.5)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = token._replace(broker=Broker("127.0.0.1", closed.getsockname()[1], TlsMode.NONE))
        said: list[str] = []
        with pytest.raises(NotJoinedError, match=r"cannot be reached .*refused"):
            join_here(nowhere, tmp_path / "nowhere", 0.5, said=said)
    assert any("trying again" in text for text in said)
    assert not (tmp_path / "nowhere" / "keys").exists()


def join_suite(registrar: Any) -> Any:
    return registrar.aggregator.root.suite


@pytest.mark.parametrize("content", ["", "fedloom1.", "fedloom1.AAAA", "hello", "fedloom1.%%%"])
def test_what_is_no_token_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (tmp_path / "token").write_text(content)
    assert cli.main(["join", str(tmp_path / "token"), "--dir", str(tmp_path / "device")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fedloom-edge: error: token: ")
    assert not (tmp_path / "device").exists()


def test_a_truncated_or_tampered_token_is_not_repeated(
    registrar: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = write_token(registrar.token())
    for wrong in (text[:-3], text[:40] + ("A" if text[40] != "A" else "B") + text[41:]):
        assert cli.main(["join", wrong, "--dir", str(tmp_path / "device")]) == 2
        said = capsys.readouterr().err
        assert "truncated or mistyped" in said
        assert wrong[20:40] not in said
    assert cli.main(["join", "no/such/file", "--dir", str(tmp_path / "device")]) == 2
    assert "neither a token" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "a b", "-x", "x" * 65, "a\nb"])
def test_a_wrong_name_is_one_line(registrar: Any, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert cli.main(["join", write_token(registrar.token()), f"--name={name}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--name" in line


def test_keys_that_others_may_enter_are_refused(office: Office, registrar: Any, tmp_path: Path) -> None:
    registrar.approves, token, directory = False, registrar.token(), tmp_path / "device"
    with pytest.raises(NotJoinedError):
        join_here(token, directory, 0.3)
    registrar.approves = True
    (directory / "keys").chmod(0o755)
    with pytest.raises(TrustError, match="mode 0755 lets others in; run: chmod 700"):
        join_here(token, directory)
    (directory / "keys").chmod(0o700)
    for name in ("signing.key", "seal.key", "tls.key", "root", "token"):
        path = directory / "keys" / name
        path.chmod(0o640)
        with pytest.raises(TrustError, match=f"mode 0640 lets others in; run: chmod 600 {path}"):
            join_here(token, directory)
        path.chmod(0o600)
    assert join_here(token, directory).is_new


def test_two_joins_in_one_directory(office: Office, registrar: Any, tmp_path: Path) -> None:
    directory = JoinDirectory(tmp_path / "device")
    directory.hold()
    with pytest.raises(StoreError, match="another fedloom-edge is joining here"):
        join_here(registrar.token(), tmp_path / "device")
    directory.release()
    assert join_here(registrar.token(), tmp_path / "device").is_new


def test_a_full_disk_is_an_error_and_leaves_no_half_identity(
    office: Office, registrar: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, directory = registrar.token(), tmp_path / "device"
    real, left = os.fsync, 99
    for limit in range(99):
        left = limit

        def failing(descriptor: int) -> None:
            nonlocal left
            if left == 0:
                raise OSError(28, "No space left on device")
            left -= 1
            real(descriptor)

        monkeypatch.setattr(os, "fsync", failing)
        try:
            join_here(token, directory)
            break
        except StoreError as error:
            assert "No space left" in str(error)  # noqa: PT017 - once for each write
        if (directory / "keys").exists():
            there = {path.name for path in (directory / "keys").iterdir()}
            assert there >= {"signing.key", "seal.key", "tls.key", "root", "token", "ca.crt"}
    assert limit > 10
    assert len(registrar.devices) == 1
    assert registrar.alarms == 0


def test_no_secret_is_in_any_word(
    office: Office, registrar: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token, said, errors = registrar.token(), [], []
    office.link.publish(office.topics.enrol_down(token.id), b"junk", retain=True)
    registrar.approves = False
    with pytest.raises(NotJoinedError) as pending:
        join_here(token, tmp_path / "device", 0.3, said=said)
    registrar.approves = True
    join_here(token, tmp_path / "device", said=said)
    with pytest.raises(TrustError) as conflict:
        join_here(token, tmp_path / "thief", said=said)
    errors += [str(pending.value), str(conflict.value)]
    keys = load_device_keys(tmp_path / "device" / "keys")
    words = "\n".join([caplog.text, *said, *errors, repr(token), repr(keys)])
    private = [keys.signing.private, keys.seal.private, token.secret]
    for secret in private:
        assert secret.hex() not in words
        assert repr(secret)[2:-1] not in words
    assert write_token(token)[20:60] not in words
    body = keys.tls.splitlines()[1].decode()
    assert body not in words
    assert "message.refused" in caplog.text
    office.link.publish(office.topics.enrol_down(token.id), b"", retain=True)


class Secured:
    """A broker with TLS whose certificate and authority have odd dates, and no client certificates asked for."""

    def __init__(self, registrar: Any, directory: Path, shift_s: float) -> None:
        aggregator, now_s = registrar.aggregator, time.time()
        aggregator.ca_key, tls_key = new_key(), new_key()
        aggregator.ca = new_authority(aggregator.ca_key, "odd", now_s + shift_s)
        aggregator.roots.clear()
        aggregator.rotate(version=1)
        authority = Authority(aggregator.ca_key, aggregator.ca)
        server = authority.issue(
            public_key_of(tls_key), "broker", now_s + shift_s, now_s + shift_s + 86_400, ("127.0.0.1",)
        )
        directory.mkdir()
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(to_pem(aggregator.ca))
        (directory / "server.pem").write_bytes(to_pem(server))
        (directory / "server.key").write_bytes(tls_key)
        (directory / "server.key").chmod(0o600)
        self.lines = [f"certfile {directory / 'server.pem'}", f"keyfile {directory / 'server.key'}"]


@pytest.fixture(params=[-40 * 366 * 86_400.0, TEN_YEARS_S, 0.0], ids=["ten years late", "ten years early", "right"])
def secured(request: pytest.FixtureRequest, registrar: Any, tmp_path: Path) -> Iterator[tuple[Office, Any]]:
    place = Secured(registrar, tmp_path / "broker", request.param)
    with start_broker(tmp_path / "broker", "mosquitto", place.lines) as broker:
        registrar.aggregator.broker = Broker("127.0.0.1", broker.port, TlsMode.FEDERATION)
        with Office(registrar, broker.port, Tls(ca=str(place.ca), check_dates=False)) as office:
            yield office, registrar


def test_a_clock_ten_years_off_joins_and_trains_over_tls(secured: tuple[Office, Any], tmp_path: Path) -> None:
    office, registrar = secured
    directory, aggregator = tmp_path / "device", registrar.aggregator
    outcome = join_here(registrar.token(), directory)
    rows = (f"{row // 20},{'ab'[row % 2]},{row % 2 + row * 0.001},{-row * 0.001}\n" for row in range(100))
    (directory / "data.csv").write_text("recording,move,ax,ay\n" + "".join(rows))
    keys = load_device_keys(directory / "keys")
    aggregator.device, aggregator.device_signing, aggregator.device_seal = keys.id, keys.signing, keys.seal
    process = start(outcome.config)
    try:
        said = ready(office, keys.id)
        assert (said.state, said.not_after) == ("ready", keys.credential.not_after)
        manifest = aggregator.manifest(Phase.STATISTICS)
        office.link.publish(office.topics.manifest, manifest, retain=True)
        office.link.publish(office.topics.down(keys.id), aggregator.task(manifest, train=False))
        _, update = aggregator.open(office.hear(office.topics.up(keys.id)))
        assert update.samples == 80
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def start(config: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "edge_client", "run", "--config", config]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)


def ready(office: Office, device: bytes) -> Presence:
    """The next thing that a device says of itself."""
    return msgpack.decode(parse(office.hear(office.topics.state(device)), 2**16).clear(), Presence)


def test_a_running_device_is_renewed_and_follows_a_new_root(office: Office, registrar: Any, tmp_path: Path) -> None:
    registrar.not_after, aggregator, directory = 2**30, registrar.aggregator, tmp_path / "device"
    outcome = join_here(registrar.token(), directory)
    keys = load_device_keys(directory / "keys")
    aggregator.device, aggregator.device_signing, aggregator.device_seal = keys.id, keys.signing, keys.seal
    aggregator.tls_key = keys.tls
    process = start(outcome.config)
    try:
        assert ready(office, keys.id).not_after == 2**30
        office.link.publish(office.topics.down(keys.id), aggregator.renewal(2**31))
        assert ready(office, keys.id).not_after == 2**31
        office.link.publish(office.topics.root(2), aggregator.rotate(), retain=True)
        assert ready(office, keys.id).not_after == 2**31
        process.kill()
        process.wait(PATIENCE_S)
        assert load_device_keys(directory / "keys").root.version == 2
        process = start(outcome.config)
        said = ready(office, keys.id)
        while said.state != "ready":  # the will of the process that was killed
            said = ready(office, keys.id)
        assert said.not_after == 2**31
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def test_a_renewed_certificate_is_used_at_the_next_connection(tmp_path: Path) -> None:
    directory, tls_key, server_key = tmp_path / "broker", new_key(), new_key()
    directory.mkdir()
    authorities = []
    for name in ("old", "new"):
        key = new_key()
        authorities.append(Authority(key, new_authority(key, name, time.time())))
    old, new = authorities
    hour = time.time() - 3600, time.time() + 3600
    server = old.issue(public_key_of(server_key), "broker", *hour, ("127.0.0.1",))
    for name, data in {"server.pem": to_pem(server), "server.key": server_key, "tls.key": tls_key}.items():
        (directory / name).write_bytes(data)
        (directory / name).chmod(0o600)
    ca, clients, cert = directory / "ca.pem", directory / "clients.pem", directory / "tls.crt"
    ca.write_bytes(to_pem(old.certificate))

    def become(authority: Authority) -> None:
        """The broker lets in, and the device shows, what this authority has signed."""
        clients.write_bytes(to_pem(authority.certificate))
        cert.write_bytes(to_pem(authority.issue(public_key_of(tls_key), "device", *hour)))

    become(old)
    lines = [
        f"cafile {clients}",
        f"certfile {directory / 'server.pem'}",
        f"keyfile {directory / 'server.key'}",
        "require_certificate true",
    ]
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with start_broker(directory, "mosquitto", lines) as broker:
        tls = Tls(ca=str(ca), cert=str(cert), key=str(directory / "tls.key"))
        link = MqttLink(MqttConfig("127.0.0.1", broker.port, tls=tls), "device", events.put, retry_s=lambda _: 0.05)
        link.start()
        try:
            assert isinstance(events.get(timeout=PATIENCE_S), Connected)
            become(new)
            broker.restart()
            deadline = time.monotonic() + PATIENCE_S
            while not isinstance(events.get(timeout=max(0.0, deadline - time.monotonic())), Connected):
                pass
        finally:
            link.close()


def test_a_broker_of_another_authority_gets_no_request(registrar: Any, tmp_path: Path) -> None:
    place = Secured(registrar, tmp_path / "broker", 0.0)
    tls = Tls(ca=str(place.ca), check_dates=False)
    with (
        start_broker(tmp_path / "broker", "mosquitto", place.lines) as broker,
        Office(registrar, broker.port, tls) as office,
    ):
        # The broker serves the true root document, but its certificate is not of the authority in there.
        registrar.aggregator.ca_key = new_key()
        registrar.aggregator.ca = new_authority(registrar.aggregator.ca_key, "true", time.time())
        document = registrar.aggregator.rotate(version=1)
        office.link.publish(office.topics.root(1), document, retain=True)
        token = registrar.token(broker=Broker("127.0.0.1", broker.port, TlsMode.FEDERATION))
        with pytest.raises(LinkError, match=r"TLS failed.*CERTIFICATE_VERIFY_FAILED.*somebody is in between"):
            join_here(token, tmp_path / "device")
        assert registrar.heard == 0


def test_a_public_authority_that_did_not_sign_is_refused(registrar: Any, tmp_path: Path) -> None:
    place = Secured(registrar, tmp_path / "broker", 0.0)
    with start_broker(tmp_path / "broker", "mosquitto", place.lines) as broker:
        token = registrar.token(broker=Broker("127.0.0.1", broker.port, TlsMode.SYSTEM))
        with pytest.raises(LinkError, match=r"TLS failed.*check this device's clock"):
            join_here(token, tmp_path / "device")


@pytest.mark.parametrize("mode", [TlsMode.FEDERATION, TlsMode.SYSTEM])
def test_tls_to_a_port_without_it_says_so(registrar: Any, mosquitto: Any, tmp_path: Path, mode: TlsMode) -> None:
    token = registrar.token(broker=Broker("127.0.0.1", mosquitto.port, mode))
    with pytest.raises((LinkError, NotJoinedError)) as failed:
        join_here(token, tmp_path / "device", 1.0)
    assert "TLS" in str(failed.value)
    assert not (tmp_path / "device" / "keys").exists()


def test_removing_what_a_join_made_starts_anew(office: Office, registrar: Any, tmp_path: Path) -> None:
    join_here(registrar.token(), tmp_path / "device")
    shutil.rmtree(tmp_path / "device" / "keys")
    assert join_here(registrar.token(), tmp_path / "device").is_new
    assert len(registrar.devices) == 2
