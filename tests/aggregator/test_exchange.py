"""Rounds that an app asks for: who is invited, what comes back, and what becomes of letters that nobody answers."""

import msgspec
import numpy as np
import pytest
from messenger import App, again, answer, killed_app, reply, request

from aggregator import events as ev
from aggregator.config import Limits
from aggregator.exchange.errands import NODE_UNAVAILABLE, UNKNOWN
from aggregator.exchange.journal import Recalled
from aggregator.exchange.letters import Letter
from aggregator.notices import Done, RoundClosed, UpdateSeen
from edge_client.flower.runner import AROUND_BYTES
from fedloom import msgpack
from fedloom.command import main
from fedloom.errors import StoreError
from fedloom.wire import records
from fedloom.wire.messages import MAX_TEXT, Phase, Update, Verdict
from fedloom.wire.model_blob import open_plain
from fedloom.wire.records import Array, ArrayRecord, MetricRecord, Reply


@pytest.fixture
def app(make_rig):
    app = App(make_rig())
    app.boot()
    return app


def test_nothing_is_opened_before_the_app_asks(app):
    app.rig.work()
    assert all(device.manifest is None for device in app.rig.devices)


def test_a_request_is_sealed_once_for_all_and_each_reply_comes_back(app):
    ids = app.ask()
    device = app.rig.devices[0]
    manifest, task = device.manifest, device.task()
    assert (manifest.phase, manifest.deadline_s, task.train, task.evaluate) == (Phase.EXCHANGE, 60.0, False, False)
    chunks = [app.rig.retained[device.topics.chunk(manifest.model.cipher_hash, n)] for n in range(1)]
    assert open_plain(b"".join(chunks), manifest.model, task.model_key) == request()
    for each in reversed(app.rig.devices):
        assert not app.settled
        answer(app, each)
    assert app.settled == {id_: reply(device.number) for id_, device in zip(ids, app.rig.devices, strict=True)}
    assert all(app.rig.verdicts(each) == [Verdict.ACCEPTED] for each in app.rig.devices)
    assert app.rig.told(RoundClosed)[0].outcome == "done"


def test_the_largest_reply_that_a_device_may_send_is_taken(make_rig):
    rig = make_rig(devices=1)
    limits = Limits(max_update_bytes=8192)
    config = msgspec.structs.replace(rig.config.config, limits=limits)
    rig.config = msgspec.structs.replace(rig.config, config=config)
    app = App(rig)
    app.boot()
    (id_,) = app.ask()
    device = rig.devices[0]
    most = device.task().max_update_bytes
    assert most == 8192
    empty = len(records.encode(Reply({"a": ArrayRecord({"w": Array.of(np.zeros(0, np.int8))})})))
    large = Reply({"a": ArrayRecord({"w": Array.of(np.ones(most - AROUND_BYTES - empty - 3, np.int8))})})
    assert most - 8 < len(records.encode(large)) + AROUND_BYTES <= most
    answer(app, device, large)
    assert app.settled[id_] == large


def test_a_round_of_messages_cannot_be_fused_again(app, capsys):
    app.ask()
    for each in app.rig.devices:
        answer(app, each)
    config = app.rig.directory / "aggregator.toml"
    config.write_text('job = "job.toml"\n[broker]\nhost = "localhost"\n')
    assert main(["round", "verify", "flower-an-app", "1", "--config", str(config)]) == 2
    said = capsys.readouterr().err
    assert "round 1 has carried an app's messages: nothing of it was fused; see: fedloom round show" in said


def test_a_round_is_only_for_whom_it_asks(app):
    app.ask(app.rig.devices[1])
    assert [device.task() is not None for device in app.rig.devices] == [False, True, False]


def test_other_requests_wait_for_their_round_and_the_same_ones_travel_together(app):
    first, second, third = app.rig.devices
    (one,) = app.ask(first)
    (two,) = app.ask(second, blob=request(2.0))
    (three,) = app.ask(third, blob=request(2.0))
    assert second.task() is None
    answer(app, first)
    assert set(app.settled) == {one}
    for device in (second, third):
        assert device.task()
        answer(app, device)
    assert set(app.settled) == {one, two, three}
    assert len(app.rig.told(RoundClosed)) == 2


