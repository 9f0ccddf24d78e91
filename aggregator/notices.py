"""What the operator is told. With --json each notice is one JSON object on a line of standard output:

    event         fields
    ready         devices (how many are ready), needed (how many the job waits for), sleeping (until they are wanted)
    round_opened  round, attempt, phase (statistics | train | evaluate | exchange), invited (devices), target (updates
                  aimed at)
    update        round, attempt, device (its name), verdict (accepted | declined | rejected | late), reason, bytes,
                  staleness (versions of the model since the one that it was trained from; asynchronous jobs)
                  (of the refusals of one device in a round, the 1st, 2nd, 4th, 8th … are told)
    round_closed  round, attempt, phase, outcome (done | aborted), reason, accepted, declined, rejected (devices),
                  seconds (from the decision to open until the decision to close was durable), metrics (figure by name,
                  of the model that the round started from, over all devices that evaluated it; empty if none did),
                  train_loss (mean over the samples of the devices' last epoch; null unless they trained),
                  bytes (the envelopes of all accepted and declined updates),
                  dropped (messages and presence that were not believed, or too many of one device; none got a receipt)
    stalled       reason; the job waits for devices
    done          job (its name), rounds (of training), model (path of the final model), metrics (of the final model)
    joined        device (its name), id (hex), token (the id of its join token, hex)
    pending       device (the name that it will have), token; somebody has to approve it: fedloom device approve
    join_refused  token (empty where the message was not believed), device (name of who has the token, or these keys),
                  reason (of the refusals of one token, and of messages not believed, the 1st, 2nd, 4th … are told)
    join_paused   seconds, tokens; far too many messages came that look like requests to join: for so long only devices
                  with one of so many tokens are heard, so that rounds go on
    alarm         device (its name), token, shared (token: it is bound to the device, and somebody used it with other
                  keys; tls_key: somebody came with the device's TLS key and with other keys beside it)
    renewed       device (its name), id, not_after (seconds since 1970, UTC)
    aggregator    federation (hex), job (its name), resumed (true if a run goes on); the first line

New fields and events may be added; these stay.
"""

from typing import Literal

import msgspec

from aggregator.records import Figures, Outcome
from fedloom.wire.messages import Phase, Verdict


class Notice(msgspec.Struct, frozen=True, tag_field="event"):
    """The base of all notices."""


class Started(Notice, frozen=True, tag="aggregator"):
    federation: str
    job: str
    resumed: bool


class Ready(Notice, frozen=True, tag="ready"):
    devices: int
    needed: int
    sleeping: int = 0


class RoundOpened(Notice, frozen=True, tag="round_opened"):
    round: int
    attempt: int
    phase: Phase
    invited: int
    target: int


class UpdateSeen(Notice, frozen=True, tag="update"):
    round: int
    attempt: int
    device: str
    verdict: Verdict
    reason: str
    bytes: int
    staleness: int = 0


class RoundClosed(Notice, frozen=True, tag="round_closed"):
    round: int
    attempt: int
    phase: Phase
    outcome: Outcome
    reason: str
    accepted: int
    declined: int
    rejected: int
    seconds: float
    metrics: Figures
    train_loss: float | None
    bytes: int
    dropped: int


class Stalled(Notice, frozen=True, tag="stalled"):
    reason: str


class Done(Notice, frozen=True, tag="done"):
    job: str
    rounds: int
    model: str
    metrics: Figures


class DeviceJoined(Notice, frozen=True, tag="joined"):
    device: str
    id: str
    token: str


class JoinPending(Notice, frozen=True, tag="pending"):
    device: str
    token: str


class JoinRefused(Notice, frozen=True, tag="join_refused"):
    token: str
    device: str
    reason: str


class JoinPaused(Notice, frozen=True, tag="join_paused"):
    seconds: float
    tokens: int


class JoinAlarm(Notice, frozen=True, tag="alarm"):
    device: str
    token: str
    shared: Literal["token", "tls_key"]


class DeviceRenewed(Notice, frozen=True, tag="renewed"):
    device: str
    id: str
    not_after: int


JobNotice = Started | Ready | RoundOpened | UpdateSeen | RoundClosed | Stalled | Done
JoinNotice = DeviceJoined | JoinPending | JoinRefused | JoinPaused | JoinAlarm | DeviceRenewed
AnyNotice = JobNotice | JoinNotice
