"""The way to the broker, short of MQTT: name, TCP, TLS. No MQTT is spoken, so a running daemon is not disturbed."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from fedloom.errors import ConfigError
from fedloom.health.findings import Finding, fail, ok, warn
from fedloom.health.host import expiry
from fedloom.link.config import MqttConfig, tls_context

_TIMEOUT_S = 5.0
_RENEW = "run again: fedloom broker config, and install what it writes"


def own_certificate(path: Path, now_s: float, do: str) -> Iterator[Finding]:
    """The dates of our certificate (PEM).

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), "tls.cert", f"cannot be read ({error})", "name a PEM certificate") from None
    yield _dates("certificate", str(path), certificate, now_s, do)


def reach(config: MqttConfig, now_s: float) -> Iterator[Finding]:
    """Connect, shake hands, and look at what the broker shows.

    Raises:
        ConfigError: a TLS file cannot be used.
    """
    context = tls_context(config.tls) if config.tls else None
    where = f"{config.host}:{config.port}"
    try:
        plain = socket.create_connection((config.host, config.port), timeout=_TIMEOUT_S)
    except OSError as error:
        yield fail("broker", f"{where}: {error}", "check broker.host and broker.port, the firewall, and that it runs")
        return
    with plain:
        yield ok("broker", f"{where} accepts connections")
        if context is None:
            do = "on a network that is not trusted, configure broker.tls; see docs/broker.md"
            yield warn("TLS", "not used: others see who talks when, and may pass for each other", do)
            return
        try:
            secured = context.wrap_socket(plain, server_hostname=config.host)
        except (OSError, ValueError) as error:
            yield fail(
                "TLS", f"{where}: {error}", "check broker.tls.ca, the certificate's names, its dates and the clock"
            )
            return
        with secured:
            yield from _look(secured, config, now_s)


def _look(secured: ssl.SSLSocket, config: MqttConfig, now_s: float) -> Iterator[Finding]:
    version, cipher = secured.version(), (secured.cipher() or ("unknown",))[0]
    seen = f"{version}, {cipher}"
    if version == "TLSv1.3":
        yield ok("TLS", seen)
    else:
        yield warn("TLS", seen, "set the broker to TLS 1.3: older ones show the devices' certificates to onlookers")
    der = secured.getpeercert(binary_form=True)
    if der is None:
        return
    shown = _dates("broker's certificate", "it", x509.load_der_x509_certificate(der), now_s, _RENEW)
    if config.tls and not config.tls.check_dates and shown.do:
        shown = warn(shown.check, f"{shown.seen}; this host does not look at dates", shown.do)
    yield shown


def _dates(check: str, what: str, certificate: x509.Certificate, now_s: float, do: str) -> Finding:
    start, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return expiry(check, what, now_s, start, end, do)