def test_each_content_has_a_round_of_its_own(app):
    first, second, third = app.rig.devices
    ids = app.ask(first) + app.ask(second, blob=request(2.0)) + app.ask(third, blob=request(3.0))
    for device, id_ in zip(app.rig.devices, ids, strict=True):
        assert [each.task() is not None for each in app.rig.devices] == [each is device for each in app.rig.devices]
        answer(app, device)
        assert app.settled[id_] == reply(device.number)


def test_a_device_that_is_asked_the_same_twice_is_asked_in_two_rounds(app):
    device = app.rig.devices[0]
    ids = app.ask(device, device)
    for number, id_ in enumerate(ids, 1):
        answer(app, device, reply(number))
        assert app.settled[id_] == reply(number)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Reply({"m": MetricRecord({"loss": float("nan")})}), "the reply was refused: non_finite: m.loss"),
        (b"\xc1", "the reply was refused: malformed"),
        (Reply({"a": ArrayRecord({"w": Array("float32", (9,), b"")})}), "the reply was refused: wrong_length"),
    ],
)
def test_a_reply_that_is_not_believed_becomes_an_error(app, said, words):
    first, *others = app.rig.devices
    id_ = app.ask()[0]
    answer(app, first, vector=said if isinstance(said, bytes) else records.encode(said))
    for each in others:
        answer(app, each)
    assert app.settled[id_].content is None
    assert app.settled[id_].code == UNKNOWN
    assert app.settled[id_].reason.startswith(words)
    assert app.rig.verdicts(first) == [Verdict.REJECTED]


@pytest.mark.parametrize(
    "content",
    [
        {"\x1b[2J": ["metrics", {"\r\n": float("nan")}]},
        {"m": ["\x1b[2J", {}]},
        {"a": ["arrays", {"w": ["x" * 100_000, [1], b""]}]},
    ],
)
def test_the_operator_is_shown_no_control_sequences_and_no_more_than_a_line_of_a_reply(app, content):
    device = app.rig.devices[0]
    app.ask()
    answer(app, device, vector=msgpack.encode([content]))
    (seen,) = app.rig.told(UpdateSeen)
    assert seen.verdict is Verdict.REJECTED
    assert seen.reason.isprintable()
    assert len(seen.reason) <= MAX_TEXT


def test_errors_of_the_app_and_devices_that_decline_are_told_apart(app):
    first, second, third = app.rig.devices
    ids = app.ask()
    answer(app, first, Reply(None, 2, "ValueError"))
    answer(app, second, declined="there is no app", vector=b"")
    answer(app, third)
    expected = [Reply(None, 2, "ValueError"), Reply(None, NODE_UNAVAILABLE, "there is no app"), reply(2)]
    assert [app.settled[each] for each in ids] == expected


def test_a_reply_of_another_kind_is_refused(app):
    first = app.rig.devices[0]
    app.ask()
    app.rig.send(first, first.update(Update(0, 0, 0.0, records.encode(reply(1)), b"", ""), encoding=1))
    app.rig.work()
    assert app.rig.verdicts(first) == [Verdict.REJECTED]


def test_what_has_come_is_returned_when_the_app_waits_no_longer(app):
    first = app.rig.devices[0]
    ids = app.ask()
    answer(app, first)
    app.rig.handle(ev.Withdrawn(frozenset(ids)))
    app.rig.work()
    assert app.settled == {ids[0]: reply(0), ids[1]: None, ids[2]: None}


def test_nobody_answers_in_time(app):
    ids = app.ask(timeout_s=5.0)
    app.rig.now_s += 5.0
    app.rig.handle(ev.Tick())
    app.rig.work()
    assert app.settled == dict.fromkeys(ids)
    app.ask()
    assert app.rig.devices[0].manifest.closes.outcome == "aborted"


