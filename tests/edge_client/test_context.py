"""The context of an app on the device: it advances with the answer that the app gave, whatever becomes of that."""

from typing import Any

import pytest
from session_parts import only

from edge_client.events import Answer, StoreOutbox, Train, Trained
from edge_client.rounds import declined
from fedloom.errors import Reason
from fedloom.wire.messages import Closed, Phase, Update, Verdict
from fedloom.wire.model_blob import seal_model

REPLY = Answer(Update(0, 0, 0.0, b"reply", b"", ""), residual=b"context")


def exchange(aggregator: Any, bench: Any, **changes: Any) -> Any:
    """Invite the device to an exchange; returns what it is to do."""
    request = seal_model(b"request", 1, aggregator.model_key)
    manifest = aggregator.manifest(Phase.EXCHANGE, request, **changes)
    task = aggregator.task(manifest, train=False, evaluate=False)
    actions = [*bench.manifest(manifest), *bench.down(task), *bench.chunks(request)]
    (train,) = only(actions, Train)
    return train.work


def answered(bench: Any, work: Any, answer: Answer = REPLY) -> Any:
    (stored,) = only(bench.do(Trained(work, answer)), StoreOutbox)
    return stored.entry


def test_the_request_comes_as_it_was_sealed_and_the_reply_is_an_update(aggregator: Any, bench: Any) -> None:
    work = exchange(aggregator, bench)
    assert (work.model.request, work.residual) == (b"request", b"")
    _, update = aggregator.open(answered(bench, work).blob)
    assert (update.vector, update.declined) == (b"reply", "")


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_context_goes_on_from_the_answer_whatever_the_verdict(
    aggregator: Any, bench: Any, verdict: Verdict
) -> None:
    entry = answered(bench, exchange(aggregator, bench))
    bench.down(aggregator.receipt(entry.blob, verdict))
    assert exchange(aggregator, bench).residual == entry.digest


def test_a_round_that_ends_without_a_receipt_keeps_the_context(aggregator: Any, bench: Any) -> None:
    """The app has run; a server that has stopped waiting does not make that undone."""
    entry = answered(bench, exchange(aggregator, bench))
    assert exchange(aggregator, bench).residual == entry.digest
    assert (bench.state.residual, bench.state.residual_job) == (entry.digest, aggregator.job)


def test_a_round_that_was_aborted_keeps_the_context(aggregator: Any, bench: Any) -> None:
    """As where all the others have stayed silent."""
    entry = answered(bench, exchange(aggregator, bench))
    bench.down(aggregator.receipt(entry.blob))
    assert exchange(aggregator, bench, closes=Closed(1, 1, "aborted")).residual == entry.digest


def test_an_answer_without_a_context_leaves_the_one_before(aggregator: Any, bench: Any) -> None:
    entry = answered(bench, exchange(aggregator, bench))
    bench.down(aggregator.receipt(entry.blob))
    for answer in (declined("the app is not there"), Answer(Update(0, 0, 0.0, b"error", b"", ""))):
        bench.down(aggregator.receipt(answered(bench, exchange(aggregator, bench), answer).blob))
        assert exchange(aggregator, bench).residual == entry.digest


def test_another_run_begins_without_a_context(aggregator: Any, bench: Any) -> None:
    bench.down(aggregator.receipt(answered(bench, exchange(aggregator, bench)).blob))
    aggregator.job = b"K" * 16
    assert exchange(aggregator, bench).residual == b""


def test_an_exchange_without_a_request_is_not_believed(aggregator: Any, bench: Any) -> None:
    manifest = aggregator.manifest(Phase.EXCHANGE)
    assert not only([*bench.manifest(manifest), *bench.down(aggregator.task(manifest))], Train)
    assert bench.session.refusals == {Reason.MALFORMED: 1}
