"""What the operator is told of devices that join."""

import json
from io import StringIO

from aggregator import notices
from aggregator.notices import DeviceJoined, DeviceRenewed, JoinAlarm, JoinPaused, JoinPending, JoinRefused
from aggregator.report import describe, json_lines

NOTICES = [
    DeviceJoined("gate", "ab" * 16, "cd" * 16),
    JoinPending("gate", "cd" * 16),
    JoinRefused("cd" * 16, "", "expired"),
    JoinRefused("", "", "malformed"),
    JoinPaused(60.0, 20),
    JoinPaused(60.0, 0),
    JoinAlarm("gate", "cd" * 16, "token"),
    JoinAlarm("gate", "cd" * 16, "tls_key"),
    DeviceRenewed("gate", "ab" * 16, 1_900_000_000),
]


def test_notices_for_people():
    assert [describe(notice) for notice in NOTICES] == [
        "gate has joined",
        "gate waits to be let in: fedloom device approve gate",
        f"a device was not let in (expired), token {'cd' * 16}",
        "a device was not let in (malformed)",
        "too many ask to join, or seem to: only holders of 20 tokens are heard for 60 s, so that rounds go on",
        "too many ask to join, or seem to: nobody is heard for 60 s, so that rounds go on",
        f"ALARM: token {'cd' * 16}, which gate has used, was used with other keys; "
        "if gate is not yours, run: fedloom device revoke gate",
        f"ALARM: the TLS key of gate came with token {'cd' * 16} and with other keys; "
        "if gate is not yours, run: fedloom device revoke gate",
        "",
    ]


def test_notices_for_programs():
    out = StringIO()
    for notice in NOTICES:
        json_lines(out)(notice)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [row["event"] for row in rows] == [
        "joined", "pending", "join_refused", "join_refused", "join_paused", "join_paused", "alarm", "alarm", "renewed"
    ]  # fmt: skip
    assert rows[-1]["not_after"] == 1_900_000_000


def test_every_field_of_a_notice_is_documented():
    for notice in NOTICES:
        assert type(notice).__struct_config__.tag in notices.__doc__
        assert all(field in notices.__doc__ for field in notice.__struct_fields__)
