"""The session's decisions, one by one."""

from collections.abc import Callable
from typing import Any

import msgspec
from session_parts import ANSWER, only

from aggregator.assembler import Assembler
from edge_client.events import (
    Abandon,
    Action,
    Answer,
    Came,
    Connected,
    Disconnected,
    DropOutbox,
    Finished,
    Log,
    PersistState,
    Publish,
    PublishFrame,
    SaveModel,
    Started,
    Stopping,
    StoreOutbox,
    Subscribe,
    Tick,
    Train,
    Trained,
    Unsubscribe,
)
from edge_client.rounds import declined
from fedloom import msgpack
from fedloom.errors import Reason
from fedloom.wire.envelope import parse
from fedloom.wire.messages import Phase, Presence, Verdict

MAX = 2**20


def sent_updates(aggregator: Any, actions: list[Action]) -> list[bytes]:
    return [each.payload for each in only(actions, Publish) if each.topic == aggregator.topics.up(aggregator.device)]


def test_start_reserves_numbers_and_subscribes(aggregator: Any, make_bench: Callable[..., Any]) -> None:
    actions = make_bench().do(Started())
    state = only(actions, PersistState)[-1].state
    assert (state.sequence, state.root_version) == (1000, 1)
    topics = aggregator.topics
    filters = (topics.all_roots, topics.manifest, topics.down(aggregator.device))
    assert only(actions, Subscribe) == [Subscribe(each) for each in filters]


def test_presence_is_outranked_by_the_will_of_its_connection(aggregator: Any, bench: Any) -> None:
    sequences = []
    for _ in range(3):
        will = bench.session.will()
        (ready,) = only(bench.do(Connected(MAX)), Publish)
        assert ready.retain
        assert ready.topic == will.topic == aggregator.topics.state(aggregator.device)
        first, last = parse(ready.payload, MAX), parse(will.payload, MAX)
        assert msgpack.decode(first.clear(), Presence).state == "ready"
        assert msgpack.decode(last.clear(), Presence).state == "lost"
        sequences += [first.header.sequence, last.header.sequence]
    (goodbye,) = only(bench.do(Stopping()), Publish)
    envelope = parse(goodbye.payload, MAX)
    assert msgpack.decode(envelope.clear(), Presence).state == "disconnected"
    sequences.append(envelope.header.sequence)
    assert sequences == sorted(set(sequences))


def test_numbers_are_reserved_before_the_block_is_used_up(bench: Any) -> None:
    marks = []
    for _ in range(600):
        marks += [action.state.sequence for action in only(bench.do(Connected(MAX)), PersistState)]
        last = parse(bench.session.will().payload, MAX).header.sequence
    assert marks
    assert last < marks[-1]


def test_a_round_from_manifest_to_receipt(aggregator: Any, bench: Any) -> None:
    model = aggregator.model()
    manifest = aggregator.manifest(model=model)
    accepted = bench.manifest(manifest)
    (persist,) = only(accepted, PersistState)
    assert persist.state.manifest_version == 1
    assert persist.state.manifest_hash == parse(manifest, MAX).digest
    assert only(accepted, Train) == []
    assert only(bench.down(aggregator.task(manifest)), Subscribe) == [
        Subscribe(aggregator.topics.chunk(model.ref.cipher_hash, 0), renew=False)
    ]
    complete = bench.chunks(model)
    assert only(complete, Unsubscribe)
    (train,) = only(complete, Train)
    assert train.work.model is not None
    assert not train.work.model.weights.any()
    answered = bench.do(Trained(train.work, ANSWER))
    (blob,) = sent_updates(aggregator, answered)
    envelope, update = aggregator.open(blob)
    assert update == ANSWER.update
    assert (envelope.header.job, envelope.header.round, envelope.header.attempt) == (aggregator.job, 1, 1)
    assert envelope.header.manifest == parse(manifest, MAX).digest
    assert envelope.header.encoding == 1
    ended = bench.down(aggregator.receipt(blob))
    assert only(ended, DropOutbox) == [DropOutbox(envelope.digest)]
    (persist,) = only(ended, PersistState)
    assert (persist.state.residual, persist.state.residual_job) == (envelope.digest, aggregator.job)
    assert bench.session._delivery.resend_at_s is None


def test_an_update_is_stored_before_it_is_published(bench: Any) -> None:
    actions = bench.do(Trained(bench.work(), ANSWER))
    kinds = [type(action) for action in actions]
    assert kinds.index(StoreOutbox) < kinds.index(Publish)


