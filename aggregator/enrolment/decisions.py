"""Decides on requests to join, and renews: each call is one transaction, durable when it returns.

    unused ──first request──► (pending ──`fedloom device approve`──► approved) ──► joined
       └── revoked ◄── `fedloom token revoke` ──┴──── rejected ◄── `fedloom device reject`

A token is bound to the three public keys that come with it first. The same keys get the same answer for ever; other
keys are refused. So neither a repeated request nor a process that dies before it has answered makes a second device.
"""

import hmac
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select, update

from aggregator import tables as t
from aggregator.enrolment.granting import Granting
from aggregator.enrolment.issuing import PublicKeys
from aggregator.enrolment.naming import Names, free_name
from aggregator.enrolment.records import Decision, Grant, JoinRequest, Shared
from aggregator.enrolment.states import TokenState
from aggregator.keys import AggregatorKeys
from aggregator.records import DeviceRecord
from aggregator.store import Store
from fedloom.errors import Reason, Refused
from fedloom.wire.messages import Admission

_REASONS = {TokenState.REVOKED: Reason.REVOKED, TokenState.REJECTED: Reason.REJECTED}
"""Why a token lets nobody in, as a device is told."""


class Enrolments:
    """Tokens and credentials in the store."""

    def __init__(self, store: Store, keys: AggregatorKeys, days: int, entropy: Callable[[int], bytes]) -> None:
        """`days`: how long a credential lasts."""
        self._store = store
        self._keys = keys
        self._days = days
        self._entropy = entropy

    def decide(self, requests: Sequence[JoinRequest]) -> tuple[Decision, ...]:
        """Decide on requests that came together, in their order.

        Raises:
            StoreError: nothing was written.
        """
        with self._store.exclusively() as connection:
            granting = Granting(connection, self._keys, self._days)
            clerk = _Clerk(connection, granting, self._entropy)
            return tuple(clerk.decide(request) for request in requests)

    def renew(self, devices: Sequence[bytes], now_s: float) -> tuple[Grant, ...]:
        """What these devices should hold, newly issued where that is due; without those that get nothing any more.

        Raises:
            StoreError: nothing was written.
        """
        with self._store.exclusively() as connection:
            granting = Granting(connection, self._keys, self._days)
            grants = [granting.renew(device, now_s) for device in devices]
        return tuple(grant for grant in grants if grant)

    def tokens(self) -> frozenset[bytes]:
        """The ids of all tokens that were ever made."""
        with self._store.engine.connect() as connection:
            return frozenset(connection.scalars(select(t.tokens.c.id)))


class _Clerk:
    """Decides within one transaction."""

    def __init__(self, connection: Connection, granting: Granting, entropy: Callable[[int], bytes]) -> None:
        self._connection = connection
        self._granting = granting
        self._entropy = entropy
        self._known: Names | None = None

    def decide(self, request: JoinRequest) -> Decision:
        token = self._connection.execute(select(t.tokens).where(t.tokens.c.id == request.token)).first()
        if token is None or not hmac.compare_digest(token.secret_hash, request.secret_hash):
            return _refused(request, Reason.UNKNOWN_TOKEN)
        device = self._device(token, request)
        if objection := _objection(token, request):
            return _refused(request, objection, token.name, "token")
        if device and (objection := _objection_to(device, request, self._granting)):
            return _refused(request, objection, device.name, "tls_key")
        if token.state == TokenState.JOINED and device:
            return Decision(request, Admission.ACCEPTED, None, device.name, self._granting.current(device))
        state, name = TokenState(token.state), token.name
        if state == TokenState.UNUSED:
            state, name = self._bind(token, request, device)
        if state == TokenState.PENDING:
            return Decision(request, Admission.PENDING, None, name)
        return self._admit(request, token, name, device)

    def _device(self, token: Row[Any], request: JoinRequest) -> DeviceRecord | None:
        """Whom the token let in; or who has these keys already: a device that joins again stays who it is."""
        return self._granting.device(token.device) if token.device else self._granting.device_with(request.keys.tls)

    def _bind(self, token: Row[Any], request: JoinRequest, device: DeviceRecord | None) -> tuple[TokenState, str]:
        """From now on the token is for these keys alone; returns its state, and what its device is called."""
        name = device.name if device else self._free_name(token, request)
        state = TokenState.PENDING if token.needs_approval else TokenState.APPROVED
        values = {
            "state": state.value,
            "name": name,
            "signing": request.keys.signing,
            "seal": request.keys.seal,
            "tls_key": request.keys.tls,
            "capabilities": msgspec.json.encode(request.capabilities).decode(),
        }
        self._connection.execute(update(t.tokens).where(t.tokens.c.id == request.token).values(values))
        return state, name

    def _admit(self, request: JoinRequest, token: Row[Any], name: str, device: DeviceRecord | None) -> Decision:
        if device:
            grant = self._granting.renew_if_due(self._granting.label(device, token.labels), request.at_s)
        else:
            free = self._names().still_free(name)
            grant = self._granting.add(self._entropy(16), free, request.keys, token.labels, request.at_s)
            self._names().devices.add(free)
        values = {"state": TokenState.JOINED.value, "device": grant.device.id, "name": grant.device.name}
        self._connection.execute(update(t.tokens).where(t.tokens.c.id == request.token).values(values))
        return Decision(request, Admission.ACCEPTED, None, grant.device.name, grant, is_first=True)

    def _free_name(self, token: Row[Any], request: JoinRequest) -> str:
        names = self._names()
        name = names.still_free(token.name) if token.name else free_name(request.wish, names)
        names.promised.add(name)
        return name

    def _names(self) -> Names:
        """Read once a transaction, in which nobody else writes."""
        self._known = self._known or Names(self._connection)
        return self._known


def _objection(token: Row[Any], request: JoinRequest) -> Reason | None:
    """What the token itself has against a request."""
    if reason := _REASONS.get(TokenState(token.state)):
        return reason
    if token.signing is not None:
        bound = PublicKeys(token.signing, token.seal, token.tls_key)
        return None if bound == request.keys else Reason.CONFLICT
    return Reason.EXPIRED if token.expires_at < request.at_s else None


def _objection_to(device: DeviceRecord, request: JoinRequest, granting: Granting) -> Reason | None:
    """What is known against the device that has these keys."""
    if device.revoked:
        return Reason.REVOKED
    try:
        credential = granting.credential(device)
    except Refused:
        return Reason.BAD_CREDENTIAL  # what we have of it is damaged: see fedloom aggregator check
    is_same = (credential.signing, credential.seal, device.tls_key) == request.keys
    return None if is_same else Reason.CONFLICT


def _refused(request: JoinRequest, reason: Reason, name: str = "", shared: Shared | None = None) -> Decision:
    """`shared`: what would be in two hands, if the reason is a conflict."""
    return Decision(request, Admission.REFUSED, reason, name, shared=shared if reason is Reason.CONFLICT else None)
