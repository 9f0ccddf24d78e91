"""What the session does not believe."""

import logging
from typing import Any

import pytest
from session_parts import ANSWER, only

from edge_client.events import (
    Came,
    DropOutbox,
    Log,
    PersistState,
    Trained,
)
from fedloom.errors import Reason
from fedloom.wire.messages import Phase

MAX = 2**20


@pytest.mark.parametrize("back", [1, 2])
def test_an_older_manifest_is_refused(aggregator: Any, bench: Any, back: int) -> None:
    blobs = [aggregator.manifest(Phase.STATISTICS) for _ in range(3)]
    for blob in blobs:
        bench.manifest(blob)
    assert only(bench.manifest(blobs[-1 - back]), PersistState) == []
    assert bench.session.refusals[Reason.OLD] == 1


def test_two_manifests_of_one_version_are_refused_loudly(aggregator: Any, bench: Any) -> None:
    bench.manifest(aggregator.manifest(Phase.STATISTICS))
    actions = bench.manifest(aggregator.manifest(Phase.STATISTICS, version=1, seed=8))
    assert only(actions, PersistState) == []
    assert [log.level for log in only(actions, Log)] == [logging.ERROR]
    assert bench.session.refusals[Reason.CONFLICT] == 1


def test_a_manifest_that_does_not_follow_ours_is_refused(aggregator: Any, bench: Any) -> None:
    bench.manifest(aggregator.manifest(Phase.STATISTICS))
    assert only(bench.manifest(aggregator.manifest(Phase.STATISTICS, previous=b"x" * 32)), PersistState) == []
    assert bench.session.refusals[Reason.CONFLICT] == 1


def test_a_manifest_after_a_gap_is_accepted(aggregator: Any, bench: Any) -> None:
    bench.manifest(aggregator.manifest(Phase.STATISTICS))
    aggregator.manifest(Phase.STATISTICS)
    assert only(bench.manifest(aggregator.manifest(Phase.STATISTICS)), PersistState)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"phase": Phase.TRAIN}, Reason.MALFORMED),
        ({"round_key": b"short"}, Reason.MALFORMED),
        ({"deadline_s": float("nan")}, Reason.MALFORMED),
        ({"suite": 2}, Reason.UNKNOWN_SUITE),
    ],
)
def test_a_manifest_that_cannot_be_followed_is_refused(
    aggregator: Any, bench: Any, changes: dict[str, Any], reason: Reason
) -> None:
    assert only(bench.manifest(aggregator.manifest(**({"phase": Phase.STATISTICS} | changes))), PersistState) == []
    assert bench.session.refusals == {reason: 1}


def test_every_flipped_byte_of_a_manifest_is_refused(aggregator: Any, bench: Any) -> None:
    blob = aggregator.manifest(Phase.STATISTICS)
    for place in range(len(blob)):
        bench.manifest(blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :])
    assert sum(bench.session.refusals.values()) == len(blob)
    assert bench.session.would_accept(blob)


def test_strangers_are_refused(aggregator: Any, bench: Any) -> None:
    stranger = type(aggregator)()
    stranger.federation = aggregator.federation
    bench.manifest(stranger.manifest(Phase.STATISTICS))
    assert bench.session.refusals == {Reason.UNKNOWN_KEY: 1}
    stranger.id = b"S" * 16
    bench.manifest(stranger.manifest(Phase.STATISTICS))
    assert bench.session.refusals[Reason.UNKNOWN_SENDER] == 1


def test_a_task_for_another_device_is_refused(aggregator: Any, bench: Any) -> None:
    manifest = aggregator.manifest(Phase.STATISTICS)
    bench.manifest(manifest)
    topic = aggregator.topics.down(aggregator.device)
    aggregator.device = b"E" * 16
    bench.do(Came(topic, aggregator.task(manifest)))
    assert bench.session.refusals == {Reason.WRONG_RECIPIENT: 1}


def test_a_receipt_for_another_digest_is_ignored(aggregator: Any, bench: Any) -> None:
    bench.do(Trained(bench.work(), ANSWER))
    assert only(bench.down(aggregator.receipt(aggregator.manifest(Phase.STATISTICS))), DropOutbox) == []
    assert bench.session.refusals == {Reason.OLD: 1}


def test_a_flood_of_rubbish_is_counted_and_hardly_logged(aggregator: Any, bench: Any) -> None:
    logs = 0
    for _ in range(1000):
        logs += len(bench.manifest(b"rubbish"))
    assert bench.session.refusals == {Reason.MALFORMED: 1000}
    assert logs <= 10
