"""Tells the operator: JSON lines for programs (`aggregator.notices` documents them), sparse lines for people."""

import sys
from collections.abc import Callable
from typing import TextIO

import msgspec

from aggregator.figures import headline
from aggregator.notices import (
    AnyNotice,
    DeviceJoined,
    DeviceRenewed,
    Done,
    JoinAlarm,
    JoinNotice,
    JoinPaused,
    JoinPending,
    JoinRefused,
    Ready,
    RoundClosed,
    RoundOpened,
    Stalled,
    Started,
    UpdateSeen,
)
from fedloom.wire.messages import Verdict

Tell = Callable[[AnyNotice], None]

_SHOWN = ("accuracy", "f1", "auc", "loss", "mse", "mae", "r2")
_MAX_SHOWN = 3


def json_lines(out: TextIO) -> Tell:
    """One object a line, flushed at once."""

    def tell(notice: AnyNotice) -> None:
        out.write(msgspec.json.encode(notice).decode() + "\n")
        out.flush()

    return tell


def text_lines(out: TextIO) -> Tell:
    """Plain lines; on a terminal, in colour."""
    if out.isatty():
        return _coloured(out)

    def tell(notice: AnyNotice) -> None:
        if line := describe(notice):
            out.write(line + "\n")
            out.flush()

    return tell


def to_operator(*, as_json: bool) -> Tell:
    """The one that fits standard output."""
    return json_lines(sys.stdout) if as_json else text_lines(sys.stdout)


def describe(notice: AnyNotice) -> str:
    """A line for people; empty for what they need not hear."""
    match notice:
        case Started():
            verb = "resuming" if notice.resumed else "starting"
            return f"{verb} job {notice.job} in federation {notice.federation[:8]}"
        case Ready():
            asleep = f", {notice.sleeping} asleep" if notice.sleeping else ""
            return f"{notice.devices} of {notice.needed} devices ready{asleep}"
        case RoundOpened():
            again = f", attempt {notice.attempt}" if notice.attempt > 1 else ""
            return f"{_title(notice)}{again}: {notice.invited} devices invited"
        case UpdateSeen():
            is_usual = notice.verdict is Verdict.ACCEPTED
            return "" if is_usual else f"  {notice.device}: {notice.verdict.value} ({notice.reason})"
        case RoundClosed():
            return _closed(notice)
        case Stalled():
            return f"waiting: {notice.reason}"
        case Done():
            what = f"done: {notice.model}" if notice.model else f"done, after {notice.rounds} rounds"
            return f"{what}{headline(notice.metrics, _SHOWN, _MAX_SHOWN)}"
        case _:
            return _of_joining(notice)


def _of_joining(notice: JoinNotice) -> str:
    match notice:
        case DeviceJoined():
            return f"{notice.device} has joined"
        case JoinPending():
            return f"{notice.device} waits to be let in: fedloom device approve {notice.device}"
        case JoinRefused():
            return f"a device was not let in ({notice.reason}){f', token {notice.token}' if notice.token else ''}"
        case JoinPaused():
            who = f"only holders of {notice.tokens} tokens are" if notice.tokens else "nobody is"
            return f"too many ask to join, or seem to: {who} heard for {notice.seconds:.0f} s, so that rounds go on"
        case JoinAlarm():
            problem = f"ALARM: token {notice.token}, which {notice.device} has used, was used with other keys"
            if notice.shared == "tls_key":
                problem = f"ALARM: the TLS key of {notice.device} came with token {notice.token} and with other keys"
            return f"{problem}; if {notice.device} is not yours, run: fedloom device revoke {notice.device}"
        case DeviceRenewed():
            return ""


def _closed(notice: RoundClosed) -> str:
    if notice.outcome == "aborted":
        return f"{_title(notice)} aborted: {notice.reason}"
    counts = [f"{notice.accepted} accepted"]
    counts += [f"{notice.declined} declined"] if notice.declined else []
    counts += [f"{notice.rejected} rejected"] if notice.rejected else []
    loss = f", train loss {notice.train_loss:.4g}" if notice.train_loss is not None else ""
    figures = headline(notice.metrics, _SHOWN, _MAX_SHOWN)
    return f"{_title(notice)} closed in {notice.seconds:.2f} s: {', '.join(counts)}{loss}{figures}"


def _title(notice: RoundOpened | RoundClosed) -> str:
    return f"round {notice.round} ({notice.phase.value})"


def _coloured(out: TextIO) -> Tell:
    from rich.console import Console  # slow to import, and seldom needed
    from rich.text import Text

    console = Console(file=out, highlight=False)
    styles = {Done: "bold green", Stalled: "yellow", UpdateSeen: "yellow", RoundOpened: "dim", JoinAlarm: "bold red"}

    def tell(notice: AnyNotice) -> None:
        if line := describe(notice):
            is_failure = isinstance(notice, RoundClosed) and notice.outcome == "aborted"
            console.print(Text(line, style="yellow" if is_failure else styles.get(type(notice), "")))

    return tell
