"""Configuration errors are one line that names file, field, value and remedy."""

from typing import Annotated, Literal

import msgspec
import pytest

from fedloom.config import load
from fedloom.errors import ConfigError


class Broker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str
    patience_s: float = 1.0
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1883


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    broker: Broker
    names: tuple[str, ...] = ()
    backup: Broker | None = None
    hue: Literal["red", "blue"] = "red"
    limits: dict[str, tuple[int, ...]] = {}
    labels: dict[str, dict[str, int]] = {}
    last: int = 0
    title: Annotated[str, msgspec.Meta(pattern=r"^[a-z]+\Z", description="lower-case letters")] = "a"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "edge.toml"


def refusal(file, text, **overlay):
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, Example, overlay, "X" if overlay else "")
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{file}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[broker]\nhots = 'a'", "broker.hots: is not a known key; did you mean 'host'?"),
        ("[broker]\nhost = 'a'\nzzz = 1", "broker.zzz: is not a known key; known keys are host, patience_s, port"),
        ("brokr = 1", "brokr: is not a known key; did you mean 'broker'?"),
        ("[broker]\nhost='a'\n[backup]\nhost='b'\nprt=1", "backup.prt: is not a known key; did you mean 'port'?"),
        ("[broker]\nport = 1", "broker.host: is missing; add it"),
        ("[broker]\nhost = 'a'\nport = 0", "broker.port: 0: expected `int` >= 1; correct the value"),
        ("[broker]\nhost = 'a'\nport = 'x'", "broker.port: 'x': expected `int`, got `str`; correct the value"),
        ("[broker]\nhost='a'\npatience_s = inf", "broker.patience_s: inf is not a finite number; correct the value"),
        ("names = [nan]\n[broker]\nhost='a'", "names[0]: nan is not a finite number; correct the value"),
        ("names = ['a', 2]\n[broker]\nhost='a'", "names[1]: 2: expected `str`, got `int`; correct the value"),
        ("hue = 'blu'\n[broker]\nhost='a'", "hue: 'blu': invalid enum value 'blu'; choose one of red, blue"),
        (f"last = {2**63}\n[broker]\nhost='a'", "last: 9223372036854775808 is too large a number; correct the value"),
        ("names = 'a'\n[broker]\nhost='a'", "names: 'a': expected `array`, got `str`; make it a list: [\"a\"]"),
        (
            "title = 'A'\n[broker]\nhost='a'",
            "title: 'A': expected `str` matching regex '^[a-z]+\\\\Z'; write lower-case letters",
        ),
        ("hue = 3\n[broker]\nhost='a'", "hue: 3: expected `str`, got `int`; correct the value"),
    ],
)
def test_errors_name_the_field_the_value_and_the_remedy(file, text, message):
    assert refusal(file, text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = [1]\nb = 2", "limits.b: 2: expected `array`, got `int`; make it a list: [2]"),
        ("a = [1]\nb = 2020-01-01", "limits.b: 2020-01-01: expected `array`, got `date`; make it a list"),
        ("a = [1]\n'b.c' = [2, 'x']", "limits.\"b.c\"[1]: 'x': expected `int`, got `str`; correct the value"),
        ("a = [1]\n[labels]\nx = { y = 1 }\nz = { y = 1, w = 'q' }", "labels.z.w: 'q': expected `int`, got `str`"),
    ],
)
def test_a_key_that_everybody_may_choose_is_named_too(file, text, message):
    """Also where something else is wrong further on, which the keys that are right lead to."""
    assert refusal(file, f"[broker]\nhost = 'a'\n[limits]\n{text}\n[backup]\nprt = 1").startswith(message)


def test_broken_toml_names_the_line(file):
    message = refusal(file, "[broker\n")
    assert "is not TOML" in message
    assert "line 1" in message


def test_a_missing_file_says_so(file):
    with pytest.raises(ConfigError, match="there is no such file"):
        load(file, Example)


def test_bytes_that_are_not_text_say_so(file):
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(file, Example)


def test_the_environment_overrides(file):
    file.write_text("[broker]\nhost = 'a'")
    overlay = {"X__BROKER__PORT": "99", "X__BROKER__HOST": "b.example", "Y__NAMES": "1", "X__NAMES": '["n"]'}
    assert load(file, Example, overlay, "X") == Example(Broker("b.example", port=99), ("n",))


def test_the_environment_cannot_turn_a_value_into_a_table(file):
    assert "unset X__NAMES__A" in refusal(file, "names = ['a']\n[broker]\nhost='a'", X__NAMES__A="1")
