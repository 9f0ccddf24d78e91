"""Error feedback belongs to a job: what one job's encoding has lost must not leak into another's update."""

from typing import Any

from edge_client.events import Answer, StoreOutbox, Train, Trained
from fedloom.wire.messages import Closed, Phase, Update, Verdict

ANSWER = Answer(Update(8, 1, 0.5, b"\0" * 24, b"", ""), 1, b"residual")


def test_a_residual_is_handed_to_its_own_job_only(aggregator: Any, bench: Any) -> None:
    first = bench.work()
    assert first.residual == b""
    (stored,) = [a for a in bench.do(Trained(first, ANSWER)) if isinstance(a, StoreOutbox)]
    bench.down(aggregator.receipt(stored.entry.blob))
    assert bench.work().residual == stored.entry.digest
    aggregator.job = b"K" * 16
    manifest = aggregator.manifest(Phase.STATISTICS)
    actions = [*bench.manifest(manifest), *bench.down(aggregator.task(manifest))]
    (work,) = [action.work for action in actions if isinstance(action, Train)]
    assert work.residual == b""


def test_a_residual_whose_update_has_no_receipt_is_never_counted_twice(aggregator: Any, bench: Any) -> None:
    """The update may have been accepted, and its receipt lost: the residual that it carried is in the model then."""
    (stored,) = [a for a in bench.do(Trained(bench.work(), ANSWER)) if isinstance(a, StoreOutbox)]
    bench.down(aggregator.receipt(stored.entry.blob))
    spent = bench.work()
    assert spent.residual == stored.entry.digest
    bench.do(Trained(spent, ANSWER))  # no receipt comes
    assert bench.work().residual == b""
    assert (bench.state.residual, bench.state.residual_job) == (b"", b"")


def test_a_round_that_was_not_answered_leaves_the_residual_alone(aggregator: Any, bench: Any) -> None:
    (stored,) = [a for a in bench.do(Trained(bench.work(), ANSWER)) if isinstance(a, StoreOutbox)]
    bench.down(aggregator.receipt(stored.entry.blob))
    bench.work()  # never done
    assert bench.work().residual == stored.entry.digest
    bench.do(Trained(bench.work(), Answer(Update(8, 0, 0.0, b"", b"", "no data"))))  # declined: carries no residual
    assert bench.work().residual == stored.entry.digest


def test_an_update_that_comes_rounds_late_takes_its_residual_with_it(aggregator: Any, bench: Any) -> None:
    """Its first copy may have been accepted: after two rounds the aggregator says `late` to every other copy."""
    (stored,) = [a for a in bench.do(Trained(bench.work(), ANSWER)) if isinstance(a, StoreOutbox)]
    bench.down(aggregator.receipt(stored.entry.blob))
    (again,) = [a for a in bench.do(Trained(bench.work(), ANSWER)) if isinstance(a, StoreOutbox)]
    bench.down(aggregator.receipt(again.entry.blob, Verdict.LATE))
    assert bench.work().residual == b""


def test_what_was_lost_of_an_attempt_that_was_aborted_is_not_added_to_the_next(aggregator: Any, bench: Any) -> None:
    """A job that waits for its quorum would have each try's loss added up, and make one huge step in the end."""
    (stored,) = [a for a in bench.do(Trained(bench.work(), ANSWER)) if isinstance(a, StoreOutbox)]
    bench.down(aggregator.receipt(stored.entry.blob))
    assert bench.work(closes=Closed(1, 1, "aborted")).residual == b""
    assert (bench.state.residual, bench.state.residual_job, bench.state.residual_manifest) == (b"", b"", b"")


def test_an_attempt_in_which_this_device_had_no_update_leaves_the_residual_alone(aggregator: Any, bench: Any) -> None:
    (stored,) = [a for a in bench.do(Trained(bench.work(), ANSWER)) if isinstance(a, StoreOutbox)]
    bench.down(aggregator.receipt(stored.entry.blob))
    assert bench.work(closes=Closed(1, 1, "done")).residual == stored.entry.digest
    assert bench.work(closes=Closed(2, 1, "aborted")).residual == stored.entry.digest
