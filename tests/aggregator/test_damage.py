"""Damaged files: always found, kept beside their place, made again where possible, and never left out silently."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aggregator import history, past_rounds, spool
from aggregator.damage import DamagedError, quarantine
from aggregator.notices import RoundClosed, RoundOpened
from aggregator.records import Answer, CurrentModel, NewModel
from aggregator.registry import Registry
from aggregator.spool import Spool
from fedloom import msgpack
from fedloom.errors import StoreError
from fedloom.job import load_job
from fedloom.wire.messages import Closed, Update, Verdict
from fedloom.wire.model_blob import model_hash

JOB = 'name = "line"\n[model]\ninputs = 3\noutputs = 1\n[data]\nfeatures = ["a","b","c"]\ntarget = "y"\n'
JOB += '[training]\nloss = "mse"\n[rounds]\ncount = 2\ndevices = 2\n'


def answer(number):
    body = msgpack.encode(Update(number, 1, 0.5, bytes(range(20)), b"m" * 48, ""))
    return Answer(bytes([number]) * 16, bytes(32), Verdict.ACCEPTED, "", samples=number, encoding=1, body=body)


def damaged(data, cut, flips):
    """Cut short, or with bits flipped."""
    bad = bytearray(data[: len(data) - cut])
    for position, bit in flips:
        if bad:
            bad[position % len(bad)] ^= 1 << bit
    return bytes(bad)


DAMAGE = {
    "cut": st.integers(0, 400),
    "flips": st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 7)), max_size=4),
}


@settings(max_examples=300, deadline=None)
@given(**DAMAGE)
@example(cut=0, flips=[(0, 0)])
def test_damage_of_a_spool_is_always_found(cut, flips):
    with TemporaryDirectory() as directory:
        segment = Spool(Path(directory) / "spool").segment(b"j" * 16, 1, 1)
        entries = Spool(Path(directory) / "spool").append(segment, [answer(1), answer(2), answer(3)])
        good = segment.read_bytes()
        bad = damaged(good, cut, flips)
        segment.write_bytes(bad)
        assert bool(list(spool.damage(segment, entries))) == (bad != good)


@settings(max_examples=300, deadline=None)
@given(**DAMAGE)
def test_damage_of_a_model_is_always_found(cut, flips):
    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "job.toml").write_text(JOB)
        registry = Registry(directory / "models", load_job(directory / "job.toml"))
        weights = some_weights()
        digest = model_hash(weights, None)
        path = registry.save(NewModel(CurrentModel(1, weights, None), digest, 1, 2, 3))
        good = path.read_bytes()
        bad = damaged(good, cut, flips)
        path.write_bytes(bad)
        if bad == good:
            assert registry.load_known(1, digest).weights.tolist() == weights.tolist()
        else:
            with pytest.raises(DamagedError, match=r"v0001\.fedloom"):
                registry.load_known(1, digest)


def some_weights():
    return np.arange(4, dtype=np.float32)


def test_damaged_files_are_kept_under_names_of_their_own(tmp_path):
    for number in (1, 2):
        (tmp_path / "file").write_text(str(number))
        assert quarantine(tmp_path / "file") == f"kept as file.damaged-{number}"
    assert (tmp_path / "file.damaged-2").read_text() == "2"
    assert quarantine(tmp_path / "file") == "there is nothing to keep of it"


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("harm", ["flip", "cut", "gone"])
def test_a_damaged_spool_aborts_the_attempt_in_public_and_the_round_is_tried_again(rig, harm, is_restarted):
    for device in rig.devices:
        rig.send(device, device.update())
    rig.work_once()
    (segment,) = rig.state.rglob("*.spool")
    data = segment.read_bytes()
    if harm == "gone":
        segment.unlink()
    else:
        segment.write_bytes(damaged(data, 1 if harm == "cut" else 0, [] if harm == "cut" else [(len(data) // 2, 3)]))
    if is_restarted:
        rig.crash()
        rig.boot()
        rig.ready()
    rig.work()
    (closed,) = rig.told(RoundClosed)
    assert closed.outcome == "aborted"
    assert segment.name in closed.reason
    assert "nothing to keep" in closed.reason if harm == "gone" else f"{segment.name}.damaged-1" in closed.reason
    assert not segment.exists()
    if rig.told(RoundOpened)[-1].attempt != 2:  # a round that failed is tried again after a while
        rig.now_s += 61
        rig.ready()
        rig.work()
    manifest = rig.devices[0].manifest
    assert manifest.closes == Closed(1, 1, "aborted")
    assert (manifest.round, manifest.attempt) == (1, 2)
    rig.finish_job()
    assert [notice.accepted for notice in rig.told(RoundClosed)[1:3]] == [3, 3]


def test_a_disk_that_cannot_be_read_for_another_reason_ends_the_process(rig, monkeypatch):
    for device in rig.devices:
        rig.send(device, device.update())
    rig.work_once()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(StoreError, match="Permission denied") as caught:
            rig.work()
    assert not isinstance(caught.value, DamagedError)


def newest_model(rig):
    return rig.parts.archive.registry.path(history.newest_model(rig.parts.archive.store, "line"))


@pytest.mark.parametrize("harm", ["flip", "gone", "older"])
@pytest.mark.parametrize("rounds", [0, 1])
@pytest.mark.parametrize("standardise", ["true", "false"])
def test_the_newest_model_is_made_again(make_rig, caplog, harm, rounds, standardise):
    rig = make_rig(standardise=standardise, count=3)
    rig.boot()
    rig.ready()
    rig.work()
    for _ in range(rounds + (standardise == "true")):
        rig.answer_all()
    path = newest_model(rig)
    good = path.read_bytes()
    first = rig.parts.archive.registry.path(0).read_bytes()
    rig.crash()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(damaged(good, 0, [(len(good) // 2, 1)]) if harm == "flip" else first)
    rig.boot()
    assert rig.parts.archive.registry.load(0)
    assert newest_model(rig) == path
    known = past_rounds.made_model(rig.parts.archive.store, "line", int(path.stem[1:]))
    assert rig.parts.archive.registry.load_known(known.version, known.hash)
    if harm == "older" and first == good:
        assert not caplog.text
    else:
        assert "model.recomputed" in caplog.text
        assert path.with_name(f"{path.name}.damaged-1").exists() == (harm != "gone")
    rig.ready()
    rig.finish_job()


def test_what_cannot_be_made_again_stops_the_start_and_is_left_where_it_is(make_rig):
    rig = make_rig()
    rig.boot()
    rig.ready()
    rig.work()
    rig.answer_all()
    path = newest_model(rig)
    rig.crash()
    path.write_bytes(b"?")
    for segment in rig.state.rglob("*.spool"):
        segment.unlink()
    with pytest.raises(StoreError, match=r"v0001\.fedloom.*retention\.rounds.*fedloom aggregator restore"):
        rig.boot()
    assert path.read_bytes() == b"?"


def test_another_job_file_does_not_pass_for_the_initial_model(make_rig, monkeypatch):
    rig = make_rig()
    rig.boot()
    rig.ready()
    rig.work()
    path = newest_model(rig)
    rig.crash()
    path.write_bytes(b"?")
    monkeypatch.setattr("aggregator.startup.initial_model", lambda job, where: CurrentModel(0, some_weights(), None))
    with pytest.raises(StoreError, match="not the same"):
        rig.boot()


@pytest.mark.parametrize("harm", ["gone", "empty"])
def test_a_database_that_is_gone_is_never_begun_anew(rig, harm):
    rig.answer_all()
    rig.crash()
    for path in rig.state.glob("aggregator.db*"):
        path.unlink()
    if harm == "empty":
        (rig.state / "aggregator.db").touch(mode=0o600)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"aggregator\.db: is gone or empty, though .* fedloom aggregator restore"):
            rig.boot()
