"""What reads bytes from the wire, each as a function of bytes alone that raises nothing but the typed refusal.

Most bytes on the wire are signed or sealed, and no fuzzer finds a signature. So where that guards a parser, the target
signs and seals what it is given, as a device or an aggregator with valid keys and bad intentions would.
"""

from typing import NamedTuple

import parsers
import roles
from parsers import Target, accepts

from fedloom.wire import messages as m


class Weighted(NamedTuple):
    """A target, and its share of the executions: what signs and seals in each has fewer."""

    run: Target
    share: int = 10
    prefix: int | None = None
    """Bytes before the msgpack that this target reads; None if it reads something else."""


__all__ = ["TARGETS", "accepts"]

TARGETS: dict[str, Weighted] = {
    "envelope": Weighted(parsers.envelope, 20),
    "manifest_body": Weighted(parsers.body(m.Manifest), prefix=0),
    "brief_body": Weighted(parsers.body(m.Brief), prefix=0),
    "task_body": Weighted(parsers.body(m.Task), prefix=0),
    "update_body": Weighted(parsers.body(m.Update), prefix=0),
    "receipt_body": Weighted(parsers.body(m.Receipt), prefix=0),
    "presence_body": Weighted(parsers.body(m.Presence), prefix=0),
    "enrol_body": Weighted(parsers.body(m.Enrol), prefix=0),
    "membership_body": Weighted(parsers.body(m.Membership), prefix=0),
    "missing_body": Weighted(parsers.body(m.Missing), prefix=0),
    "frames": Weighted(parsers.frames),
    "question": Weighted(parsers.question),
    "download": Weighted(parsers.download),
    "topics": Weighted(parsers.topics, 20),
    "encoding": Weighted(parsers.encoding, 20),
    "model": Weighted(parsers.model),
    "app_request": Weighted(parsers.app_request, prefix=0),
    "app_reply": Weighted(parsers.app_reply, prefix=0),
    "values": Weighted(parsers.values, 20, prefix=0),
    "brief": Weighted(parsers.brief, prefix=0),
    "once": Weighted(parsers.once, 2),
    "root": Weighted(parsers.root),
    "root_signed": Weighted(parsers.root_signed, 3, prefix=0),
    "credential": Weighted(parsers.credential),
    "credential_signed": Weighted(parsers.credential_signed, 3, prefix=0),
    "presence": Weighted(roles.presence, 3, prefix=1),
    "screening": Weighted(roles.screening, 20),
    "admission": Weighted(roles.admission, 20, prefix=2),
    "intake": Weighted(roles.intake, 2),
    "manifest": Weighted(roles.manifest, 3, prefix=1),
    "down": Weighted(roles.down, 2, prefix=1),
    "session": Weighted(roles.session, 2),
    "token": Weighted(parsers.token),
    "token_checked": Weighted(parsers.token_checked, 20),
    "request": Weighted(parsers.request, 5),
    "certificate": Weighted(parsers.certificate, 2),
    "enrolment": Weighted(roles.enrolment, 1, prefix=1),
    "membership": Weighted(roles.membership, 2, prefix=0),
}