def test_a_task_may_come_before_its_manifest(aggregator: Any, bench: Any) -> None:
    manifest = aggregator.manifest(Phase.STATISTICS)
    assert only(bench.down(aggregator.task(manifest)), Train) == []
    assert len(only(bench.manifest(manifest), Train)) == 1


def test_the_task_of_the_end_may_come_before_its_manifest_which_bears_the_number_of_the_final_evaluation(
    aggregator: Any, bench: Any
) -> None:
    model = aggregator.model()
    bench.manifest(aggregator.manifest(Phase.EVALUATE, model, round=9))
    end = aggregator.manifest(Phase.DONE, model, round=9)
    bench.down(aggregator.task(end))
    assert only([*bench.manifest(end), *bench.chunks(model)], SaveModel)


def test_a_late_copy_of_an_older_task_does_not_displace_an_early_one(aggregator: Any, bench: Any) -> None:
    first, second = aggregator.manifest(Phase.STATISTICS), aggregator.manifest(Phase.STATISTICS)
    bench.manifest(first)
    early = aggregator.task(second)
    bench.down(early)
    bench.down(aggregator.task(first))
    assert len(only(bench.manifest(second), Train)) == 1


def test_only_an_accepted_update_makes_its_residual_current(aggregator: Any, bench: Any) -> None:
    for verdict in (Verdict.REJECTED, Verdict.LATE, Verdict.DECLINED):
        (blob,) = sent_updates(aggregator, bench.do(Trained(bench.work(), ANSWER)))
        assert only(bench.down(aggregator.receipt(blob, verdict, "no")), DropOutbox)
        assert bench.state is not None
        assert bench.state.residual == b""


def test_a_new_manifest_ends_what_was_under_way(aggregator: Any, bench: Any) -> None:
    work = bench.work()
    assert only(bench.manifest(aggregator.manifest(Phase.STATISTICS)), Abandon)
    assert bench.do(Trained(work, ANSWER)) == []
    bench.do(Trained(bench.work(), ANSWER))
    assert only(bench.manifest(aggregator.manifest(Phase.STATISTICS)), DropOutbox)


def test_a_repeated_task_neither_trains_twice_nor_after_the_receipt(aggregator: Any, bench: Any) -> None:
    manifest = aggregator.manifest(Phase.STATISTICS)
    task = aggregator.task(manifest)
    bench.manifest(manifest)
    (train,) = only(bench.down(task), Train)
    assert only(bench.down(task), Train) == []
    (blob,) = sent_updates(aggregator, bench.do(Trained(train.work, ANSWER)))
    assert only(bench.down(task), Train) == []
    bench.down(aggregator.receipt(blob))
    assert only([*bench.down(task), *bench.manifest(manifest)], Train) == []


def test_an_update_is_sent_again_until_its_receipt(aggregator: Any, bench: Any) -> None:
    (blob,) = sent_updates(aggregator, bench.do(Trained(bench.work(), ANSWER)))
    waits = []
    for _ in range(8):
        assert bench.session.wake_at_s is not None
        assert sent_updates(aggregator, bench.do(Tick())) == []
        waits.append(bench.session.wake_at_s - bench.now_s)
        bench.now_s = bench.session.wake_at_s
        assert sent_updates(aggregator, bench.do(Tick())) == [blob]
    assert waits == sorted(waits)
    assert waits[-1] < 130.0


def test_nothing_is_sent_without_a_connection(aggregator: Any, bench: Any) -> None:
    work = bench.work()
    bench.do(Disconnected())
    actions = bench.do(Trained(work, ANSWER))
    assert only(actions, StoreOutbox)
    assert sent_updates(aggregator, actions) == []
    assert bench.session._delivery.resend_at_s is None
    assert len(sent_updates(aggregator, bench.do(Connected(MAX)))) == 1


def test_an_update_larger_than_a_frame_is_split(aggregator: Any, bench: Any) -> None:
    big = msgspec.structs.replace(ANSWER.update, vector=bytes(5000))
    work = bench.work()
    bench.do(Disconnected(), Connected(1500))
    actions = bench.do(Trained(work, Answer(big)))
    (store,), pieces = only(actions, StoreOutbox), only(actions, PublishFrame)
    frames = [each.header + store.entry.blob[each.start : each.start + each.length] for each in pieces]
    assert len(frames) > 1
    assert all(len(frame) <= 1500 for frame in frames)
    assembler = Assembler(MAX, 1)
    whole = [blob for frame in frames if (blob := assembler.accept(frame)) is not None]
    assert aggregator.open(whole[0])[1] == big


