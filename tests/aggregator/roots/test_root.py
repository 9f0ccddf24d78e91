"""`fedloom root`: keys, proposals, signatures, installation, as an operator does it."""

import json
import stat

import msgspec
import pytest

from aggregator import keys
from aggregator.roots import changes as root_changes
from aggregator.roots import install as root_install
from fedloom.command import main
from fedloom.errors import TrustError
from fedloom.trust.documents import add_root_signature, peek_root, root_signers, sign_root
from fedloom.trust.signing import SigningKey


@pytest.fixture
def fedloom(tmp_path, monkeypatch, capsys):
    """Runs `fedloom …` in a directory with a configuration; returns what it printed, or raises with what went wrong."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aggregator.toml").write_text('job = "job.toml"\n[broker]\nhost = "127.0.0.1"\nport = 1\n')

    def run(*arguments):
        try:
            status = main(arguments)
        except SystemExit as end:  # how Typer ends a command
            status = end.code or 0
        said = capsys.readouterr()
        if status:
            raise Failed(status, said.err)
        return said.out

    return run


class Failed(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def federation(fedloom, state):
    """One key, which lies here."""
    fedloom("aggregator", "init", "--suite", "x25519")
    return keys.load(state)


@pytest.fixture
def make_keys(fedloom):
    """`make_keys("a", "b")`: a.key and b.key; returns their public parts in hex."""
    return lambda *names: [fedloom("root", "keygen", "--out", f"{name}.key").strip() for name in names]


@pytest.fixture
def offline(fedloom, make_keys, tmp_path, state):
    """Two of three keys that lie elsewhere: a.key, b.key, c.key; the first document is installed."""
    public = make_keys("a", "b", "c")
    fedloom("aggregator", "init", "--suite", "x25519", *options("--root-key", public), "--threshold", "2")
    (tmp_path / "first.root").write_bytes((state / "keys" / keys.PROPOSAL).read_bytes())
    for name in ("a", "b"):
        fedloom("root", "sign", "first.root", "--key", f"{name}.key", "--yes")
    fedloom("root", "install", "first.root")
    return public


def options(name, values):
    return [part for value in values for part in (name, value)]


def failure(call, *arguments):
    with pytest.raises(Failed) as failed:
        call(*arguments)
    assert failed.value.status == 2
    assert str(failed.value).count("\n") == 1
    return str(failed.value)


def test_a_root_key_is_for_its_owner_alone_and_never_overwritten(fedloom, tmp_path):
    public = fedloom("root", "keygen", "--out", "root.key").strip()
    file = tmp_path / "root.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SigningKey(file.read_bytes()).public.hex() == public
    before = file.read_bytes()
    assert "is there already" in failure(fedloom, "root", "keygen", "--out", "root.key")
    assert file.read_bytes() == before


def test_show_says_what_is_in_force(fedloom, federation):
    shown = json.loads(fedloom("root", "show", "--json"))
    root = federation.root
    assert (shown["version"], shown["threshold"]) == (1, 1)
    assert shown["root_keys"] == [root.root_keys[0].hex()]
    assert shown["aggregators"] == [{"id": federation.id.hex(), "key": federation.signing.public.hex()}]
    assert shown["quorums"] == [{"version": 1, "threshold": 1, "signed": shown["root_keys"], "missing": []}]
    text = fedloom("root", "show")
    assert all(word in text for word in (shown["ca_sha256"], shown["ca_not_after"], shown["federation"]))


def test_show_never_prints_a_private_key(fedloom, federation, state):
    text = fedloom("root", "show") + fedloom("root", "show", "--json")
    private = [path.read_bytes() for path in (state / "keys").glob("*.key")]
    assert len(private) == 5
    assert not any(each.hex() in text or each.decode("latin-1") in text for each in private)


def test_rotating_with_the_key_that_lies_here(fedloom, federation, state):
    assert "restarted" in fedloom("root", "rotate")
    now = keys.load(state)
    assert now.root.version == 2
    assert now.id == federation.id
    assert now.signing.public != federation.signing.public
    assert [each.signing for each in now.root.aggregators] == [now.signing.public]
    assert now.root.registrar == federation.root.registrar
    assert now.documents[0] == federation.documents[0]
    fedloom("root", "rotate")
    assert keys.load(state).root.version == 3


def test_rotating_without_the_root_key_says_what_to_run(fedloom, federation, state):
    (state / "keys" / "federation.key").unlink()
    told = failure(fedloom, "root", "rotate")
    assert all(f"fedloom root {each} " in told for each in ("propose", "sign", "install"))
    assert not (state / "keys" / keys.NEXT_KEY).exists()
    assert keys.load(state).root.version == 1


def test_rotating_in_steps(fedloom, federation, state):
    fedloom("root", "propose", "--rotate-aggregator", "--out", "next.root")
    waiting = state / "keys" / keys.NEXT_KEY
    assert stat.S_IMODE(waiting.stat().st_mode) == 0o600
    coming = SigningKey(waiting.read_bytes())
    assert keys.load(state).signing.public == federation.signing.public
    shown = json.loads(fedloom("root", "show", "next.root", "--json"))
    assert [each["signed"] for each in shown["quorums"]] == [[], []]
    assert shown["aggregators"][0]["key"] == coming.public.hex()
    assert "has 0 of the 1 signatures" in failure(fedloom, "root", "install", "next.root")
    said = fedloom("root", "sign", "next.root", "--key", "state/keys/federation.key", "--yes")
    assert coming.public.hex() in said
    fedloom("root", "install", "next.root")
    assert keys.load(state).signing.public == coming.public
    assert not waiting.exists()


def test_installing_again_changes_nothing(fedloom, federation, state, tmp_path):
    fedloom("root", "propose", "--rotate-aggregator", "--out", "next.root")
    fedloom("root", "sign", "next.root", "--key", "state/keys/federation.key", "--yes")
    fedloom("root", "install", "next.root")
    before = {path.name: path.read_bytes() for path in (state / "keys").iterdir()}
    fedloom("root", "install", "next.root")
    assert {path.name: path.read_bytes() for path in (state / "keys").iterdir()} == before


def test_signing_asks_first(fedloom, federation, tmp_path, monkeypatch):
    fedloom("root", "propose", "--rotate-aggregator", "--out", "next.root")
    before = (tmp_path / "next.root").read_bytes()
    monkeypatch.setattr("typer.confirm", lambda text, abort: (_ for _ in ()).throw(SystemExit(1)))
    with pytest.raises(Failed):
        fedloom("root", "sign", "next.root", "--key", "state/keys/federation.key")
    assert (tmp_path / "next.root").read_bytes() == before


def test_what_is_signed_is_what_was_shown(fedloom, federation, tmp_path, monkeypatch):
    for name in ("next.root", "other.root"):
        fedloom("root", "propose", "--add-key", SigningKey.generate().public.hex(), "--out", name)
    shown = (tmp_path / "next.root").read_bytes()

    def swapped_meanwhile(text, abort):
        (tmp_path / "other.root").replace(tmp_path / "next.root")

    monkeypatch.setattr("typer.confirm", swapped_meanwhile)
    fedloom("root", "sign", "next.root", "--key", "state/keys/federation.key")
    key = SigningKey((tmp_path / "state" / "keys" / "federation.key").read_bytes())
    assert (tmp_path / "next.root").read_bytes() == add_root_signature(shown, key)


def test_a_certificate_that_none_can_read_is_shown_as_such(fedloom, federation, tmp_path):
    ca = federation.root.registrar.ca.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"), 1)  # version 8
    registrar = msgspec.structs.replace(federation.root.registrar, ca=ca)
    (tmp_path / "next.root").write_bytes(sign_root(msgspec.structs.replace(federation.root, registrar=registrar)))
    assert "valid until unknown: not a certificate" in fedloom("root", "show", "next.root")


def test_signing_needs_no_federation(fedloom, federation, tmp_path):
    fedloom("root", "propose", "--rotate-aggregator", "--out", "next.root")
    key = (tmp_path / "state" / "keys" / "federation.key").read_bytes()
    (tmp_path / "root.key").write_bytes(key)
    (tmp_path / "root.key").chmod(0o600)
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    (tmp_path / "aggregator.toml").unlink()
    fedloom("root", "sign", "next.root", "--key", "root.key", "--yes")
    public = SigningKey(key).public
    assert root_signers((tmp_path / "next.root").read_bytes(), [public]) == {public}


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_root_key_that_others_can_read_is_refused(fedloom, federation, tmp_path, mode):
    fedloom("root", "propose", "--rotate-aggregator", "--out", "next.root")
    key = tmp_path / "state" / "keys" / "federation.key"
    key.chmod(mode)
    assert "chmod 600" in failure(fedloom, "root", "sign", "next.root", "--key", str(key), "--yes")


def test_a_second_rotation_does_not_take_the_key_of_the_first(fedloom, federation, state):
    """Whoever rotates because the disk was stolen must get a key that was not on it."""
    fedloom("root", "propose", "--rotate-aggregator", "--out", "next.root")
    before = (state / "keys" / keys.NEXT_KEY).read_bytes()
    assert "waits for this key" in failure(fedloom, "root", "rotate")
    assert "waits for this key" in failure(fedloom, "root", "propose", "--rotate-aggregator", "--out", "other.root")
    (state / "keys" / keys.NEXT_KEY).unlink()
    fedloom("root", "rotate")
    assert keys.load(state).signing.private != before


def test_a_proposal_is_never_overwritten_and_leaves_no_key_behind(fedloom, federation, state, tmp_path):
    (tmp_path / "next.root").write_text("mine")
    assert "is there already" in failure(fedloom, "root", "propose", "--rotate-aggregator", "--out", "next.root")
    assert not (state / "keys" / keys.NEXT_KEY).exists()


def test_a_proposal_that_cannot_be_written_leaves_no_key_behind(fedloom, federation, state):
    with pytest.raises(Failed, match=r"nowhere/next\.root: No such file"):
        fedloom("root", "propose", "--rotate-aggregator", "--out", "nowhere/next.root")
    assert not (state / "keys" / keys.NEXT_KEY).exists()
    fedloom("root", "rotate")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "nothing would change"),
        (["--threshold", "2"], "2 of 1 keys cannot sign"),
        (["--threshold", "0"], "0 of 1 keys cannot sign"),
        (["--add-key", "abc"], "is no public key"),
        (["--add-key", "zz" * 32], "is no public key"),
        (["--remove-key", "00" * 32], "is no root key"),
        (["--add-key", "11" * 32, "--add-key", "11" * 32], "named twice"),
    ],
)
def test_changes_that_cannot_be_made(fedloom, federation, tmp_path, arguments, told):
    assert told in failure(fedloom, "root", "propose", *arguments, "--out", "next.root")
    assert not (tmp_path / "next.root").exists()


def test_the_last_root_key_cannot_be_removed(fedloom, federation):
    only = federation.root.root_keys[0].hex()
    assert "0 keys" in failure(fedloom, "root", "propose", "--remove-key", only, "--out", "next.root")


def test_a_key_moves_offline(fedloom, federation, make_keys, state):
    """From one key that lies here to two of three that do not."""
    public = make_keys("a", "b", "c")
    changes = [*options("--add-key", public), "--remove-key", federation.root.root_keys[0].hex(), "--threshold", "2"]
    fedloom("root", "propose", *changes, "--out", "next.root")
    for file in ("a.key", "c.key"):
        fedloom("root", "sign", "next.root", "--key", file, "--yes")
    assert "has 0 of the 1 signatures by keys of version 1;" in failure(fedloom, "root", "install", "next.root")
    fedloom("root", "sign", "next.root", "--key", "state/keys/federation.key", "--yes")
    fedloom("root", "install", "next.root")
    root = keys.load(state).root
    assert ([each.hex() for each in root.root_keys], root.threshold) == (public, 2)
    assert "alone is not enough" in failure(fedloom, "root", "rotate")


def test_two_of_three_from_the_beginning(fedloom, offline, state):
    root = keys.load(state).root
    assert ([each.hex() for each in root.root_keys], root.threshold) == (offline, 2)
    assert not (state / "keys" / keys.FEDERATION_KEY).exists()
    assert not (state / "keys" / keys.PROPOSAL).exists()


def test_a_lost_key_is_replaced(fedloom, offline, make_keys, state):
    (new,) = make_keys("d")
    fedloom("root", "propose", "--add-key", new, "--remove-key", offline[2], "--out", "next.root")
    fedloom("root", "sign", "next.root", "--key", "a.key", "--yes")
    fedloom("root", "sign", "next.root", "--key", "d.key", "--yes")
    assert "has 1 of the 2 signatures by keys of version 1;" in failure(fedloom, "root", "install", "next.root")
    fedloom("root", "sign", "next.root", "--key", "b.key", "--yes")
    fedloom("root", "install", "next.root")
    assert keys.load(state).root.root_keys == tuple(bytes.fromhex(each) for each in (*offline[:2], new))


def test_a_thief_of_one_key_of_two_gets_nowhere(offline, state, tmp_path):
    root = keys.load(state).root
    stolen = SigningKey((tmp_path / "a.key").read_bytes())
    own = SigningKey.generate()
    for root_keys, threshold in (((own.public,), 1), (root.root_keys, 2), (root.root_keys, 1)):
        wanted = msgspec.structs.replace(root, version=2, root_keys=root_keys, threshold=threshold)
        (tmp_path / "forged.root").write_bytes(sign_root(wanted, stolen, own))
        with pytest.raises(TrustError, match="has 1 of the 2 signatures by keys of version 1"):
            root_install.install(state, tmp_path / "forged.root")
    assert keys.load(state).root == root


@pytest.mark.parametrize(
    "arguments", [["aggregator", "run"], ["device", "new", "x", "--out", "x"], ["root", "show"], ["root", "rotate"]]
)
def test_nothing_runs_before_the_first_document_is_installed(fedloom, make_keys, tmp_path, arguments):
    fedloom("aggregator", "init", "--suite", "x25519", "--root-key", *make_keys("a"))
    (tmp_path / "job.toml").write_text(
        'name = "line"\n[model]\ninputs = 1\noutputs = 1\n[data]\nfeatures = ["x"]\ntarget = "y"\n'
        '[training]\nloss = "mse"\n[rounds]\ncount = 1\n'
    )
    told = failure(fedloom, *arguments)
    assert "the root keys have yet to sign it" in told
    assert "fedloom root install" in told


def test_the_first_document_must_be_the_one_that_was_made_here(fedloom, make_keys, state, tmp_path):
    """Nothing comes before it that would have to sign it, so somebody could bring one of their own."""
    fedloom("aggregator", "init", "--suite", "x25519", "--root-key", *make_keys("a"))
    thief = SigningKey.generate()
    made = peek_root((state / "keys" / keys.PROPOSAL).read_bytes())
    forged = sign_root(msgspec.structs.replace(made, root_keys=(thief.public,)), thief)
    (tmp_path / "forged.root").write_bytes(forged)
    assert "is not the root document that was made here" in failure(fedloom, "root", "install", "forged.root")
    assert not (state / "keys" / "root-1").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--threshold", "2"],
        ["--root-key", "11" * 32, "--threshold", "2"],
        ["--root-key", "11" * 32, "--root-key", "11" * 32],
        ["--root-key", "11"],
    ],
)
def test_root_keys_that_could_never_sign_make_no_federation(fedloom, state, arguments):
    failure(fedloom, "aggregator", "init", *arguments)
    assert not (state / "keys").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": 3}, "is version 3 of"),
        ({"federation": b"x" * 16}, "comes next here"),
        ({"aggregators": ()}, "does not list the key of this aggregator"),
    ],
)
def test_documents_that_do_not_belong_here_are_refused(federation, state, tmp_path, changes, told):
    key = SigningKey((state / "keys" / keys.FEDERATION_KEY).read_bytes())
    wanted = msgspec.structs.replace(federation.root, **{"version": 2, **changes})
    (tmp_path / "next.root").write_bytes(sign_root(wanted, key))
    before = sorted(path.name for path in (state / "keys").iterdir())
    with pytest.raises(TrustError, match=told):
        root_install.install(state, tmp_path / "next.root")
    assert sorted(path.name for path in (state / "keys").iterdir()) == before


def test_a_document_that_changes_the_registrar_is_refused(federation, state, tmp_path):
    """Every credential would lose its worth at once."""
    key = SigningKey((state / "keys" / keys.FEDERATION_KEY).read_bytes())
    other = msgspec.structs.replace(federation.root.registrar, signing=b"\x01" * 32)
    wanted = msgspec.structs.replace(federation.root, version=2, registrar=other)
    (tmp_path / "next.root").write_bytes(sign_root(wanted, key))
    with pytest.raises(TrustError, match="changes the registrar"):
        root_install.install(state, tmp_path / "next.root")


def test_of_two_proposals_one_is_installed(fedloom, federation, make_keys, state):
    (new,) = make_keys("a")
    fedloom("root", "propose", "--add-key", new, "--out", "one.root")
    fedloom("root", "propose", "--rotate-aggregator", "--out", "two.root")
    for name in ("one", "two"):
        fedloom("root", "sign", f"{name}.root", "--key", "state/keys/federation.key", "--yes")
    fedloom("root", "sign", "one.root", "--key", "a.key", "--yes")
    fedloom("root", "install", "one.root")
    assert "is version 2 of" in failure(fedloom, "root", "install", "two.root")
    assert keys.load(state).signing.public == federation.signing.public


@pytest.mark.parametrize("content", [b"", b"hello", bytes(70_000)])
@pytest.mark.parametrize("command", [["root", "show"], ["root", "install"], ["root", "sign", "--yes", "--key", "k"]])
def test_files_that_are_no_root_documents(fedloom, federation, tmp_path, content, command):
    (tmp_path / "odd").write_bytes(content)
    assert "is no root document" in failure(fedloom, *command, "odd")


def test_a_chain_with_a_damaged_or_missing_link_does_not_load(fedloom, federation, state):
    fedloom("root", "rotate")
    fedloom("root", "rotate")
    middle = state / "keys" / "root-2"
    kept = middle.read_bytes()
    middle.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(TrustError, match="a root document is damaged"):
        keys.load(state)
    middle.unlink()
    with pytest.raises(TrustError, match="does not list these keys"):
        keys.load(state)
    (state / "keys" / "root-1").unlink()
    with pytest.raises(TrustError, match="root-1: is missing"):
        keys.load(state)


def test_a_newer_document_that_only_new_keys_signed_does_not_load(federation, state):
    """As if somebody had put it there by hand."""
    thief = SigningKey.generate()
    wanted = msgspec.structs.replace(federation.root, version=2, root_keys=(thief.public,))
    path = state / "keys" / "root-2"
    path.write_bytes(add_root_signature(sign_root(wanted), thief))
    path.chmod(0o600)
    with pytest.raises(TrustError, match="a root document is damaged"):
        keys.load(state)


def test_a_next_key_that_others_can_read_is_refused(federation, state, tmp_path):
    root_changes.propose(state, root_changes.Changes(rotate_aggregator=True), tmp_path / "next.root")
    (state / "keys" / keys.NEXT_KEY).chmod(0o644)
    with pytest.raises(TrustError, match="chmod 600"):
        keys.load(state)