def test_a_letter_that_is_withdrawn_before_its_round_opens_none(app):
    first, second, _ = app.rig.devices
    app.ask(first)
    (id_,) = app.ask(second, blob=request(2.0))
    app.rig.handle(ev.Withdrawn(frozenset({id_})))
    assert app.settled == {id_: None}
    answer(app, first)
    assert len(app.rig.told(RoundClosed)) == 1
    assert second.task() is None


def test_letters_withdrawn_while_their_round_is_made_durable_end_it(app):
    letter = Letter("x", app.rig.devices[0].id, request(), 60.0)
    app.rig.handle(ev.Asked((letter,)))
    app.rig.handle(ev.Withdrawn(frozenset({"x"})))
    app.rig.work()
    assert app.settled == {"x": None}
    assert len(app.rig.told(RoundClosed)) == 1


def test_devices_that_are_not_known_are_answered_for_at_once(app):
    (id_,) = app.ask(b"?" * 16)
    assert app.settled[id_].code == NODE_UNAVAILABLE


def revoke(app, device):
    records = app.rig.parts.archive.store.devices()
    revoked = [each._replace(revoked=True) if each.id == device.id else each for each in records]
    app.rig.handle(ev.FleetChanged(tuple(revoked), frozenset()))
    app.rig.work()


def test_nobody_waits_for_a_device_that_is_revoked_meanwhile(app):
    first, second, third = app.rig.devices
    ids = app.ask()
    answer(app, first)
    revoke(app, second)
    assert not app.settled
    answer(app, third)
    assert [app.settled[each].content is None for each in ids] == [False, True, False]
    assert app.settled[ids[1]].code == NODE_UNAVAILABLE


def test_a_device_that_is_revoked_last_ends_its_round(app):
    first, second, third = app.rig.devices
    (one, two) = app.ask(first, second)
    (later,) = app.ask(second, blob=request(2.0))
    answer(app, first)
    revoke(app, second)
    assert (app.settled[one], app.settled[two].code, app.settled[later].code) == (
        reply(0),
        NODE_UNAVAILABLE,
        NODE_UNAVAILABLE,
    )
    app.ask(third)
    assert third.task()


def test_letters_that_wait_for_sleepers_are_looked_at_again_when_those_are_due(app, monkeypatch):
    pace, due_s = app.rig.parts.core.coordinator._pace, app.rig.now_s + 7.0
    monkeypatch.setattr(pace, "awaits", lambda now_s: due_s if now_s < due_s else None)
    device = app.rig.devices[0]
    app.ask(device)
    assert (device.task(), app.wakes[-1]) == (None, due_s)
    app.rig.now_s = due_s
    app.rig.handle(ev.Tick())
    app.rig.work()
    assert device.task()


def test_a_device_that_comes_later_is_invited_then(app):
    device = app.rig.devices[0]
    app.rig.leave(device)
    app.ask(device, app.rig.devices[1])
    assert device.task() is None
    app.rig.ready(device)
    assert device.task()


def test_the_end_is_told_to_all_devices(app):
    app.ask()
    app.rig.handle(ev.Ended())
    app.rig.work()
    assert all(device.manifest.phase is Phase.DONE for device in app.rig.devices)
    assert app.rig.told(Done)[0].model == ""
    app.rig.leave()
    assert app.rig.finished


def test_a_new_run_ends_the_round_that_a_killed_one_has_left_open(app):
    """Its replies are of no use to an app that begins again: devices hear that it was aborted."""
    app.ask()
    answer(app, app.rig.devices[0])
    app.rig.crash()
    app.settled.clear()
    app.boot()
    ids = app.ask()
    manifest = app.rig.devices[0].manifest
    assert (manifest.closes.outcome, manifest.round) == ("aborted", 1)
    for device in app.rig.devices:
        answer(app, device)
    assert set(app.settled) == set(ids)


