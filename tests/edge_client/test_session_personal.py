"""The end of a personal job: the federation's model is saved at once, then this device's own is made."""

from collections.abc import Callable
from typing import Any

from session_parts import ANSWER, only

from edge_client.events import (
    Abandon,
    Action,
    Finished,
    Log,
    PersistState,
    SaveModel,
    SavePersonal,
    StoreOutbox,
    Train,
    Trained,
    Work,
)
from edge_client.rounds import declined
from fedloom.learning.personal import Personal
from fedloom.wire.messages import Phase

TUNE = Personal(method="fine_tune", epochs=3)


def end(aggregator: Any, bench: Any) -> tuple[bytes, list[Action]]:
    """The job is over, and the device gets its final model."""
    model = aggregator.model(2, 0.5)
    manifest = aggregator.manifest(Phase.DONE, model, personal=TUNE)
    bench.manifest(manifest)
    bench.down(aggregator.task(manifest, train=False, evaluate=False))
    return manifest, bench.chunks(model)


def work_in(actions: list[Action]) -> Work:
    (train,) = only(actions, Train)
    return train.work


def test_the_own_model_is_made_after_the_final_one_is_safe_and_before_the_job_is_over(
    aggregator: Any, bench: Any
) -> None:
    _, actions = end(aggregator, bench)
    kinds = [type(action) for action in actions]
    assert kinds.index(SaveModel) < kinds.index(Train)
    assert not only(actions, Finished)
    made = bench.do(Trained(work_in(actions), ANSWER._replace(personal=b"file")))
    assert [type(action) for action in made] == [SavePersonal, PersistState, Finished]
    assert only(made, SavePersonal) == [SavePersonal(b"file")]


def test_a_device_that_dies_while_it_makes_it_does_so_again(
    aggregator: Any, bench: Any, make_bench: Callable[..., Any]
) -> None:
    manifest, _ = end(aggregator, bench)
    again = make_bench(bench.state)
    again.up()
    assert not only(again.manifest(manifest), Finished)
    again.down(aggregator.task(manifest, train=False, evaluate=False))
    actions = again.chunks(aggregator.model(2, 0.5))
    assert only(actions, SaveModel)
    made = again.do(Trained(work_in(actions), ANSWER._replace(personal=b"file")))
    assert only(made, SavePersonal)
    third = make_bench(again.state)
    third.up()
    assert [type(action) for action in third.manifest(manifest)] == [Log, Finished]


def test_a_job_is_over_where_it_cannot_be_made(aggregator: Any, bench: Any) -> None:
    _, actions = end(aggregator, bench)
    made = bench.do(Trained(work_in(actions), declined("the data is gone")))
    assert not only(made, SavePersonal)
    assert [each.args for each in only(made, Log) if "personal.failed" in each.text] == [("the data is gone",)]
    assert only(made, Finished)


def test_the_next_job_does_not_wait_for_it(aggregator: Any, bench: Any) -> None:
    _, actions = end(aggregator, bench)
    late = work_in(actions)
    aggregator.job = b"N" * 16
    assert only(bench.manifest(aggregator.manifest(Phase.STATISTICS)), Abandon)
    assert only(bench.do(Trained(late, ANSWER._replace(personal=b"file"))), SavePersonal) == []


def test_a_personal_model_goes_to_disk_with_its_update(bench: Any) -> None:
    (stored,) = only(bench.do(Trained(bench.work(), ANSWER._replace(personal=b"file"))), StoreOutbox)
    assert stored.personal == b"file"


def test_an_update_that_is_too_large_takes_no_personal_model_along(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(max_outbox_bytes=100)
    bench.up()
    (stored,) = only(bench.do(Trained(bench.work(), ANSWER._replace(personal=b"file"))), StoreOutbox)
    assert stored.personal is None
