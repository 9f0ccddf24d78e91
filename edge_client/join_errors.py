"""Why a device could not join, in words for whoever stands before it: what is wrong, and what to do."""

from fedloom.errors import FedloomError, LinkError, Reason, TrustError
from fedloom.trust.tokens import TlsMode, Token

AGAIN = "run the same command again"
_NEW_TOKEN = "make another with: fedloom token new"  # noqa: S105 - a command, not a secret
_REFUSALS: dict[str, str] = {
    Reason.EXPIRED: f"the token has expired; {_NEW_TOKEN}",
    Reason.CONFLICT: f"the token has been used by another device; {_NEW_TOKEN}, and find out who used this one",
    Reason.REVOKED: f"the token, or the device that joined with it, has been revoked; {_NEW_TOKEN}",
    Reason.UNKNOWN_TOKEN: f"the registrar does not know the token; {_NEW_TOKEN}",
    Reason.REJECTED: "this device was not approved; ask whoever runs the federation",
}
_TLS = {
    "CERTIFICATE_VERIFY_FAILED": {
        TlsMode.FEDERATION: "the broker's certificate is not of this federation's authority: either the broker was "
        "given another one (see: fedloom broker config), or somebody is in between",
        TlsMode.SYSTEM: "the broker's certificate does not hold here: check this device's clock and its authorities",
    },
    "CERTIFICATE_REQUIRED": dict.fromkeys(
        (TlsMode.FEDERATION, TlsMode.SYSTEM),
        "the broker wants a certificate, which no new device has: the token must name the port for joining",
    ),
    "WRONG_VERSION_NUMBER": dict.fromkeys(
        (TlsMode.FEDERATION, TlsMode.SYSTEM),
        "the broker does not speak TLS on this port: check the address that the token was made with",
    ),
}


class NotJoinedError(FedloomError):
    """The device has not joined, but nothing speaks against it: to go on, the same command is run again."""

    exit_status = 1


def refusal(reason: str) -> TrustError:
    """The registrar's answer is no."""
    known = _REFUSALS.get(reason)
    shown = "".join(each if each.isprintable() else "·" for each in reason)
    return TrustError(known or f"the registrar refuses this device ({shown}); ask whoever runs the federation")


def refused_by_broker(token: Token, reason: str) -> LinkError:
    """The broker will not have us, or TLS fails, for good."""
    where = f"{token.broker.host}:{token.broker.port}"
    for code, remedies in _TLS.items():
        if code in reason and token.broker.tls in remedies:
            return LinkError(f"{where}: TLS failed ({reason}); {remedies[token.broker.tls]}")
    remedy = f"if the token has expired or was revoked, {_NEW_TOKEN}; else check the broker's configuration"
    return LinkError(f"{where}: {reason}; {remedy}")


def wrong_root(token: Token) -> TrustError:
    """Root documents come, but not the one that the token names."""
    return TrustError(
        f"federation {token.federation.hex()}: none of the broker's root documents is the one that the token names; "
        "nothing was sent. Either the token was made before the federation was set up anew, or somebody is in between; "
        f"{_NEW_TOKEN}"
    )


def unreachable(token: Token, reason: str) -> NotJoinedError:
    """There was no connection."""
    where = f"{token.broker.host}:{token.broker.port}"
    tls = "no TLS" if token.broker.tls is TlsMode.NONE else "TLS"
    remedy = f"check the network and the broker, which speaks {tls} there, as the token says; then {AGAIN}"
    return NotJoinedError(f"{where}: the broker cannot be reached ({reason}); {remedy}")


def no_root(token: Token, denied: str) -> NotJoinedError:
    """The federation is silent."""
    return NotJoinedError(
        f"federation {token.federation.hex()}: the broker has no root document of it{denied}; is its aggregator "
        f"running, and is the token for the federation on this broker? Then {AGAIN}"
    )


def no_answer(detail: str) -> NotJoinedError:
    """The registrar is silent."""
    return NotJoinedError(f"no registrar answers{detail}; is the aggregator running? Then {AGAIN}")


def not_approved(name: str) -> NotJoinedError:
    """Nobody has decided yet."""
    device = name or "this device"
    return NotJoinedError(f"{device} waits for approval (fedloom device approve); when it has been given, {AGAIN}")
