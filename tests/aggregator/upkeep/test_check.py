"""What is damaged is found, each with what helps; what is sound is not complained of."""

import json
import sqlite3
from contextlib import closing

import pytest

from aggregator.upkeep.check import check
from fedloom.command import main
from fedloom.health.findings import Level


@pytest.fixture
def running(rig):
    """In its second round, one device has answered."""
    rig.answer_all()
    rig.send(rig.devices[0], rig.devices[0].update())
    rig.work()
    return rig


def complaints(rig):
    return [(each.check, each.level, each.seen, each.do) for each in check(rig.state) if each.level is not Level.OK]


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


def test_a_sound_state_beside_a_running_aggregator(running):
    assert complaints(running) == []
    assert {each.check for each in check(running.state)} >= {"keys", "database", "models", "spool"}
    running.finish_job()


def test_every_byte_of_a_model_counts(running):
    path = sorted((running.state / "models" / "line").glob("*.fedloom"))[-1]
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 40)):
        flip(path, place)
        (found,) = complaints(running)
        assert found[:2] == ("models", Level.FAIL)
        assert str(path) in found[2]
        assert "restart the aggregator" in found[3]
        path.write_bytes(whole)
    path.unlink()
    assert [each[0] for each in complaints(running)] == ["models"]


def test_an_older_model_that_retention_removed_is_not_missed_but_a_damaged_one_is_told(running):
    path = sorted((running.state / "models" / "line").glob("*.fedloom"))[0]
    flip(path, path.stat().st_size // 2)
    (found,) = complaints(running)
    assert "nothing goes on from it" in found[3]
    path.unlink()
    assert complaints(running) == []


def test_every_entry_of_the_spool_is_compared(running):
    old, new = sorted((running.state / "spool").rglob("*.spool"))
    flip(new, new.stat().st_size - 1)
    flip(old, old.stat().st_size - 1)
    levels = {(each[0], each[1], str(old) in each[2]) for each in complaints(running)}
    assert levels == {("spool", Level.WARN, True), ("spool", Level.FAIL, False)}
    old.unlink()
    new.unlink()
    (found,) = complaints(running)
    assert (found[1], "aborted and done again" in found[3]) == (Level.FAIL, True)


def test_a_strategys_state_is_compared_with_its_name(running):
    path = running.state / "models" / "line" / ("ab" * 32 + ".state")
    path.write_bytes(b"not that")
    (found,) = complaints(running)
    assert found[0] == "strategy's states"


def test_a_damaged_row_ends_the_check_with_what_helps(running):
    running.crash()
    with closing(sqlite3.connect(running.state / "aggregator.db")) as connection, connection:
        connection.create_function("fedloom_row", -1, lambda *values: 7, deterministic=True)
        connection.execute("UPDATE updates SET samples = 9 WHERE manifest_version = 1")
    found = complaints(running)
    assert len(found) == 3
    assert all("table updates" in each[2] and "fedloom aggregator restore" in each[3] for each in found)


def test_a_key_that_others_can_read(running):
    (running.state / "keys" / "ca.key").chmod(0o640)
    found = complaints(running)
    assert "chmod 600" in found[0][3]


def test_the_command(running, capsys, monkeypatch):
    (running.directory / "aggregator.toml").write_text('job = "job.toml"\n[broker]\nhost = "localhost"\n')
    monkeypatch.chdir(running.directory)

    def said(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["aggregator", "check", *arguments])
        return end.value.code or 0, capsys.readouterr().out

    status, out = said()
    assert (status, "database" in out) == (0, True)
    path = sorted((running.state / "models" / "line").glob("*.fedloom"))[-1]
    flip(path, path.stat().st_size - 1)
    status, out = said("--json")
    assert (status, [each["check"] for each in json.loads(out) if each["level"] == "FAIL"]) == (1, ["models"])
