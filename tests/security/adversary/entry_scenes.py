"""What devices do while a script about joining is on. Each returns what they refused, by reason."""

from collections import Counter
from collections.abc import Callable, Sequence

from adversary.arena import became, wait_until
from adversary.entrance import KEEPERS, Entrance, is_fresh
from adversary.entries import Ends, Entry
from adversary.fleet import PATIENCE_S, refusals
from adversary.proxy import Script
from fedloom.trust.device_keys import load_device_keys, load_root
from fedloom.trust.tokens import Token

AGAIN_S = 3.0
"""Longer than a device takes to connect anew."""


def join(entrance: Entrance, entry: Entry) -> Counter[str]:
    """Devices with fresh tokens join."""
    tokens_ = [entrance.tokens.pop() for _ in range(entry.joiners)]
    entrance.follow(entry.make())
    begun = [entrance.begin_join(token, is_process=entry.is_process) for token in tokens_]
    if entry.ends is Ends.AFTERWARDS:
        wait_until(lambda: entrance.proxy.acted >= entry.touches)
        assert not any(entrance.has_joined(token) for token in tokens_)
        entrance.let_go(reconnects=entry.reconnects)
    seen = sum((each.result(PATIENCE_S) for each in begun), Counter[str]())
    return _joined(entrance, entry, tokens_, seen)


def join_again(entrance: Entrance, entry: Entry) -> Counter[str]:
    """A device is killed while it waits for its answer, and joins again."""
    token = entrance.tokens.pop()
    entrance.follow(entry.make())
    process = entrance.join_process(token)
    wait_until(lambda: entrance.proxy.acted >= entry.touches)
    process.kill()
    process.wait(PATIENCE_S)
    assert not entrance.has_joined(token)
    seen = entrance.begin_join(token, is_process=False).result(PATIENCE_S)
    return _joined(entrance, entry, [token], seen)


def join_when_approved(entrance: Entrance, entry: Entry) -> Counter[str]:
    """A device waits for approval, and gets it."""
    token = entrance.to_approve.pop()
    entrance.follow(entry.make())
    begun = entrance.begin_join(token, is_process=False)
    wait_until(lambda: entrance.state_of(token) == "pending")
    entrance.approve(token)
    wait_until(lambda: entrance.state_of(token) == "joined")
    acted = entrance.proxy.acted
    wait_until(lambda: entrance.proxy.acted > acted)
    assert not entrance.has_joined(token)
    entrance.let_go(reconnects=entry.reconnects)
    return _joined(entrance, entry, [token], begun.result(PATIENCE_S))


def _joined(entrance: Entrance, entry: Entry, joined: Sequence[Token], seen: Counter[str]) -> Counter[str]:
    assert entrance.proxy.acted >= entry.touches or entry.ends is Ends.AFTERWARDS, "the script did nothing"
    entrance.proxy.follow(Script())
    for token in joined:
        entrance.came_in(token)
    return seen


def renew(entrance: Entrance, entry: Entry) -> Counter[str]:
    """A device wakes whose credential is due."""
    keys = entrance.wake()
    entrance.follow(entry.make())
    with entrance.awake(keys) as daemon:
        if entry.ends is Ends.AFTERWARDS:
            wait_until(lambda: entrance.proxy.acted >= entry.touches)
            assert not is_fresh(keys)
            entrance.let_go(reconnects=entry.reconnects)
        wait_until(lambda: is_fresh(keys))
        assert entrance.proxy.acted or entry.ends is Ends.AFTERWARDS, "the script did nothing"
        entrance.proxy.follow(Script())
    return refusals(daemon)


def renew_twice(entrance: Entrance, entry: Entry) -> Counter[str]:
    """A device is renewed, and once more, and hears then what it was told at first."""
    keys = entrance.wake()
    with entrance.awake(keys) as daemon:
        wait_until(lambda: is_fresh(keys))
        first = load_device_keys(keys).credential.not_after
        entrance.renew_later(keys)
        entrance.follow(entry.make())
        device = load_device_keys(keys).id.hex()

        def is_renewed() -> bool:
            return load_device_keys(keys).credential.not_after > first

        entrance.look()
        entrance.proxy.hang_up(device)  # the registrar looks at a device when that says something
        while not became(is_renewed, AGAIN_S):  # it had not looked at its books before
            entrance.proxy.hang_up(device)
        wait_until(lambda: bool(refusals(daemon)))
        entrance.proxy.follow(Script())
    return refusals(daemon)


def run(entrance: Entrance, entry: Entry) -> Counter[str]:
    """Two devices run, and another one joins."""
    return _follow_roots(entrance, entry, lambda: None)


def rotate(entrance: Entrance, entry: Entry) -> Counter[str]:
    """Two devices run, the root document is replaced, and another device joins."""
    return _follow_roots(entrance, entry, entrance.rotate)


def _follow_roots(entrance: Entrance, entry: Entry, change: Callable[[], None]) -> Counter[str]:
    before = entrance.keepers_logs()
    held = len(entrance.documents)
    entrance.follow(entry.make())
    change()
    token = entrance.tokens.pop()
    seen = entrance.begin_join(token, is_process=False).result(PATIENCE_S)
    entrance.came_in(token)

    def said() -> list[str]:
        return [now[len(then) :] for now, then in zip(entrance.keepers_logs(), before, strict=True)]

    wanted = [reason.removeprefix("device: ") for reason in entry.refusals]
    wait_until(lambda: all(f"reason={reason} " in text for reason in wanted for text in said()))
    if entry.ends is Ends.AFTERWARDS:
        wait_until(lambda: entrance.proxy.acted >= entry.touches)
        assert all(load_root(entrance.directory / name / "keys").version == held for name in KEEPERS)
    entrance.let_go(reconnects=entry.reconnects)
    newest = len(entrance.documents)
    wait_until(lambda: all(load_root(entrance.directory / name / "keys").version == newest for name in KEEPERS))
    return Counter({f"device: {reason}": 1 for reason in wanted}) + seen
