"""Secrets and certificates that cannot be used are named, with the remedy."""

import ssl

import pytest

from fedloom import config
from fedloom.errors import ConfigError
from fedloom.link.config import MqttConfig, Tls, read_password, tls_context


def write(path, text, mode=0o600):
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_the_password_is_the_first_line(tmp_path) -> None:
    assert read_password(MqttConfig(host="h")) is None
    path = write(tmp_path / "secret", "pass word\nnote\n")
    assert read_password(MqttConfig(host="h", password_file=path)) == "pass word"


@pytest.mark.parametrize(
    ("content", "mode", "said"), [("x\n", 0o644, "chmod 600"), ("x\n", 0o640, "chmod 600"), ("", 0o600, "empty")]
)
def test_a_password_file_that_others_read_or_that_is_empty_is_refused(tmp_path, content, mode, said) -> None:
    path = write(tmp_path / "secret", content, mode)
    with pytest.raises(ConfigError, match=said) as refusal:
        read_password(MqttConfig(host="h", password_file=path))
    assert refusal.value.where == path


def test_a_missing_password_file_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_password(MqttConfig(host="h", password_file=str(tmp_path / "none")))


def test_tls_files_that_cannot_be_used_are_named(tmp_path) -> None:
    nothing = write(tmp_path / "nothing.pem", "nothing")
    for tls, said in (
        (Tls(ca=str(tmp_path / "none.pem")), "tls.ca: cannot be used"),
        (Tls(ca=nothing), "tls.ca: cannot be used"),
        (Tls(cert=nothing), "belong together"),
        (Tls(cert=nothing, key=nothing), "tls.cert: cannot be used"),
        (Tls(cert=nothing, key=write(tmp_path / "open.key", "x", 0o644)), "tls.key: mode 0644"),
    ):
        with pytest.raises(ConfigError, match=said):
            tls_context(tls)


def test_old_tls_and_unchecked_certificates_are_never_allowed() -> None:
    context = tls_context(Tls())
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


@pytest.mark.parametrize(
    "text", ["port = 0", "protocol = '4'", "keepalive_s = 0", "tsl = 1", "session_expiry_s = -1", "host = ''"]
)
def test_impossible_settings_are_refused(tmp_path, text) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(text if text.startswith("host") else f"host = 'h'\n{text}\n")
    with pytest.raises(ConfigError, match=text.split(" ", maxsplit=1)[0]):
        config.load(path, MqttConfig)
