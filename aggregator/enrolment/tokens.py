"""Join tokens and the devices that come with them, as the operator changes them. Each call is one transaction.

What the operator may have meant is looked for behind it: among many names that takes seconds, in which nobody else
could write.
"""

import os
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from aggregator import tables as t
from aggregator.enrolment.naming import Names, check_name
from aggregator.enrolment.states import TokenState
from aggregator.store import Store, is_id
from fedloom.errors import ConfigError
from fedloom.suggest import closest
from fedloom.trust.tokens import SECRET_BYTES, secret_hash

ID_BYTES = 16


class NewToken(msgspec.Struct, frozen=True):
    """A token just made; its secret is nowhere else."""

    id: bytes
    secret: bytes
    name: str

    def __repr__(self) -> str:
        return f"NewToken({self.id.hex()})"


class TokenEntry(msgspec.Struct, frozen=True):
    """A token in the operator's list; times are seconds since 1970 (UTC)."""

    id: str
    name: str
    state: str
    """A TokenState, or `expired`."""
    expires_at: int
    created_at: float
    labels: dict[str, str]
    approval: bool
    """Somebody has to approve its device."""


def make(
    store: Store, names: list[str], expires_at: int, labels: Mapping[str, str], *, needs_approval: bool
) -> list[NewToken]:
    """Make a token for each of `names`; an empty name leaves it to the device.

    Raises:
        ConfigError: a name cannot be used, or is taken.
    """
    made = [NewToken(os.urandom(ID_BYTES), os.urandom(SECRET_BYTES), name) for name in names]
    with store.exclusively() as connection:
        taken = Names(connection)
        for name in filter(None, names):
            check_name(name, "--name")
            if name in taken:
                raise ConfigError("token", "--name", f"{name!r} is taken", "choose another name")
        rows = [_row(each, expires_at, labels, needs_approval=needs_approval) for each in made]
        connection.execute(insert(t.tokens), rows)
    return made


def entries(store: Store, now_s: float) -> list[TokenEntry]:
    """All tokens, oldest first."""
    with store.engine.connect() as connection:
        rows = connection.execute(select(t.tokens).order_by(t.tokens.c.created_at, t.tokens.c.id)).all()
    return [_entry(row, now_s) for row in rows]


def revoke(store: Store, token: str) -> None:
    """Let nobody in with this token.

    Raises:
        ConfigError: there is no such token, or it has let its device in already.
    """
    with store.exclusively() as connection:
        row = connection.execute(select(t.tokens).where(is_id(t.tokens.c.id, token))).first()
        if row and row.state == TokenState.JOINED:
            remedy = f"revoke that: fedloom device revoke {row.name}"
            raise ConfigError("token", "ID", f"{token} has let device {row.name!r} in already", remedy)
        if row:
            _set_state(connection, row.id, TokenState.REVOKED)
    if row is None:
        raise _no_token(token, [entry.id for entry in entries(store, time.time())])


def decide_pending(store: Store, name: str, *, is_approved: bool) -> str:
    """Approve or reject a device that waits, by its name or its token's id; returns its name.

    Raises:
        ConfigError: no such device waits.
    """
    with store.exclusively() as connection:
        rows = connection.execute(select(t.tokens).where(t.tokens.c.state == TokenState.PENDING.value)).all()
        found = next((row for row in rows if name in (row.name, row.id.hex())), None)
        if found:
            _set_state(connection, found.id, TokenState.APPROVED if is_approved else TokenState.REJECTED)
    if found is None:
        raise _nobody_waits(name, [row.name for row in rows])
    return str(found.name)


def _row(made: NewToken, expires_at: int, labels: Mapping[str, str], *, needs_approval: bool) -> dict[str, Any]:
    return {
        "id": made.id,
        "secret_hash": secret_hash(made.secret),
        "name": made.name,
        "labels": msgspec.json.encode(dict(labels)).decode(),
        "needs_approval": needs_approval,
        "created_at": time.time(),
        "expires_at": expires_at,
    }


def _entry(row: Row[Any], now_s: float) -> TokenEntry:
    state = "expired" if row.state == TokenState.UNUSED and row.expires_at < now_s else row.state
    labels = msgspec.json.decode(row.labels, type=dict[str, str])
    return TokenEntry(row.id.hex(), row.name, state, row.expires_at, row.created_at, labels, row.needs_approval)


def _set_state(connection: Connection, token: bytes, state: TokenState) -> None:
    connection.execute(update(t.tokens).where(t.tokens.c.id == token).values(state=state.value))


def _no_token(token: str, known: list[str]) -> ConfigError:
    near = closest(token, known)
    remedy = f"did you mean {near}?" if near else "see: fedloom token list"
    return ConfigError("token", "ID", "there is no token of this id", remedy)


def _nobody_waits(name: str, waiting: list[str]) -> ConfigError:
    near = closest(name, waiting)
    remedy = f"did you mean {near!r}?" if near else "see who waits: fedloom device list"
    return ConfigError("device", "NAME", f"no device {name!r} waits to be let in", remedy)
