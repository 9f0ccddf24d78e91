"""How a process reaches its broker, as a section of its configuration file."""

import ssl
import stat
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from fedloom.errors import ConfigError

Protocol = Literal["auto", "5", "3.1.1"]
PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which `ssl` has no name for."""


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TLS 1.2 or later to the broker."""

    ca: str = ""
    """PEM file of the authorities that may sign the broker's certificate; empty is the system's own set."""
    cert: str = ""
    """PEM file of our certificate, for a broker that asks for one."""
    key: str = ""
    """PEM file of its private key, readable by its owner only."""
    check_dates: bool = True
    """False where the clock may be wrong and `ca` is the federation's own authority: its dates are not looked at."""


class MqttConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A broker's address, how to log in, and the bounds of the link."""

    host: Annotated[str, msgspec.Meta(min_length=1)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 1883
    username: str = ""
    """Empty: the client id. Never anonymous, because amqtt keeps no session for anonymous clients."""
    password_file: str = ""
    """First line is the password; readable by its owner only. Empty: no password."""
    tls: Tls | None = None
    protocol: Protocol = "auto"
    """`auto`: MQTT 5, or 3.1.1 where the broker does not have it."""
    keepalive_s: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 30
    """A dead connection is noticed after at most twice this."""
    session_expiry_s: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 2)] = 86_400
    """How long the broker keeps our subscriptions and messages while we are away (MQTT 5; else the broker's choice)."""
    max_queued_bytes: PositiveInt = 64 * 2**20
    """Bound of what waits to be sent or acknowledged by the broker."""
    max_unacknowledged: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 128
    """Received messages that we have not acknowledged, at most (MQTT 5; else the broker's choice)."""


def resolve(config: MqttConfig, base: Path) -> MqttConfig:
    """The same, with paths that are relative to `base` made absolute."""

    def below(path: str) -> str:
        return str(base / path) if path else ""

    tls = config.tls
    if tls is not None:
        tls = msgspec.structs.replace(tls, ca=below(tls.ca), cert=below(tls.cert), key=below(tls.key))
    return msgspec.structs.replace(config, password_file=below(config.password_file), tls=tls)


def read_password(config: MqttConfig) -> str | None:
    """The password, or None where no file is named.

    Raises:
        ConfigError: the file cannot be read, or others can read it.
    """
    if not config.password_file:
        return None
    path = Path(config.password_file)
    _check_secret(path, "password_file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "password_file", f"is not UTF-8 ({error})", "write the password again") from None
    if not lines or not lines[0]:
        raise ConfigError(str(path), "password_file", "its first line is empty", "write the password there")
    return lines[0]


def tls_context(tls: Tls) -> ssl.SSLContext:
    """A context that checks the broker's name and certificate.

    Raises:
        ConfigError: a file is missing, is not what it should be, or the key can be read by others.
    """
    if not tls.check_dates and not tls.ca:
        problem = "false with the system's authorities would accept every certificate that was ever theirs"
        raise ConfigError("tls", "check_dates", problem, "name the federation's own authority in tls.ca")
    if bool(tls.cert) != bool(tls.key):
        raise ConfigError("tls", "cert", "cert and key belong together", "name both or neither")
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(tls.ca, "tls.ca", f"cannot be used ({error})", "name a PEM file of certificates") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.check_dates:
        context.verify_flags |= _NO_CHECK_TIME
    context.sslsocket_class = _TidySocket
    if tls.cert:
        _check_secret(Path(tls.key), "tls.key")
        try:
            context.load_cert_chain(tls.cert, tls.key, password=_no_passphrase)
        except (OSError, ssl.SSLError) as error:
            problem = f"cannot be used with {tls.key} ({error})"
            raise ConfigError(tls.cert, "tls.cert", problem, "name a PEM certificate and its unencrypted key") from None
    return context


class _TidySocket(ssl.SSLSocket):
    """paho leaves the socket of a failed handshake open, until the garbage collector finds it."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _no_passphrase() -> str:
    """Without this, OpenSSL would ask on the terminal of a daemon."""
    return ""


def _check_secret(path: Path, field: str) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(str(path), field, f"cannot be read ({error.strerror})", "check the path") from None
    if mode & 0o077:
        raise ConfigError(str(path), field, f"mode {mode:04o} lets others read it", f"run: chmod 600 {path}")
