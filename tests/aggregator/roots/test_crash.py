"""A process that dies at any step of a change of the root leaves a federation that loads, and that can go on."""

import os
import shutil

import pytest

from aggregator import keys
from aggregator.roots import changes as root_changes
from aggregator.roots import install as root_install
from aggregator.roots.changes import Changes

STEPS = ("open", "fsync", "replace", "rename", "unlink")
"""What changes a disk, or makes a change durable."""


def dies_at(step, work):
    """Do `work` in a process that dies right before its call number `step` of those in STEPS; whether it did."""
    child = os.fork()
    if child == 0:
        status = 9
        try:
            _die_before(step)
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 7), "it failed in another way"
    return code == 7


def _die_before(step):
    count = 0

    def counted(call):
        def run(*arguments, **named):
            nonlocal count
            count += 1
            if count == step:
                os._exit(7)
            return call(*arguments, **named)

        return run

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


@pytest.fixture
def state(tmp_path):
    keys.init(tmp_path / "state", "x25519")
    return tmp_path / "state"


@pytest.fixture
def next_root(state, tmp_path):
    """A signed proposal that rotates the aggregator's key."""
    file = tmp_path / "next.root"
    root_changes.propose(state, Changes(rotate_aggregator=True), file)
    root_changes.sign(file, file.read_bytes(), state / "keys" / "federation.key")
    return file


def every_crash(state, tmp_path, work):
    """A copy of the state directory for each step at which `work` can die."""
    for step in range(1, 100):
        copy = tmp_path / f"step-{step}"
        shutil.copytree(state, copy)
        if not dies_at(step, lambda copy=copy: work(copy)):
            assert step > 5, "nothing was tried"
            return
        yield copy
    raise AssertionError("it never ends")


def check(copy, before):
    """It loads; the key is the one that the newest document lists."""
    loaded = keys.load(copy)
    assert loaded.id == before.id
    assert [each.signing for each in loaded.root.aggregators] == [loaded.signing.public]
    if loaded.root.version == 1:
        assert loaded.signing.public == before.signing.public
    else:
        assert loaded.signing.public != before.signing.public
    return loaded


def test_installing(state, next_root, tmp_path):
    before = keys.load(state)
    versions = set()
    for copy in every_crash(state, tmp_path, lambda copy: root_install.install(copy, next_root)):
        loaded = check(copy, before)
        versions.add((loaded.root.version, (copy / "keys" / keys.NEXT_KEY).exists()))
        root_install.install(copy, next_root)
        assert check(copy, before).root.version == 2
        assert not (copy / "keys" / keys.NEXT_KEY).exists()
    assert {(1, True), (2, True), (2, False)} == versions


def test_the_next_change_completes_what_a_crash_has_left_undone(state, next_root, tmp_path):
    before = keys.load(state)
    for copy in every_crash(state, tmp_path, lambda copy: root_install.install(copy, next_root)):
        version = check(copy, before).root.version
        if version == 2:
            root_changes.rotate(copy)
            assert check(copy, before).root.version == 3


def test_rotating_in_one(state, tmp_path):
    before = keys.load(state)
    for copy in every_crash(state, tmp_path, root_changes.rotate):
        loaded = check(copy, before)
        if loaded.root.version == 1:
            (copy / "keys" / keys.NEXT_KEY).unlink(missing_ok=True)  # as the error says
        root_changes.rotate(copy)
        assert check(copy, before).root.version == loaded.root.version + 1


def test_proposing(state, tmp_path):
    """A proposal that is there has its key on the disk."""
    before = keys.load(state)
    changes = Changes(rotate_aggregator=True)
    for copy in every_crash(state, tmp_path, lambda copy: root_changes.propose(copy, changes, copy / "next.root")):
        assert check(copy, before).root.version == 1
        if (copy / "next.root").exists() and (copy / "next.root").stat().st_size:
            file = copy / "next.root"
            root_changes.sign(file, file.read_bytes(), copy / "keys" / "federation.key")
            root_install.install(copy, copy / "next.root")
            assert check(copy, before).root.version == 2


def test_installing_the_first_document(tmp_path):
    root_changes.new_root_key(tmp_path / "root.key")
    public = root_changes.read_key(tmp_path / "root.key").public
    state, file = tmp_path / "state", tmp_path / "first.root"
    keys.init_offline(state, "x25519", (public,), 1)
    shutil.copyfile(state / "keys" / keys.PROPOSAL, file)
    root_changes.sign(file, file.read_bytes(), tmp_path / "root.key")
    for copy in every_crash(state, tmp_path, lambda copy: root_install.install(copy, file)):
        root_install.install(copy, file)
        assert keys.load(copy).root.version == 1