@pytest.fixture
def killed(make_rig):
    return killed_app(make_rig)


def test_a_run_that_goes_on_tells_the_app_what_it_was_told(killed):
    killed.boot(resume=True)
    told, left = again(killed)
    outcomes = [reply(0), Reply(None, 2, "ValueError"), None]
    assert list(told.values()) == [Recalled(each) for each in outcomes]
    assert left == []
    assert all(again(killed)[0][device] is None for device in killed.rig.devices)  # each answer is given once


def test_the_round_that_was_open_goes_on_with_its_answers(killed):
    job = killed.rig.devices[0].manifest.job
    killed.boot(resume=True)
    assert again(killed, request(2.0))[1] == killed.rig.devices
    ids = killed.ask(blob=request(2.0))
    assert killed.rig.devices[1].task()
    assert killed.rig.devices[0].manifest.job == job
    for device in killed.rig.devices[1:]:
        answer(killed, device)
    assert killed.settled == {ids[0]: reply(7), ids[1]: reply(1), ids[2]: reply(2)}
    killed.ask(blob=request(3.0))
    assert killed.rig.devices[0].manifest.round == 3


def test_that_round_has_its_deadline_again(killed):
    killed.wakes.clear()
    killed.boot(resume=True)
    assert killed.rig.now_s + 60.0 in killed.wakes


def test_that_round_may_be_over_before_the_app_asks_again(killed):
    killed.boot(resume=True)
    for device in killed.rig.devices[1:]:
        answer(killed, device)
    ids = killed.ask(blob=request(2.0))
    assert killed.settled == {ids[0]: reply(7), ids[1]: reply(1), ids[2]: reply(2)}


def test_that_round_ends_when_the_app_asks_something_else(killed):
    killed.boot(resume=True)
    killed.ask(blob=request(9.0))
    manifest = killed.rig.devices[0].manifest
    assert (manifest.round, manifest.closes.round) == (3, 2)


def test_a_second_kill_loses_nothing_either(killed):
    killed.boot(resume=True)
    for device in killed.rig.devices[1:]:
        answer(killed, device)
    killed.rig.crash()
    killed.boot(resume=True)
    assert again(killed)[0][killed.rig.devices[0]] == Recalled(reply(0))
    assert list(again(killed, request(2.0))[0].values()) == [Recalled(reply(n)) for n in (7, 1, 2)]


def test_a_kill_between_the_journal_and_the_database_changes_nothing(killed):
    """The round is open still, whatever the journal says of it."""
    killed.boot(resume=True)
    for device in killed.rig.devices[1:]:
        killed.rig.send(device, device.update(Update(0, 0, 0.0, records.encode(reply(device.number)), b"", "")))
    while not isinstance(killed.rig.orders[0], ev.Turn):
        killed.rig.work_once()
    killed.journal.write(killed.rig.orders[0].entry)
    killed.rig.crash()
    killed.boot(resume=True)
    ids = killed.ask(blob=request(2.0))
    killed.rig.work()
    assert again(killed, request(2.0))[1] == killed.rig.devices
    assert killed.settled == {ids[0]: reply(7), ids[1]: reply(1), ids[2]: reply(2)}


def test_a_run_without_its_whole_journal_begins_anew(killed):
    next((killed.rig.state / "exchange").glob("*/*.told")).unlink()
    killed.boot(resume=True)
    killed.ask()
    assert killed.rig.devices[0].manifest.round == 1


def test_a_run_that_is_over_is_not_carried_on(app):
    app.rig.crash()
    app.boot(resume=True)
    app.rig.handle(ev.Ended())
    app.rig.work()
    job = app.rig.devices[0].manifest.job
    app.rig.crash()
    app.boot(resume=True)
    app.ask()
    assert app.rig.devices[0].manifest.job != job


def test_a_journal_that_is_damaged_is_told(killed):
    path = next((killed.rig.state / "exchange").glob("*/*.request"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreError, match="without --resume a new run begins"):
        killed.boot(resume=True)
