"""`fedloom token` and `fedloom device` as an operator uses them."""

import json
import time
from typing import NamedTuple

import pytest

from aggregator import keys
from aggregator.config import load_config
from fedloom.command import main
from fedloom.errors import ConfigError
from fedloom.trust.tokens import TlsMode, read_token


class Result(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def fedloom(tmp_path, monkeypatch, capsys):
    """Runs `fedloom …` in a directory that has a federation."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aggregator.toml").write_text('job = "job.toml"\n[broker]\nhost = "127.0.0.1"\nport = 1883\n')
    keys.init(tmp_path / "state", "x25519")

    def run(*arguments):
        try:
            status = main(arguments)
        except SystemExit as end:  # how Typer ends a command
            status = end.code or 0
        return Result(status, *capsys.readouterr())

    return run


def test_a_token_is_one_line_and_the_rest_is_for_people(fedloom):
    made = fedloom("token", "new")
    assert made.stdout.count("\n") == 1
    token = read_token(made.stdout)
    assert (token.broker.host, token.broker.port, token.broker.tls) == ("127.0.0.1", 1883, TlsMode.NONE)
    assert abs(token.expires_at - time.time() - 7 * 86_400) < 60
    assert "fedloom-edge join" in made.stderr
    assert "warning: devices reach the broker at 127.0.0.1:1883 without TLS" in made.stderr
    assert token.secret.hex() not in made.stderr


def test_many_tokens_with_names_labels_and_an_end(fedloom):
    options = ("--count", "3", "--name", "hall", "--label", "site=north", "--label", "floor=2", "--expires", "12h")
    made = fedloom("token", "new", *options, "--json")
    rows = [json.loads(line) for line in made.stdout.splitlines()]
    assert [row["name"] for row in rows] == ["hall-1", "hall-2", "hall-3"]
    assert len({read_token(row["token"]).secret for row in rows}) == 3
    listed = json.loads(fedloom("token", "list", "--json").stdout)
    assert sorted(row["id"] for row in listed) == sorted(row["id"] for row in rows)
    assert all(row["labels"] == {"site": "north", "floor": "2"} for row in listed)
    assert all(row["state"] == "unused" and row["expires_at"] == rows[0]["expires_at"] for row in listed)
    shown = fedloom("token", "list").stdout
    assert all(row["token"] not in shown and row["id"] in shown for row in rows)


def test_a_device_is_labelled(fedloom):
    fedloom("device", "new", "gate", "--out", "gate")
    assert fedloom("device", "label", "gate", "site=north", "power=mains").stdout == "gate: site=north power=mains\n"
    assert fedloom("device", "label", "gate", "--remove", "site").stdout == "gate: power=mains\n"
    assert fedloom("device", "label", "gate").stdout == "gate: power=mains\n"
    assert "power=mains" in fedloom("device", "list").stdout
    assert json.loads(fedloom("device", "list", "--json").stdout)[0]["labels"] == {"power": "mains"}
    assert fedloom("device", "label", "gate", "--remove", "power").stdout == "gate: no labels\n"


def test_a_qr_code_holds_the_token(fedloom, monkeypatch):
    import segno

    seen = []
    real = segno.make
    monkeypatch.setattr(segno, "make", lambda content, **options: seen.append(content) or real(content, **options))
    made = fedloom("token", "new", "--qr")
    assert seen == [made.stdout.strip()]
    assert made.stderr.count("\n") > 20
    assert "▀" in made.stderr or "▄" in made.stderr


def test_a_token_is_revoked_by_its_id(fedloom):
    token = read_token(fedloom("token", "new").stdout).id.hex()
    assert fedloom("token", "revoke", token).stdout == f"token {token} is revoked\n"
    assert json.loads(fedloom("token", "list", "--json").stdout)[0]["state"] == "revoked"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("token", "new", "--expires", "soon"), "'soon' is not a duration"),
        (("token", "new", "--label", "north"), "as KEY=VALUE"),
        (("token", "new", "--label", "a=1", "--label", "a=2"), "as KEY=VALUE"),
        (("token", "new", "--name", "a/b"), "is not a name"),
        (("token", "revoke", "00"), "there is no token of this id; see: fedloom token list"),
        (("device", "approve", "nobody"), "no device 'nobody' waits to be let in; see who waits: fedloom device list"),
        (("device", "reject", "nobody"), "no device 'nobody' waits"),
        (("device", "revoke", "nobody"), "'nobody' is not known; see: fedloom device list"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(fedloom, arguments, words):
    result = fedloom(*arguments)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert words in result.stderr
    assert json.loads(fedloom("token", "list", "--json").stdout) == []


def test_a_host_that_no_token_can_carry_is_found_before_anything_is_made(fedloom, tmp_path):
    (tmp_path / "aggregator.toml").write_text('job = "job.toml"\n[broker]\nhost = "bröker"\n')
    result = fedloom("token", "new")
    assert result.returncode == 2
    assert "is not a host name" in result.stderr
    assert json.loads(fedloom("token", "list", "--json").stdout) == []


def test_the_listener_for_joining_stands_in_the_token(fedloom, tmp_path):
    text = '[devices]\nhost = "edge.example.org"\nport = 8883\njoin_port = 8884\ntls = "federation"\n'
    path = tmp_path / "aggregator.toml"
    path.write_text(path.read_text() + text)
    made = fedloom("token", "new")
    broker = read_token(made.stdout).broker
    assert (broker.host, broker.port, broker.tls) == ("edge.example.org", 8884, TlsMode.FEDERATION)
    assert "without TLS" not in made.stderr
    assert load_config(path).config.devices_broker().port == 8883
    path.write_text(path.read_text().replace("join_port = 8884\n", ""))
    assert "let devices without a certificate in on port 8883" in fedloom("token", "new").stderr


@pytest.mark.parametrize(
    ("broker", "tls"), [("", "federation"), ("", "system"), ("[broker.tls]\n", "none")], ids=["tls", "system", "plain"]
)
def test_one_port_is_not_both_with_tls_and_without(fedloom, tmp_path, broker, tls):
    path = tmp_path / "aggregator.toml"
    text = path.read_text() + broker
    path.write_text(f'{text}[devices]\ntls = "{tls}"\n')
    with pytest.raises(ConfigError, match=r"devices\.tls: .* name the listener for devices in devices\.port"):
        load_config(path)
    path.write_text(f'{text}[devices]\ntls = "{tls}"\nport = 9999\n')
    assert load_config(path).config.devices_broker().port == 9999


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_is_a_port(fedloom, tmp_path, port):
    path = tmp_path / "aggregator.toml"
    path.write_text(path.read_text() + f"[devices]\njoin_port = {port}\n")
    assert "devices.join_port" in fedloom("token", "new").stderr
