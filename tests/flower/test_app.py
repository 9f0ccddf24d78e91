"""What is read of an app on the server, and what its ClientApp's process makes of a request."""

import pytest
from fleet import APPS
from flwr.serverapp import ServerApp

from aggregator.flower.app import load, parse_overrides
from edge_client.flower.host import answer
from edge_client.flower.pipe import Call
from fedloom.errors import InputError
from fedloom.flower.nodes import SUPERLINK
from fedloom.wire import records
from fedloom.wire.records import ConfigRecord, Reply, Request


def write(
    tmp_path, config="", server="hub.server:app", code="from flwr.serverapp import ServerApp\napp = ServerApp()\n"
):
    package = tmp_path / server.split(".")[0]
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "server.py").write_text(code)
    lines = [
        '[project]\nname = "Hub 2"\n[tool.flwr.app.components]',
        f'serverapp = "{server}"',
        "[tool.flwr.app.config]",
    ]
    (tmp_path / "pyproject.toml").write_text("\n".join([*lines, config, ""]))
    return tmp_path


def test_an_app_is_loaded_with_its_settings(tmp_path):
    text = "rounds = 3\n[tool.flwr.app.config.model]\nlr = 0.1\nfast = true\n"
    app = load(write(tmp_path, text, "hub1.server:app"), {"rounds": 5})
    assert isinstance(app.server, ServerApp)
    assert (app.name, app.settings) == ("Hub 2", {"rounds": 5, "model.lr": 0.1, "model.fast": True})


def test_what_is_no_app_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path, {})
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    with pytest.raises(InputError, match=r"components\.serverapp: is not there"):
        load(tmp_path, {})


@pytest.mark.parametrize(
    ("code", "words"),
    [("app = 1\n", "is no ServerApp"), ("import not_there\n", "not_there"), ("", "Unable to load attribute app")],
)
def test_a_server_app_that_cannot_be_loaded_is_told(tmp_path, code, words):
    name = f"hub_{abs(hash(code))}.server:app"
    with pytest.raises(InputError, match=words):
        load(write(tmp_path, "", name, code), {})


def test_settings_are_overridden_by_name_only(tmp_path):
    with pytest.raises(InputError, match="is no setting of the app"):
        load(write(tmp_path, "rounds = 3", "hub9.server:app"), {"round": 1})


def test_overrides_are_written_as_in_toml():
    assert parse_overrides(["a=1", "b = 0.5", "c=true", 'd="x"']) == {"a": 1, "b": 0.5, "c": True, "d": "x"}
    assert parse_overrides(["a=1 b = 0.5  c='x y' d=\"x=1 y\"", "e=-1"]) == {
        "a": 1,
        "b": 0.5,
        "c": "x y",
        "d": "x=1 y",
        "e": -1,
    }
    for wrong in ("a", "a=", "a=x", "a=[1]", "a=[1, 2]", "a=1 b", "a=1=2", "a='x", "a=1, b=2", "", "=1"):
        with pytest.raises(InputError, match="write key=value"):
            parse_overrides([wrong])


def call(mode="fine", app="faulty_app.client:app", kind="query", context=b""):
    request = records.encode(Request(kind, "1", 7, 60.0, {"lr": 0.1}, {"config": ConfigRecord({"server-round": 1})}))
    return Call(app, str(APPS / "faulty"), SUPERLINK + 1, {"mode": mode}, "id", request, context)


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # the app changes it, and it comes back


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (call(app="not_there:app"), 1, "ModuleNotFoundError"),
        (call(app="faulty_app.client:time"), 1, "_LoadError"),
        (call(mode="raises"), 2, "ValueError; the device's log says more"),
        (call(kind="train"), 2, "ValueError"),
    ],
)
def test_what_goes_wrong_in_an_app_is_an_error_without_its_words(said, code, words, capsys):
    outcome = answer(said)
    reply = records.read_reply(outcome.reply)
    assert (reply.content, reply.code, outcome.context) == (None, code, None)
    assert words in reply.reason
    assert "what the data hold" not in reply.reason
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("hoards", "malformed: Expected `object` of length <= 64"),
        ("long", "malformed: Expected `str` of length <= 300"),
    ],
)
def test_a_context_that_could_not_be_read_again_is_not_kept(mode, words):
    outcome = answer(call(mode))
    reply = records.read_reply(outcome.reply)
    assert (reply.content, reply.code, outcome.context) == (None, 2, None)
    assert reply.reason.startswith(f"the ClientApp's context cannot be kept: {words}")


def test_an_app_answers_and_its_context_comes_with_it():
    outcome = answer(call())
    reply = records.read_reply(outcome.reply)
    assert reply == Reply(reply.content)
    assert reply.content["arrays"].items["w"].values().tolist() == [1.0]
    assert records.read_records(outcome.context) == {}
