"""What a device does when newer manifests of an asynchronous job come while it works, or waits for a receipt."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from session_parts import ANSWER, only

from edge_client.events import Abandon, DropOutbox, Finished, Publish, StoreOutbox, Train, Trained, Work
from edge_client.state import OUTBOX_MAGIC, OutboxEntry, from_bytes, to_bytes
from fedloom.wire.messages import Phase, Verdict

STALENESS = 2


@pytest.fixture
def say(aggregator: Any, bench: Any) -> Callable[..., tuple[bytes, list[Any]]]:
    """Open a round and invite the device to it; returns the manifest, and what the device wants done."""

    def open_(phase: Phase = Phase.TRAIN, **changes: Any) -> tuple[bytes, list[Any]]:
        staleness = {"max_staleness": STALENESS if phase is Phase.TRAIN else 0}
        model = aggregator.model(aggregator.version, float(aggregator.version))
        manifest = aggregator.manifest(phase, model, **(staleness | changes))
        actions = [*bench.manifest(manifest), *bench.down(aggregator.task(manifest)), *bench.chunks(model)]
        return manifest, actions

    return open_


def begun(actions: list[Any]) -> Work:
    (train,) = only(actions, Train)
    return train.work


def sent(actions: list[Any]) -> bytes:
    return only(actions, Publish)[-1].payload


def test_work_goes_on_and_the_newest_round_is_next(aggregator: Any, bench: Any, say: Any) -> None:
    _, actions = say()
    work = begun(actions)
    for _ in range(STALENESS):
        _, actions = say()
        assert only(actions, Abandon) == only(actions, Train) == []
    blob = sent(bench.do(Trained(work, ANSWER)))
    assert aggregator.open(blob)[0].header.manifest == work.manifest_hash
    assert only(bench.down(aggregator.receipt(blob)), DropOutbox)
    model = aggregator.model(2, 2.0)  # its chunks came while nobody wanted them
    assert begun(bench.chunks(model)).manifest.version == 1 + STALENESS


@pytest.mark.parametrize("ending", ["too old", "another phase", "another job", "synchronous"])
def test_work_that_counts_no_more_is_abandoned(aggregator: Any, bench: Any, say: Any, ending: str) -> None:
    work = begun(say()[1])
    if ending == "too old":
        say()
        say()
        ended = say()[1]
    elif ending == "another job":
        aggregator.job = b"K" * 16
        ended = say()[1]
    else:
        ended = say(Phase.EVALUATE)[1] if ending == "another phase" else say(max_staleness=0)[1]
    assert only(ended, Abandon)
    assert begun(ended).manifest.version == aggregator.version
    assert bench.do(Trained(work, ANSWER)) == []


def test_training_is_interrupted_only_by_a_manifest_that_ends_it(aggregator: Any, bench: Any, say: Any) -> None:
    say()
    newer = [aggregator.manifest(model=aggregator.model(), max_staleness=STALENESS) for _ in range(STALENESS + 1)]
    assert [bench.session.would_accept(each) for each in newer] == [False] * STALENESS + [True]


def test_an_update_waits_for_its_receipt_beside_newer_manifests(aggregator: Any, bench: Any, say: Any) -> None:
    blob = sent(bench.do(Trained(begun(say()[1]), ANSWER)))
    for _ in range(STALENESS):
        _, actions = say()
        assert only(actions, DropOutbox) == only(actions, Train) == []
    assert bench.state.residual == b""
    (entry,) = [bench.session._delivery.entry]
    bench.down(aggregator.receipt(blob))
    assert bench.state.residual == entry.digest
    assert begun(bench.chunks(aggregator.model(2, 2.0))).residual == entry.digest


def test_an_update_that_counts_no_more_goes_with_its_residual(bench: Any, say: Any) -> None:
    bench.do(Trained(begun(say()[1]), ANSWER))
    for _ in range(STALENESS):
        say()
    _, actions = say()
    assert only(actions, DropOutbox)
    assert begun(actions).residual == b""


def test_an_update_waits_over_a_restart(aggregator: Any, bench: Any, say: Any, make_bench: Any) -> None:
    (stored,) = only(bench.do(Trained(begun(say()[1]), ANSWER)), StoreOutbox)
    manifest, _ = say()
    again = make_bench(bench.state, (stored.entry,))
    assert sent(again.up()) == stored.entry.blob
    assert only(again.manifest(manifest), DropOutbox) == []
    again.down(aggregator.task(manifest))
    assert only(again.down(aggregator.receipt(stored.entry.blob)), DropOutbox)
    assert begun(again.chunks(aggregator.model(1, 1.0))).manifest.version == 2


def test_of_two_updates_the_newer_one_waits(aggregator: Any, bench: Any, say: Any, make_bench: Any) -> None:
    """The process died before it could drop the older one, whose receipt had come."""
    (old,) = only(bench.do(Trained(begun(say()[1]), ANSWER)), StoreOutbox)
    bench.down(aggregator.receipt(old.entry.blob))
    (new,) = only(bench.do(Trained(begun(say()[1]), ANSWER)), StoreOutbox)
    for entries in ((old.entry, new.entry), (new.entry, old.entry)):
        actions = make_bench(bench.state, entries).up()
        assert only(actions, DropOutbox) == [DropOutbox(old.entry.digest)]
        assert sent(actions) == new.entry.blob


def test_an_update_of_another_job_goes_when_the_manifest_is_heard_again(
    aggregator: Any, bench: Any, say: Any, make_bench: Any
) -> None:
    """The process died before it could drop it: it cannot tell before it hears the manifest."""
    (stored,) = only(bench.do(Trained(begun(say()[1]), ANSWER)), StoreOutbox)
    aggregator.job = b"K" * 16
    manifest, _ = say()
    again = make_bench(bench.state, (stored.entry,))
    again.up()
    assert only(again.manifest(manifest), DropOutbox)


def test_the_end_of_the_job_ends_all(aggregator: Any, bench: Any, say: Any) -> None:
    bench.do(Trained(begun(say()[1]), ANSWER))
    _, actions = say(Phase.DONE)
    assert only(actions, DropOutbox)
    assert only(actions, Finished)


@pytest.mark.parametrize("verdict", [Verdict.LATE, Verdict.REJECTED])
def test_a_residual_in_an_update_that_was_not_accepted_is_not_used_again(
    aggregator: Any, bench: Any, say: Any, verdict: Verdict
) -> None:
    """It may have been accepted once, so long ago that the aggregator does not know any more."""
    bench.down(aggregator.receipt(sent(bench.do(Trained(begun(say()[1]), ANSWER)))))
    assert bench.state.residual
    bench.down(aggregator.receipt(sent(bench.do(Trained(begun(say()[1]), ANSWER))), verdict))
    assert begun(say()[1]).residual == bench.state.residual == b""


def test_an_outbox_entry_of_the_version_before_is_read(tmp_path: Any) -> None:
    entry = OutboxEntry(b"d" * 32, b"m" * 32, b"J" * 16, True, b"blob")
    content = to_bytes(OUTBOX_MAGIC, entry)
    assert from_bytes(OUTBOX_MAGIC, content, OutboxEntry, tmp_path, "") == entry
    fields = list(msgspec.structs.astuple(entry))[:-1]
    old = OUTBOX_MAGIC + msgspec.msgpack.encode(fields)
    assert from_bytes(OUTBOX_MAGIC, old + sha256(old).digest(), OutboxEntry, tmp_path, "") == entry
