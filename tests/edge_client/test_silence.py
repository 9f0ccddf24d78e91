"""A broker that freezes: the device notices that a round's time is over and nothing new has come."""

import logging
from pathlib import Path
from typing import Any

import pytest
from session_parts import ANSWER

from edge_client.events import Action, Came, Heard, Log, Publish, Silent, Tick, Trained
from edge_client.outbox import StateDirectory
from edge_client.silence import GRACE_S
from fedloom.wire.messages import Phase

DEADLINE_S = 100.0
PERIOD_S = DEADLINE_S + GRACE_S


def notices(actions: list[Action]) -> list[Log]:
    return [each for each in actions if isinstance(each, Log) and each.text.startswith("aggregator.silent")]


def wait(bench: Any, seconds: float) -> list[Action]:
    """Time passes; the session is woken when it wants to be."""
    until_s, actions = bench.now_s + seconds, []
    while (due := bench.session.wake_at_s) is not None and due <= until_s:
        bench.now_s = max(due, bench.now_s)
        actions += bench.do(Tick())
    bench.now_s = until_s
    return actions


@pytest.fixture
def manifest(aggregator: Any, bench: Any) -> bytes:
    """Of an open round."""
    blob: bytes = aggregator.manifest(Phase.STATISTICS, deadline_s=DEADLINE_S)
    bench.manifest(blob)
    return blob


def test_silence_is_told_of_the_1st_2nd_4th_8th_time(bench: Any, manifest: bytes) -> None:
    assert notices(wait(bench, PERIOD_S - 1.0)) == []
    actions = wait(bench, 1.0)
    (notice,) = notices(actions)
    assert (notice.level, notice.args) == (logging.WARNING, (PERIOD_S, 1))
    assert [each.seconds for each in actions if isinstance(each, Silent)] == [PERIOD_S]
    later = notices(wait(bench, 15 * PERIOD_S))
    assert [notice.args[1] for notice in later] == [2, 4, 8, 16]


def test_a_new_manifest_ends_it_and_a_repeated_one_does_not(aggregator: Any, bench: Any, manifest: bytes) -> None:
    wait(bench, PERIOD_S)
    assert Heard() not in bench.manifest(manifest)
    task = aggregator.task(manifest)
    assert Heard() not in [*bench.down(task), *bench.down(task)]
    assert Heard() in bench.manifest(aggregator.manifest(Phase.STATISTICS, deadline_s=DEADLINE_S))
    assert notices(wait(bench, PERIOD_S - 1.0)) == []
    assert len(notices(wait(bench, 1.0))) == 1


def test_a_receipt_is_a_word_once(aggregator: Any, bench: Any) -> None:
    actions = bench.do(Trained(bench.work(), ANSWER))
    (blob,) = [each.payload for each in actions if isinstance(each, Publish)]
    receipt = aggregator.receipt(blob)
    bench.session._silence.opened(DEADLINE_S, bench.now_s)
    wait(bench, PERIOD_S)
    assert Heard() in bench.down(receipt)
    assert Heard() not in bench.down(receipt)


def test_nobody_is_waited_for_when_the_job_is_over(aggregator: Any, bench: Any, manifest: bytes) -> None:
    bench.manifest(aggregator.manifest(Phase.DONE, aggregator.model(), deadline_s=DEADLINE_S))
    bench.session._fetch.cancel()
    assert notices(wait(bench, 1000 * PERIOD_S)) == []


@pytest.mark.parametrize("deadline_s", [-1e308, 0.0, 1e308])
def test_strange_deadlines_neither_spin_nor_fail(aggregator: Any, bench: Any, deadline_s: float) -> None:
    bench.manifest(aggregator.manifest(Phase.STATISTICS, deadline_s=deadline_s))
    for _ in range(50):
        if bench.session.wake_at_s is None or bench.session.wake_at_s > 1e9:
            break
        before, bench.now_s = bench.now_s, bench.session.wake_at_s
        bench.do(Tick())
        assert bench.now_s >= before + GRACE_S


def test_a_device_that_trained_past_the_deadline_listens_first(aggregator: Any, bench: Any) -> None:
    work = bench.work()
    bench.session._silence.opened(DEADLINE_S, bench.now_s)
    bench.now_s += 10 * PERIOD_S
    actions = [*bench.do(Trained(work, ANSWER)), *bench.do(Tick())]
    assert notices(actions) == []
    new = aggregator.manifest(Phase.STATISTICS)
    assert notices(bench.do(Came(aggregator.topics.manifest, new), Tick())) == []


def test_the_note_stays_over_a_restart_until_something_new_comes(tmp_path: Path, aggregator: Any, bench: Any) -> None:
    directory = StateDirectory(tmp_path / "state")
    directory.hold()
    assert directory.silent.read() is None
    directory.silent.write(1_900_000_000.5)
    assert directory.silent.read() == 1_900_000_000
    assert Heard() in bench.manifest(aggregator.manifest(Phase.STATISTICS))  # the first new word of a process
    directory.silent.write(None)
    directory.silent.write(None)
    assert directory.silent.read() is None
    directory.silent.write(-5.0)
    assert directory.silent.read() == -5
    directory.release()
