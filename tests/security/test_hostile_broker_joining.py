"""A hostile broker while devices join, are renewed and follow root documents: whatever it does, the invariants hold.

One registrar lasts for all scripts; one that did not survive a script is replaced. The scripts are in
adversary.entry_table.
"""

import contextlib
import re
import sqlite3
from contextlib import closing

import msgspec
import pytest
from adversary.entrance import Entrance
from adversary.entries import Entry, judge_entry
from adversary.entry_audit import WISH
from adversary.entry_scenes import join
from adversary.entry_table import ENTRIES
from adversary.proxy import Script

from aggregator import row_checks
from aggregator.enrolment.provision import new_device
from fedloom.trust.device_keys import load_root
from fedloom.trust.documents import sign_root
from fedloom.trust.signing import SigningKey
from fedloom.trust.tokens import write_token

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def entrances():
    """The one that is in use, as a list of one."""
    found = []
    yield found
    for entrance in found:
        entrance.__exit__()


@pytest.fixture
def entrance(entrances, tmp_path_factory):
    if entrances and not entrances[0].is_sound:
        entrances.pop().__exit__()
    if not entrances:
        entrances.append(Entrance(tmp_path_factory.mktemp("entrance") / "all").__enter__())
    return entrances[0]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: re.sub(r"\W+", "-", entry.name))
def test_the_invariants_hold(entrance, entry):
    entrance.is_sound = False
    seen = entry.play(entrance, entry)
    entrance.audit()
    judge_entry(entry, seen)
    entrance.is_sound = True


def test_breaches_are_seen(entrance):
    """Each of these would be a breach of the invariant that the auditor then names."""
    entrance.is_sound = False
    join(entrance, Entry("", "", "", Script, join, touches=0))
    entrance.check(entrance.new_auditor())
    entrant, other = entrance.entrants[-1], entrance.entrants[0]
    token = entrant.token.id.hex()

    stray = new_device(entrance.state, "stray", entrance.directory / "stray", broker=entrance.broker)
    expect_breach(entrance, "J1: the books have other devices")
    execute(entrance, "delete from certificates where device = ?", stray.id)
    execute(entrance, "delete from devices where id = ?", stray.id)
    (own,) = execute(entrance, "select device from tokens where id = ?", entrant.token.id)
    execute(entrance, "update tokens set device = ? where id = ?", stray.id, entrant.token.id)
    expect_breach(entrance, "J1: tokens have let in")
    execute(entrance, "update tokens set device = ? where id = ?", own[0], entrant.token.id)

    certificate = entrant.keys / "tls.crt"
    with replaced(certificate, (other.keys / "tls.crt").read_bytes()):
        expect_breach(entrance, "J2")
    execute(entrance, "update devices set credential = ? where id = ?", b"other", own[0])
    expect_breach(entrance, "J2")
    credential = (entrant.keys / "credential").read_bytes()
    execute(entrance, "update devices set credential = ? where id = ?", credential, own[0])

    asked, entrance.proxy.published[token] = entrance.proxy.published[token], set()
    expect_breach(entrance, "J3: an answer on .* to what its device never sent")
    entrance.proxy.published[token] = asked
    said = next(each for each in entrance.proxy.memberships if each.token == token)
    to_other = next(each for each in entrance.proxy.memberships if each.device)
    entrance.proxy.memberships.append(to_other._replace(topic=said.topic))
    expect_breach(entrance, "J3: an answer on .* that its device cannot open")
    entrance.proxy.memberships.pop()

    expect_breach(entrance, "J4", b"\0" + entrant.token.secret)
    expect_breach(entrance, "J4", b"\0" + WISH.encode())
    with replaced(entrance.directory / "join.log", write_token(entrant.token).encode()):
        expect_breach(entrance, "J4")

    auditor = entrance.new_auditor()
    entrance.check(auditor)
    thief = SigningKey.generate()
    forged = sign_root(msgspec.structs.replace(load_root(entrant.keys), root_keys=(thief.public,)), thief)
    with replaced(entrant.keys / "root", forged):
        expect_breach(entrance, "J5: .* another version")
    entrance.rotate()
    newest = entrance.documents[-1]
    with replaced(entrant.keys / "root", newest):
        entrance.check(auditor)
    with pytest.raises(AssertionError, match=r"^J5: .* went back"):
        entrance.check(auditor)


def expect_breach(entrance, name, *captured):
    with pytest.raises(AssertionError, match=f"^{name}"):
        entrance.check(entrance.new_auditor(), captured)


def execute(entrance, statement, *values):
    with closing(sqlite3.connect(entrance.state / "aggregator.db", timeout=10)) as connection, connection:
        row_checks.register(connection)
        return connection.execute(statement, values).fetchall()


@contextlib.contextmanager
def replaced(path, data):
    genuine = path.read_bytes() if path.exists() else b""
    path.write_bytes(data)
    yield
    path.write_bytes(genuine)
