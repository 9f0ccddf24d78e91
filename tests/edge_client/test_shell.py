"""The daemon in this process, on a link in memory."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_client.config import EdgeConfig
from edge_client.outbox import StateDirectory
from edge_client.shell import Daemon, open_session
from fedloom import msgpack
from fedloom.data.config import SourceConfig
from fedloom.errors import StoreError
from fedloom.link.base import Event, Received
from fedloom.link.config import MqttConfig
from fedloom.link.memory import MemoryBroker, MemoryLink
from fedloom.trust.device_keys import load_device_keys
from fedloom.wire.envelope import parse
from fedloom.wire.messages import Phase, Presence


class Link(MemoryLink):
    """Hears at its start all that the broker has for it."""

    def __init__(self, *arguments: Any, before: Callable[[], None], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._before = before

    def start(self) -> None:
        super().start()
        self._before()
        self._broker.run()


@pytest.fixture
def config(aggregator: Any, tmp_path: Path) -> EdgeConfig:
    aggregator.write_keys(tmp_path / "keys")
    data = SourceConfig(str(tmp_path / "data.csv"))
    return EdgeConfig(MqttConfig("localhost"), data, state=str(tmp_path / "state"), keys=str(tmp_path / "keys"))


def test_a_disk_that_fails_is_told_to_the_aggregator(aggregator: Any, config: EdgeConfig) -> None:
    broker, heard = MemoryBroker(), list[Event]()
    ears = MemoryLink(broker, "ears", heard.append)
    ears.subscribe(aggregator.topics.all_states)
    ears.start()
    broker.run()
    ears.publish(aggregator.topics.manifest, aggregator.manifest(Phase.STATISTICS), retain=True)
    daemon = Daemon(
        config,
        lambda: config,
        lambda _, name, tell, will: Link(broker, name, tell, will=will, before=lambda: shutil.rmtree(config.state)),
    )
    with pytest.raises(StoreError, match="cannot be written"):
        daemon.run()
    broker.run()
    envelopes = [parse(event.payload, 2**16) for event in heard if isinstance(event, Received)]
    assert [msgpack.decode(each.clear(), Presence).state for each in envelopes] == ["ready", "disconnected"]
    assert envelopes[0].header.sequence < envelopes[1].header.sequence < 1000  # none that the disk does not know


def test_a_state_that_was_lost_with_the_clock_set_back_is_outranked(
    config: EdgeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, given = load_device_keys(Path(config.keys)), []
    for clock_s in (1_700_000_000.0, 1_600_000_000.0, 1_600_000_000.5):
        monkeypatch.setattr("time.time", lambda now_s=clock_s: now_s)
        directory = StateDirectory(Path(config.state))
        directory.hold()
        given.append(open_session(config, keys, directory)._turn.state.incarnation)
        directory.release()
        shutil.rmtree(config.state)
    assert given == [1_700_000_000, 1_700_000_001, 1_700_000_002]


def test_reading_and_evaluating_feed_the_watchdog(config: EdgeConfig) -> None:
    daemon = Daemon(config, lambda: config, lambda _, name, tell, will: MemoryLink(MemoryBroker(), name, tell))
    assert daemon._trainer(daemon._config.data)._alive == daemon._notifier.alive
    daemon.stop()
    daemon.run()  # lets go of the state directory
