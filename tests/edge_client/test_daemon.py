"""The real process, on a real broker."""

import json
import os
import queue
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aggregator.assembler import Assembler
from fedloom import msgpack
from fedloom.learning.model_file import load
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser
from fedloom.link.base import Connected, Event, Received
from fedloom.link.config import MqttConfig
from fedloom.link.mqtt import MqttLink
from fedloom.wire.chunks import Transfer, is_frame, is_question, read_question
from fedloom.wire.envelope import parse
from fedloom.wire.messages import Phase, Presence, Update
from fedloom.wire.model_blob import SealedModel, plain_model, seal_model
from simulation.broker import start_broker

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
BIG = ModelSpec(inputs=2, outputs=2, hidden=(700, 700))
"""2 MB: 21 chunks, and more frames than are sent before anything is asked."""
FORBIDDEN = ("asyncio", "flwr", "torch", "pydantic", "sqlalchemy", "typer", "rich", "concurrent", "difflib")


def big_model(aggregator: Any) -> SealedModel:
    plan = Standardiser(np.zeros(2, np.float32), np.ones(2, np.float32))
    weights = np.full(BIG.layout().size, 0.01, np.float32)
    return seal_model(plain_model(weights, plan), 1, aggregator.model_key)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Process:
    """`python -m edge_client run`, its standard error read line by line."""

    def __init__(self, config: Path, *options: str, python: tuple[str, ...] = (), **environment: str) -> None:
        command = [
            sys.executable,
            *python,
            "-m",
            "edge_client",
            "run",
            "--config",
            str(config),
            "--log-level",
            "debug",
            *options,
        ]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environment, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._coming: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self._coming.put(line)
        self._coming.put("")

    def wait_for(self, text: str) -> str:
        """The first line from here on that holds `text`."""
        deadline = time.monotonic() + PATIENCE_S
        while (left_s := deadline - time.monotonic()) > 0.0:
            try:
                line = self._coming.get(timeout=left_s)
            except queue.Empty:
                break
            self.lines.append(line)
            if text in line:
                return line
            if not line:
                break
        raise AssertionError(f"no {text!r} in:\n{''.join(self.lines)}")

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        while not self._coming.empty():
            self.lines.append(self._coming.get())
        self.lines = [line for line in self.lines if line]
        return status


class Ears:
    """The aggregator's end of the broker."""

    def __init__(self, aggregator: Any, port: int) -> None:
        self.aggregator, self.topics = aggregator, aggregator.topics
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.link = MqttLink(MqttConfig("127.0.0.1", port), f"ears-{aggregator.federation.hex()}", self.events.put)
        self.link.subscribe(self.topics.all_up)
        self.link.subscribe(self.topics.all_states)
        self.link.start()
        while not isinstance(self.events.get(timeout=PATIENCE_S), Connected):
            pass
        self.assembler = Assembler(2**26, 4)

    def update(self) -> tuple[bytes, Update]:
        """The next update."""
        while True:
            payload = self._next(self.topics.up(self.aggregator.device))
            blob = self.assembler.accept(payload) if is_frame(payload) else payload
            if blob is not None:
                return blob, self.aggregator.open(blob)[1]

    def question(self) -> Transfer:
        """The next question about frames."""
        while not is_question(payload := self._next(self.topics.up(self.aggregator.device))):
            pass
        return read_question(payload, 2**26)

    def frame(self) -> bytes:
        """The next frame."""
        while not is_frame(payload := self._next(self.topics.up(self.aggregator.device))):
            pass
        return payload

    def wait_for(self, state: str) -> None:
        """Until the device has said this of itself: when it says `ready` its subscriptions stand."""
        while True:
            payload = self._next(self.topics.state(self.aggregator.device))
            if msgpack.decode(parse(payload, 2**16).clear(), Presence).state == state:
                return

    def _next(self, topic: str) -> bytes:
        deadline = time.monotonic() + PATIENCE_S
        while (left_s := deadline - time.monotonic()) > 0.0:
            event = self.events.get(timeout=left_s)
            if isinstance(event, Received):
                self.link.acknowledge(event)
                if event.topic == topic and event.payload:
                    return event.payload
        raise AssertionError(f"nothing came on {topic}")

    def announce(self, phase: Phase, model: Any = None, **changes: Any) -> bytes:
        """Open a round with the device."""
        if model is not None:
            for number in range(len(model.ref.chunk_hashes)):
                chunk = self.topics.chunk(model.ref.cipher_hash, number)
                self.link.publish(chunk, model.chunk(number), retain=True)
        return self.invite(phase, model, **changes)

    def invite(self, phase: Phase, model: Any = None, **changes: Any) -> bytes:
        """Publish a manifest and the device's task; the chunks are somebody else's."""
        manifest: bytes = self.aggregator.manifest(phase, model, **changes)
        self.link.publish(self.topics.manifest, manifest, retain=True)
        self.down(self.aggregator.task(manifest, train=phase is Phase.TRAIN, evaluate=phase is not Phase.DONE))
        return manifest

    def down(self, blob: bytes) -> None:
        self.link.publish(self.topics.down(self.aggregator.device), blob)


