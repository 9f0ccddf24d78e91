"""What the doctors say of clock, files, disk and dates."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from fedloom.errors import ConfigError, LinkError, StoreError
from fedloom.health import host
from fedloom.health.findings import Level, describe, fail, from_error, guarded, has_failed, ok, warn

NOW_S = 1_800_000_000.0
DAY_S = 86_400


@pytest.mark.parametrize(
    ("now_s", "signed_s", "level"),
    [
        (NOW_S, 0, Level.OK),
        (NOW_S, int(NOW_S) - 1, Level.OK),
        (NOW_S, int(NOW_S) + 200, Level.OK),
        (NOW_S, int(NOW_S) + 400, Level.FAIL),
        (0.0, 0, Level.FAIL),
        (NOW_S - 10 * 365 * DAY_S, int(NOW_S), Level.FAIL),
        (NOW_S + 10 * 365 * DAY_S, int(NOW_S), Level.OK),  # nobody here knows better
    ],
)
def test_the_clock(now_s: float, signed_s: int, level: Level) -> None:
    assert host.clock(now_s, signed_s, matters=True).level is level
    assert host.clock(now_s, signed_s, matters=False).level is (Level.OK if level is Level.OK else Level.WARN)


@pytest.mark.parametrize(
    ("days", "level"), [(-40, Level.FAIL), (15, Level.OK), (28, Level.WARN), (29.5, Level.WARN), (31, Level.FAIL)]
)
def test_a_credential_of_thirty_days(days: float, level: Level) -> None:
    found = host.expiry("credential", "it", NOW_S + days * DAY_S, NOW_S, NOW_S + 30 * DAY_S, "renew it")
    assert found.level is level
    assert bool(found.do) == (level is not Level.OK)


def test_what_others_can_read_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o700)
    (directory / "one.key").write_bytes(b"secret")
    (directory / "one.key").chmod(0o600)
    assert host.private("keys", directory).level is Level.OK
    (directory / "one.key").chmod(0o640)
    found = host.private("keys", directory)
    assert found.level is Level.FAIL
    assert found.do == f"run: chmod 600 {directory / 'one.key'}"
    assert "secret" not in describe(found)


@pytest.mark.parametrize(("free_mib", "level"), [(10, Level.FAIL), (100, Level.WARN), (10_000, Level.OK)])
def test_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mib: int, level: Level) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, free_mib * 2**20))  # type: ignore[attr-defined]
    space, durable = host.disk(tmp_path)
    assert space.level is level
    assert durable.level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_does_not_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(host, "write_durably", broken)
    *_, durable = host.disk(tmp_path)
    assert durable.level is Level.FAIL
    assert "Input/output error" in durable.seen


def test_errors_become_findings_with_their_remedy() -> None:
    def checks(error: Exception) -> Any:
        yield ok("first", "well")
        raise error

    for error, seen, do in (
        (
            ConfigError("edge.toml", "tls.ca", "cannot be read", "check it"),
            "edge.toml: tls.ca: cannot be read",
            "check it",
        ),
        (StoreError("state: is damaged; delete it"), "state: is damaged", "delete it"),
        (LinkError("hub: refused"), "hub: refused", ""),
        (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied", "check the path and its owner"),
    ):
        first, last = guarded("second", checks(error))
        assert first.level is Level.OK
        assert (last.check, last.level, last.seen, last.do) == ("second", Level.FAIL, seen, do)
    assert from_error("x", StoreError("a; b; c")).do == "c"


def test_only_a_failure_fails() -> None:
    assert not has_failed([ok("a", "b"), warn("c", "d", "e")])
    assert has_failed([ok("a", "b"), fail("c", "d", "e")])


def test_who_is_not_the_owner_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.owner(tmp_path).level is Level.OK
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert not host.is_owner(tmp_path)
    assert host.owner(tmp_path).level is Level.WARN
