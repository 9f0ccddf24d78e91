"""The host: its clock, directories that must be private, and a disk that keeps what is written."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from fedloom.errors import TrustError
from fedloom.files import refuse_shared, write_durably
from fedloom.health.findings import Finding, fail, from_error, ok, warn
from fedloom.trust.documents import DAY_S

_BUILT_S = 1_760_000_000
"""October 2025: this program is not older."""
_SKEW_S = 300
_LEAST_BYTES, _LITTLE_BYTES = 64 * 2**20, 512 * 2**20
_SLOW_SYNC_S = 1.0


def clock(now_s: float, signed_s: int, *, matters: bool) -> Finding:
    """Of this host, against the latest time that the federation has signed (0: none yet); both since 1970, UTC.

    It `matters` where the clock decides what has expired. A device trains with any clock.
    """
    problem = warn if not matters else fail
    do = "set the clock (timedatectl set-ntp true)" + ("" if matters else "; training does not need it")
    said = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if now_s < _BUILT_S:
        return problem("clock", f"it says {said}, before this program was made", do)
    if now_s + _SKEW_S < signed_s:
        return problem("clock", f"{said} is {signed_s - now_s:,.0f} s before a time that the federation has signed", do)
    return ok("clock", said)


def is_owner(directory: Path) -> bool:
    """Whether it is ours. Root may write anywhere, and would leave files there that its owner cannot use."""
    return directory.stat().st_uid == os.geteuid()


def owner(directory: Path) -> Finding:
    """That the doctor runs as the user whose directory it is."""
    user = directory.stat().st_uid
    if is_owner(directory):
        return ok("user", f"{directory} is ours")
    seen = (
        f"we are user {os.geteuid()}, {directory} belongs to user {user}: what writes there, or locks it, was not tried"
    )
    return warn("user", seen, f"run this as that user: runuser -u $(id -un {user}) -- …")


def private(check: str, directory: Path) -> Finding:
    """That nobody else can read what is in a directory."""
    try:
        for path in (directory, *directory.iterdir()):
            refuse_shared(path)
    except TrustError as error:
        return from_error(check, error)
    return ok(check, f"{directory} is private")


def disk(directory: Path) -> Iterator[Finding]:
    """Space, and that a write can be made durable."""
    free = shutil.disk_usage(directory).free
    seen = f"{free / 2**20:,.0f} MiB free on the disk of {directory}"
    if free < _LEAST_BYTES:
        yield fail("disk", seen, "make room: nothing can be accepted when it is full")
    else:
        yield warn("disk", seen, "make room soon") if free < _LITTLE_BYTES else ok("disk", seen)
    probe, start_s = directory / f".doctor-{os.getpid()}", time.monotonic()
    try:
        write_durably(probe, b"doctor")
    except OSError as error:
        yield fail("durable writes", f"{directory}: {error.strerror}", "mend the disk, or remount it for writing")
        return
    finally:
        probe.unlink(missing_ok=True)
    took_s = time.monotonic() - start_s
    seen = f"a write is durable after {took_s * 1000:.0f} ms"
    do = "use a faster disk, or a card that is not worn out"
    yield warn("durable writes", seen, do) if took_s > _SLOW_SYNC_S else ok("durable writes", seen)


def expiry(check: str, what: str, now_s: float, not_before: float, not_after: float, do: str) -> Finding:
    """Of a certificate or a credential; times are seconds since 1970 (UTC)."""
    days = (not_after - now_s) / DAY_S
    until = time.strftime("%Y-%m-%d", time.gmtime(not_after))
    if now_s < not_before - _SKEW_S:
        return fail(
            check, f"{what} is valid only from {time.strftime('%Y-%m-%d', time.gmtime(not_before))}", "see clock"
        )
    if days < 0:
        return fail(check, f"{what} expired on {until}", do)
    if days < max((not_after - not_before) / DAY_S / 10, 1):
        return warn(check, f"{what} expires on {until}, in {days:.1f} days", do)
    return ok(check, f"{what} is valid until {until}")