@pytest.fixture
def config(aggregator: Any, tmp_path: Path, mosquitto: Any) -> Path:
    """A device whose data has two classes that a line separates."""
    aggregator.write_keys(tmp_path / "keys")
    rows = (f"{row // 20},{'ab'[row % 2]},{row % 2 + row * 0.001},{-row * 0.001}\n" for row in range(100))
    (tmp_path / "data.csv").write_text("recording,move,ax,ay\n" + "".join(rows))
    path = tmp_path / "edge.toml"
    path.write_text(f'[broker]\nhost = "127.0.0.1"\nport = {mosquitto.port}\n[data]\npath = "data.csv"\n')
    return path


@pytest.fixture
def ears(aggregator: Any, mosquitto: Any) -> Iterator[Ears]:
    ears = Ears(aggregator, mosquitto.port)
    yield ears
    for topic in (ears.topics.manifest, ears.topics.state(aggregator.device)):
        ears.link.publish(topic, b"", retain=True)
    ears.link.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    processes: list[Process] = []

    def run(*arguments: Any, **options: Any) -> Process:
        processes.append(Process(*arguments, **options))
        return processes[-1]

    yield run
    for each in processes:
        each.end(signal.SIGKILL)


@pytest.mark.broker
def test_a_job_from_statistics_to_the_final_model(
    aggregator: Any, ears: Ears, config: Path, start: Callable[..., Process]
) -> None:
    process = start(config, "--exit-when-done")
    ears.wait_for("ready")
    ears.announce(Phase.STATISTICS)
    blob, update = ears.update()
    assert (update.samples, update.declined) == (80, "")
    moments = np.frombuffer(update.vector, "<f8")
    assert moments[0] == 80
    ears.down(aggregator.receipt(blob))
    process.wait_for("receipt.came verdict=accepted")
    ears.announce(Phase.TRAIN, aggregator.model())
    blob, update = ears.update()
    assert update.samples == 80
    assert np.frombuffer(update.vector, "<f4").any()
    assert np.frombuffer(update.metrics, "<f8")[0] == 20
    ears.down(aggregator.receipt(blob))
    ears.announce(Phase.DONE, aggregator.model(2, 0.5))
    process.wait_for("model.saved")
    assert process.end(0) == 0
    assert (load(config.parent / "state" / "model.fedloom").weights == np.float32(0.5)).all()