def test_a_restart_sends_the_same_bytes_and_trains_no_more(
    aggregator: Any, bench: Any, make_bench: Callable[..., Any]
) -> None:
    model = aggregator.model()
    manifest = aggregator.manifest(model=model)
    task = aggregator.task(manifest)
    bench.manifest(manifest), bench.down(task)
    (train,) = only(bench.chunks(model), Train)
    (store,) = only(bench.do(Trained(train.work, ANSWER)), StoreOutbox)
    again = make_bench(bench.state, (store.entry,))
    assert sent_updates(aggregator, again.up()) == [store.entry.blob]
    assert only([*again.manifest(manifest), *again.down(task)], Train) == []
    again.down(aggregator.receipt(store.entry.blob))
    assert again.state is not None
    assert again.state.residual == store.entry.digest
    assert again.state.sequence > (bench.state.sequence if bench.state else 0)


def test_a_restart_drops_the_updates_of_closed_rounds(
    aggregator: Any, bench: Any, make_bench: Callable[..., Any]
) -> None:
    (store,) = only(bench.do(Trained(bench.work(), ANSWER)), StoreOutbox)
    bench.manifest(aggregator.manifest(Phase.STATISTICS))
    again = make_bench(bench.state, (store.entry,))
    actions = again.up()
    assert only(actions, DropOutbox) == [DropOutbox(store.entry.digest)]
    assert sent_updates(aggregator, actions) == []


def test_a_known_model_is_not_fetched_again(aggregator: Any, bench: Any) -> None:
    bench.work()
    manifest = aggregator.manifest(model=aggregator.model())
    bench.manifest(manifest)
    actions = bench.down(aggregator.task(manifest))
    assert only(actions, Subscribe) == []
    assert len(only(actions, Train)) == 1


def test_chunks_that_do_not_come_are_asked_for_again(aggregator: Any, bench: Any) -> None:
    model = aggregator.model()
    manifest = aggregator.manifest(model=model)
    bench.manifest(manifest), bench.down(aggregator.task(manifest))
    topic = aggregator.topics.chunk(model.ref.cipher_hash, 0)
    bench.do(Came(topic, b"something else"))
    assert bench.session.refusals == {Reason.WRONG_LENGTH: 1}
    assert bench.session.wake_at_s is not None
    bench.now_s = bench.session.wake_at_s
    assert len(only(bench.do(Tick()), Subscribe)) == 1
    assert len(only(bench.chunks(model), Train)) == 1


def test_a_model_above_the_bound_is_declined(aggregator: Any, make_bench: Callable[..., Any]) -> None:
    bench = make_bench(max_model_bytes=10)
    bench.up()
    manifest = aggregator.manifest(model=aggregator.model())
    bench.manifest(manifest)
    (blob,) = sent_updates(aggregator, bench.down(aggregator.task(manifest)))
    assert "limits.max_model_bytes = 10" in aggregator.open(blob)[1].declined


def test_a_model_that_does_not_open_is_declined(aggregator: Any, bench: Any) -> None:
    model = aggregator.model()
    manifest = aggregator.manifest(model=model)
    aggregator.model_key = b"x" * 32
    bench.manifest(manifest), bench.down(aggregator.task(manifest))
    (blob,) = sent_updates(aggregator, bench.chunks(model))
    assert "cannot be opened" in aggregator.open(blob)[1].declined


def test_an_update_above_the_bound_is_declined(aggregator: Any, make_bench: Callable[..., Any]) -> None:
    bench = make_bench(max_outbox_bytes=1000)
    bench.up()
    big = msgspec.structs.replace(ANSWER.update, vector=bytes(2000))
    actions = bench.do(Trained(bench.work(), Answer(big)))
    (blob,) = sent_updates(aggregator, actions)
    assert "limits.max_outbox_bytes = 1000" in aggregator.open(blob)[1].declined
    assert len(only(actions, StoreOutbox)) == 1


def test_a_long_reason_is_cut() -> None:
    assert len(declined("x" * 1000).update.declined) == 300


def test_the_final_model_is_saved_once(aggregator: Any, bench: Any, make_bench: Callable[..., Any]) -> None:
    model = aggregator.model(2, 0.5)
    manifest = aggregator.manifest(Phase.DONE, model)
    bench.manifest(manifest), bench.down(aggregator.task(manifest, train=False, evaluate=False))
    actions = bench.chunks(model)
    kinds = [type(action) for action in actions]
    assert kinds.index(SaveModel) < kinds.index(PersistState) < kinds.index(Finished)
    again = make_bench(bench.state)
    again.up()
    assert [type(action) for action in again.manifest(manifest)] == [Log, Finished]
