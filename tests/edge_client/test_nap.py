"""A device that sleeps between rounds: when it goes, when it comes back, and that nothing is lost by it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from session_parts import ANSWER, only

from edge_client.config import EdgeConfig, Power
from edge_client.events import Awaken, Publish, Sleep, Stopping, Subscribe, Tick, Trained, Wake
from edge_client.inspection import status
from edge_client.nap import MIN_SLEEP_S
from edge_client.shell import Daemon
from fedloom import msgpack
from fedloom.data.config import SourceConfig
from fedloom.link.base import Received, Token
from fedloom.link.config import MqttConfig
from fedloom.wire.envelope import parse
from fedloom.wire.messages import Presence, Verdict


@pytest.fixture
def sleepy(make_bench: Callable[..., Any]) -> Any:
    """A session that may sleep, and has answered a round."""
    bench = make_bench(sleeps=True)
    bench.up()
    return bench


def answered(aggregator: Any, bench: Any, **receipt: Any) -> list[Any]:
    """Work, answer, and hear the receipt; what came of that."""
    actions = bench.do(Trained(bench.work(), ANSWER))
    topic = aggregator.topics.up(aggregator.device)
    (blob,) = [action.payload for action in only(actions, Publish) if action.topic == topic]
    return list(bench.down(aggregator.receipt(blob, **receipt)))


def states(actions: list[Any], aggregator: Any) -> list[str]:
    topic = aggregator.topics.state(aggregator.device)
    said = [action.payload for action in only(actions, Publish) if action.topic == topic]
    return [msgpack.decode(parse(each, 2**16).clear(), Presence).state for each in said]


@pytest.mark.parametrize("verdict", [Verdict.ACCEPTED, Verdict.DECLINED, Verdict.LATE])
def test_it_says_so_and_goes_when_it_is_not_wanted(aggregator: Any, sleepy: Any, verdict: Verdict) -> None:
    actions = answered(aggregator, sleepy, verdict=verdict, come_back_s=600)
    assert states(actions, aggregator) == ["sleeping"]
    assert [type(action) for action in actions].index(Publish) < [type(each) for each in actions].index(Sleep)
    assert sleepy.session.wake_at_s == sleepy.now_s + 600


def test_it_comes_back_in_time_and_not_before(aggregator: Any, sleepy: Any) -> None:
    answered(aggregator, sleepy, come_back_s=600)
    sleepy.now_s += 599
    assert sleepy.do(Tick()) == []
    sleepy.now_s += 1
    actions = sleepy.do(Tick())
    kinds = [type(action) for action in actions]
    assert kinds.index(Wake) < kinds.index(Subscribe)
    assert kinds.count(Subscribe) == 3
    work = sleepy.work()
    assert work.manifest.version == 2


def test_a_reload_wakes_it_and_stopping_says_nothing_on_a_closed_link(aggregator: Any, sleepy: Any) -> None:
    answered(aggregator, sleepy, come_back_s=600)
    assert sleepy.do(Stopping()) == []
    assert len(only(sleepy.do(Awaken()), Wake)) == 1
    assert sleepy.do(Awaken()) == []
    assert states(sleepy.do(Stopping()), aggregator) == ["disconnected"]


@pytest.mark.parametrize(
    "receipt", [{"come_back_s": MIN_SLEEP_S - 1}, {"come_back_s": 600, "verdict": Verdict.REJECTED}]
)
def test_it_stays_where_that_would_not_pay_or_it_is_wanted(aggregator: Any, sleepy: Any, receipt: Any) -> None:
    assert only(answered(aggregator, sleepy, **receipt), Sleep) == []


def test_it_stays_unless_its_owner_allows_it(aggregator: Any, bench: Any) -> None:
    assert only(answered(aggregator, bench, come_back_s=600), Sleep) == []


def test_a_sleep_is_no_silence_of_the_aggregator(aggregator: Any, sleepy: Any) -> None:
    answered(aggregator, sleepy, come_back_s=2_592_000)
    sleepy.now_s += 2_592_000
    woken = sleepy.do(Tick())
    assert len(only(woken, Wake)) == 1
    assert sleepy.session.wake_at_s > sleepy.now_s


class Line:
    """A link that counts itself, and says nothing."""

    made: ClassVar[list["Line"]] = []

    def __init__(self) -> None:
        self.is_started = self.is_closed = False
        self.made.append(self)

    def start(self) -> None:
        self.is_started = True

    def close(self) -> None:
        self.is_closed = True

    def publish(self, topic: str, payload: bytes, **_: Any) -> None: ...
    def subscribe(self, topic_filter: str, *, renew: bool = False) -> None: ...
    def withdraw(self, topic: str) -> None: ...
    def acknowledge(self, received: Any) -> None: ...
    def queued(self, topic: str) -> int:
        return 0


@pytest.fixture
def daemon(aggregator: Any, tmp_path: Path) -> Any:
    aggregator.write_keys(tmp_path / "keys")
    data = SourceConfig(str(tmp_path / "data.csv"))
    config = EdgeConfig(
        MqttConfig("localhost"),
        data,
        state=str(tmp_path / "state"),
        keys=str(tmp_path / "keys"),
        power=Power(sleep_between_rounds=True),
    )
    Line.made = []
    made = Daemon(config, lambda: config, lambda *_: Line())
    made.config = config
    return made


def test_what_sends_it_to_sleep_is_acknowledged_first(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the broker would bring the receipt again at each awakening, and the device would warn of it."""
    (line,), was_closed = Line.made, []
    monkeypatch.setattr(daemon._session, "handle", lambda *_: [Sleep(60)])
    monkeypatch.setattr(line, "acknowledge", lambda _: was_closed.append(line.is_closed))
    daemon._on_link(Received("down", b"a receipt", False, Token(1, 1)))
    assert was_closed == [False]
    assert line.is_closed


def test_the_daemon_closes_its_link_and_makes_a_new_one(daemon: Any) -> None:
    """Until SIGHUP here; its process stays, and stops at once when it is told to."""
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        daemon._session._nap.until_s = time.monotonic() + 3600
        daemon._bedtime_s = 3600
        daemon._sleep_if_due()
        daemon._effects._directory.sleeping.write(2_000_000_000)
        assert [line.is_closed for line in Line.made] == [True]
        assert status(daemon.config).sleeping_until == "2033-05-18T03:33:20Z"
        daemon.reload()
        deadline_s = time.monotonic() + 10
        while len(Line.made) < 2 or not Line.made[1].is_started:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        assert status(daemon.config).sleeping_until == ""
    finally:
        daemon.stop()
        thread.join(10)
    assert not thread.is_alive()