@pytest.mark.broker
def test_sigkill_with_an_update_in_the_outbox_loses_nothing(
    aggregator: Any, ears: Ears, config: Path, start: Callable[..., Process]
) -> None:
    process = start(config)
    ears.wait_for("ready")
    ears.announce(Phase.STATISTICS)
    first, _ = ears.update()
    process.end(signal.SIGKILL)
    process = start(config)
    again, _ = ears.update()
    assert again == first
    ears.down(aggregator.receipt(again))
    process.wait_for("receipt.came verdict=accepted")
    assert process.end() == 0
    ears.wait_for("disconnected")
    assert list((config.parent / "state" / "outbox").iterdir()) == []


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_sigkill_in_a_download_and_in_an_upload_goes_on_where_it_was(
    aggregator: Any, ears: Ears, config: Path, start: Callable[..., Process], protocol: str
) -> None:
    model = big_model(aggregator)
    chunks = [ears.topics.chunk(model.ref.cipher_hash, number) for number in range(len(model.ref.chunk_hashes))]
    for number in range(10):
        ears.link.publish(chunks[number], model.chunk(number), retain=True)
    process = start(config, FEDLOOM_EDGE__BROKER__PROTOCOL=f"'{protocol}'")
    ears.wait_for("ready")
    manifest = ears.invite(Phase.TRAIN, model, spec=BIG)
    process.wait_for(f"model.fetching missing={len(chunks)} ")
    file = config.parent / "state" / "download" / model.ref.cipher_hash.hex()
    wait_until(lambda: file.exists() and file.read_bytes() == model.cipher[: 10 * model.ref.chunk_bytes])
    process.end(signal.SIGKILL)
    for number, topic in enumerate(chunks):  # what it has, it can have from nobody any more
        ears.link.publish(topic, b"" if number < 10 else model.chunk(number), retain=True)
    wait_until(lambda: not sum(map(ears.link.queued, chunks)))
    process = start(config, FEDLOOM_EDGE__BROKER__PROTOCOL=f"'{protocol}'")
    ears.wait_for("ready")
    ears.down(aggregator.task(manifest))
    process.wait_for(f"model.fetching missing={len(chunks) - 10} ")

    transfer = ears.question()
    ears.down(aggregator.missing(transfer, range(7)))
    frames = [ears.frame() for _ in range(7)]
    assert ears.question() == transfer
    process.end(signal.SIGKILL)
    process = start(config, FEDLOOM_EDGE__BROKER__PROTOCOL=f"'{protocol}'")
    while ears.question() != transfer:
        pass
    ears.down(aggregator.missing(transfer, range(7, transfer.frames)))
    process.wait_for(f"update.sends missing={transfer.frames - 7} ")
    frames += [ears.frame() for _ in range(7, transfer.frames)]
    taker = Assembler(2**26, 1)
    blobs = [taker.accept(frame) for frame in frames]  # each once
    assert aggregator.open(blobs[-1])[1].samples == 80
    ears.down(aggregator.receipt(blobs[-1]))
    process.wait_for("receipt.came verdict=accepted")
    assert process.end() == 0


@pytest.mark.broker
def test_sigterm_during_training_ends_at_once(ears: Ears, config: Path, start: Callable[..., Process]) -> None:
    process = start(config, "--log-level", "debug")
    ears.wait_for("ready")
    ears.announce(Phase.TRAIN, ears.aggregator.model(), plan=_endless())
    process.wait_for("work.begun")
    began_s = time.monotonic()
    assert process.end() == 0
    assert time.monotonic() - began_s < 5.0
    assert any("edge.stopping" in line for line in process.lines)


@pytest.mark.broker
def test_a_newer_manifest_ends_training(ears: Ears, config: Path, start: Callable[..., Process]) -> None:
    process = start(config)
    ears.wait_for("ready")
    ears.announce(Phase.TRAIN, ears.aggregator.model(), plan=_endless())
    process.wait_for("work.begun")
    ears.announce(Phase.STATISTICS)
    process.wait_for("work.interrupted")
    assert ears.update()[1].samples == 80
    assert process.end() == 0


