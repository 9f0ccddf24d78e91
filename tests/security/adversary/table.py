"""Every script that the hostile broker follows during rounds, what must hold, and how it must end."""

from functools import partial

from adversary import altering, losing, replaying
from adversary.cases import Case, Outcome
from adversary.fleet import DEADLINE_S, DEVICES, WITNESS

DROPPED = "aggregator: dropped"
FRAMED_BYTES = 1200
"""A packet size at which this job's updates need frames."""
_BRISK = 8
"""Rounds, where they are not held up."""

_FRAME_FIELDS = ", ".join(altering.FRAME)
_REASONS = {
    "magic": "malformed",
    "version": "unknown_version",
    "suite": "unknown_suite",
    "type": "unknown_type",
    "content": "unknown_type",
    "federation": "wrong_federation",
    "sender": "unknown_sender",
    "sender's key": "unknown_key",
    "plain length": "wrong_length",
}
"""Why a device refuses an envelope with an altered byte in that field; everywhere else its signature says so."""

LOSSES = (
    Case(
        "lose a tenth",
        "loses one delivery in ten, of any kind",
        "a round needs no particular message: what is missing comes again, or the round is done without that device",
        partial(losing.LoseSome, 0.1),
        Outcome.CARRIES_ON,
        rounds=2,
    ),
    Case(
        "acknowledge and forget",
        "acknowledges one publish in ten and forgets it",
        "nobody takes a broker's acknowledgement for delivery",
        partial(losing.AcknowledgeAndForget, 0.1),
        Outcome.CARRIES_ON,
        rounds=2,
    ),
    *(
        Case(
            f"lose every {kind}",
            f"loses every {kind}",
            "nothing is fused that did not come",
            partial(losing.Lose, kind),
            Outcome.HELD_UP,
            rounds=1,
        )
        for kind in ("manifest", "task", "chunk", "update")
    ),
    Case(
        "lose every receipt",
        "loses every receipt",
        "the next manifest tells a device that its round is over; nothing counts twice",
        partial(losing.Lose, "receipt"),
        Outcome.UNDISTURBED,
        rounds=_BRISK,
    ),
    Case(
        "hide one device",
        "lets nothing through from or to one device",
        "the others go on without it, and it takes part again afterwards",
        partial(losing.Hide, DEVICES[:1]),
        Outcome.CARRIES_ON,
        rounds=2,
        absent=DEVICES[:1],
    ),
    Case(
        "hide most devices",
        "lets nothing through but from and to one device",
        "no model is made of fewer updates than `rounds.min_updates`",
        partial(losing.Hide, DEVICES[1:]),
        Outcome.HELD_UP,
        rounds=2,
    ),
    Case(
        "silence to devices",
        "delivers nothing to devices any more",
        "the aggregator goes on by its deadlines",
        losing.LoseWayDown,
        Outcome.HELD_UP,
        rounds=1,
    ),
    Case(
        "silence to the aggregator",
        "delivers nothing to the aggregator any more",
        "the aggregator goes on by its deadlines",
        losing.LoseWayUp,
        Outcome.HELD_UP,
        rounds=1,
    ),
    Case(
        "freeze",
        "moves not a byte any more, in either direction, and keeps all connections open",
        "each client notices by its keepalive and hangs up",
        losing.Freeze,
        Outcome.HELD_UP,
        is_noticed=True,
        needs_mosquitto="amqtt publishes the will of a newer connection when an older one of the same client ends",
    ),
    Case(
        "hang up",
        "cuts a device's connection at one delivery in twenty",
        "a device connects anew and goes on where it was",
        partial(losing.HangUp, 0.05),
        Outcome.CARRIES_ON,
        rounds=2,
    ),
)
TIMES = (
    Case(
        "reorder",
        "keeps each delivery for up to 0.1 s, each for another time",
        "order does not matter",
        partial(losing.Reorder, 0.1),
        Outcome.UNDISTURBED,
    ),
    Case(
        "repeat ten times",
        "delivers everything ten times",
        "nothing counts twice; a device that seems to flood the aggregator is throttled, and the others are not",
        partial(losing.Repeat, 10),
        Outcome.CARRIES_ON,
        floods=True,
    ),
    Case(
        "delay one device's updates",
        "delivers one device's updates when their round is over",
        "`late`, never in the wrong round",
        partial(losing.DelayUpdates, DEADLINE_S + 0.5, DEVICES[:1]),
        Outcome.CARRIES_ON,
        ("receipt: late",),
        rounds=2,
        absent=DEVICES[:1],
    ),
    Case(
        "delay all updates",
        "delivers every update when its round is over",
        "`late`, never in the wrong round",
        partial(losing.DelayUpdates, DEADLINE_S + 0.5, DEVICES),
        Outcome.HELD_UP,
        ("receipt: late",),
        rounds=2,
    ),
)
REPLAYS = (
    Case(
        "replay last week",
        "delivers everything of an earlier run once more: manifests, model, tasks, updates, receipts, presence",
        "nothing of it is taken for new",
        replaying.ReplayLastWeek,
        Outcome.UNDISTURBED,
        ("device: old", DROPPED),
        rounds=_BRISK,
    ),
    Case(
        "replay the rounds before",
        "delivers what was delivered in the rounds before once more, ahead of each manifest",
        "nothing of it is taken for new; an old update gets its old receipt, or `late`",
        replaying.ReplayRoundsBefore,
        Outcome.CARRIES_ON,
        ("device: old", "receipt: late"),
        rounds=4,
        floods=True,
    ),
    Case(
        "serve an old manifest",
        "serves all devices an old signed manifest instead of the current one, at a subscription too",
        "no device goes back",
        partial(replaying.OldManifest, DEVICES, DEVICES[:1]),
        Outcome.HELD_UP,
        ("device: old",),
        rounds=1,
    ),
    Case(
        "equivocate",
        "serves half of the devices the current manifest, and the other half an old one",
        "who got the old one stays out; nobody follows two",
        partial(replaying.OldManifest, DEVICES[2:]),
        Outcome.CARRIES_ON,
        ("device: old",),
        rounds=2,
        absent=DEVICES[2:],
    ),
    Case(
        "last will of a device that is there",
        "delivers a device's own last will while it is connected",
        "the others go on without it; its next connection outranks that will",
        partial(replaying.LastWord, DEVICES[0]),
        Outcome.CARRIES_ON,
        rounds=_BRISK,
        reconnects=DEVICES[:1],
    ),
    Case(
        "forge presence",
        "says of each device what another one has signed, and repeats what it said itself",
        "no device seems to go or to come",
        replaying.ForgedPresence,
        Outcome.UNDISTURBED,
        (DROPPED,),
        rounds=_BRISK,
    ),
)
ALTERATIONS = (
    *(
        Case(
            f"flip envelope: {field}",
            f"puts a copy with one altered byte in the {field} before each envelope",
            "the altered one is refused, the genuine one counts",
            partial(altering.FlipEnvelope, place),
            Outcome.UNDISTURBED,
            (f"device: {_REASONS.get(field, 'bad_signature')}", DROPPED),
        )
        for field, place in altering.ENVELOPE.items()
    ),
    Case(
        "flip frames",
        f"has a device send its updates in frames, and puts an altered one before each: in {_FRAME_FIELDS}, in turn",
        "no update is put together from what was altered: it is lost at worst, and sent again",
        partial(altering.FlipFrame, WITNESS, FRAMED_BYTES),
        Outcome.CARRIES_ON,
        (DROPPED,),
        touches=2 * len(altering.FRAME),
        needs_mosquitto="MQTT 3.1.1 cannot tell a client to send smaller packets",
    ),
    Case(
        "flip chunk",
        "puts a copy with one altered byte before each chunk of a model",
        "the altered one is refused by its hash, the genuine one counts",
        altering.FlipChunk,
        Outcome.UNDISTURBED,
        ("device: hash_mismatch",),
    ),
    Case(
        "flip topic",
        "puts a copy under a topic with one altered letter before each message",
        "each is believed under its own topic alone",
        altering.FlipTopic,
        Outcome.UNDISTURBED,
        ("device: wrong_topic", DROPPED),
    ),
    Case(
        "flip anything",
        "alters a byte of one delivery in twenty, and loses the genuine one",
        "a round needs no particular message",
        partial(altering.FlipSome, 0.05),
        Outcome.CARRIES_ON,
        rounds=2,
    ),
    Case(
        "do anything",
        "loses, repeats, delays, alters, cuts or replays one delivery in ten, by chance",
        "a round needs no particular message",
        partial(altering.Anything, 0.1),
        Outcome.CARRIES_ON,
        rounds=2,
    ),
    Case(
        "truncate",
        "puts a copy that was cut before each message: within header, body and signature, and at their borders",
        "the cut one is refused, the genuine one counts",
        altering.Truncate,
        Outcome.UNDISTURBED,
        ("device: malformed", "device: wrong_length", DROPPED),
    ),
    Case(
        "splice",
        "puts two mixtures of it and the message of its kind before it ahead of each envelope",
        "header, body and signature belong together",
        altering.Splice,
        Outcome.UNDISTURBED,
        ("device: bad_signature", DROPPED),
    ),
    Case(
        "swap topics",
        "delivers each message under another's topic, or to another device, before it delivers it right",
        "each is believed under its own topic, by its own recipient, alone",
        altering.SwapTopics,
        Outcome.UNDISTURBED,
        ("device: wrong_recipient", "device: unknown_type", "device: malformed", DROPPED),
    ),
    Case(
        "cross wires",
        "gives two devices what is for the other",
        "neither can read it; the others go on",
        partial(altering.CrossWires, DEVICES[0], WITNESS),
        Outcome.CARRIES_ON,
        ("device: wrong_recipient",),
        rounds=2,
        absent=(DEVICES[0], WITNESS),
    ),
)
CASES = (*LOSSES, *TIMES, *REPLAYS, *ALTERATIONS)


def in_order() -> list[Case]:
    """As they are to be played: after those that empty throttles none comes that minds."""
    return sorted(CASES, key=lambda case: case.floods)