@pytest.mark.broker
def test_bad_data_declines_and_a_reload_mends_it(ears: Ears, config: Path, start: Callable[..., Process]) -> None:
    good = (config.parent / "data.csv").read_text()
    (config.parent / "data.csv").write_text(good.replace(",a,", ",zebra,", 1))
    process = start(config)
    ears.wait_for("ready")
    ears.announce(Phase.STATISTICS)
    first, update = ears.update()
    reason = update.declined
    assert "line 2, column 'move'" in reason
    assert "zebra" not in reason  # what the data holds stays on the device
    process.wait_for("round.declined")
    (config.parent / "data.csv").write_text(good)
    text = config.read_text()
    config.write_text("nonsense = 1\n" + text)
    process.process.send_signal(signal.SIGHUP)
    assert "nonsense" in process.wait_for("config.refused")
    config.write_text(text)
    process.process.send_signal(signal.SIGHUP)
    process.wait_for("config.reloaded")
    ears.announce(Phase.STATISTICS)
    blob, update = ears.update()
    while blob == first:  # it has no receipt, so it may have been sent again
        blob, update = ears.update()
    assert update.declined == ""
    assert process.end() == 0


@pytest.mark.broker
def test_the_running_daemon_has_loaded_nothing_heavy(config: Path, start: Callable[..., Process]) -> None:
    process = start(config, python=("-X", "importtime"))
    process.wait_for("link.up")
    assert process.end() == 0
    loaded = {line.rpartition("|")[2].strip() for line in process.lines if line.startswith("import time:")}
    assert "edge_client.shell" in loaded
    assert {name for name in loaded if name.partition(".")[0] in FORBIDDEN} == set()
    assert {name for name in loaded if name.startswith(("cryptography.x509", "edge_client.join"))} == set()


@pytest.mark.broker
def test_two_daemons_cannot_share_a_state_directory(config: Path, start: Callable[..., Process]) -> None:
    first = start(config)
    first.wait_for("link.up")
    second = start(config)
    assert second.end(0) == 1
    (line,) = second.lines
    assert re.match(r"fedloom-edge: error: .*another fedloom-edge is using this state directory", line)
    assert first.end() == 0


@pytest.mark.broker
def test_a_broker_that_refuses_is_one_line(config: Path, tmp_path: Path, start: Callable[..., Process]) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    passwords.chmod(0o600)
    lines = ("allow_anonymous false", f"password_file {passwords}")
    with start_broker(tmp_path, "mosquitto", lines) as broker:
        process = start(config, "--log-level", "error", FEDLOOM_EDGE__BROKER__PORT=str(broker.port))
        assert process.end(0) == 1  # not 2, which the unit takes for final: it may be somebody in the broker's place
    (line,) = process.lines
    assert line.startswith(f"fedloom-edge: error: 127.0.0.1:{broker.port}: the broker refuses us")
    assert list((tmp_path / "state" / "outbox").iterdir()) == []


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_disk_that_fails_is_told_to_the_aggregator(
    ears: Ears, config: Path, start: Callable[..., Process], protocol: str
) -> None:
    process = start(config, FEDLOOM_EDGE__BROKER__PROTOCOL=f"'{protocol}'")
    ears.wait_for("ready")
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (0, 0))
    ears.announce(Phase.STATISTICS)
    ears.wait_for("disconnected")
    assert process.end(0) == 1
    assert "cannot be written" in process.lines[-1]


@pytest.mark.broker
@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_what_is_no_host_name_is_one_line(config: Path, start: Callable[..., Process], host: str) -> None:
    process = start(config, "--log-level", "error", FEDLOOM_EDGE__BROKER__HOST=host)
    assert process.end(0) == 1
    (line,) = process.lines
    assert "is not a host name" in line


@pytest.mark.broker
def test_logs_can_be_json(config: Path, start: Callable[..., Process]) -> None:
    process = start(config, "--json")
    line = json.loads(process.wait_for("edge.ready"))
    assert (line["event"], line["level"], len(line["device"])) == ("edge.ready", "info", 32)
    assert process.end(signal.SIGINT) == 0


def _endless() -> TrainPlan:
    return TrainPlan(loss="cross_entropy", batch_size=1, local_epochs=10**9)
