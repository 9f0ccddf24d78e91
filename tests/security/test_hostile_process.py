"""The attacks of `hostile.attacks` against the real aggregator process over a real broker."""

import time
from pathlib import Path

import numpy as np
import pytest
from hostile.attacks import ATTACKS
from hostile.fleet import PlayedFleet
from hostile.rig import HONEST, INPUTS

from aggregator.notices import Done, RoundClosed, UpdateSeen
from fedloom.learning.model_file import load
from fedloom.wire.messages import Phase, Verdict

BURST = 8
"""Messages of one device that the throttle lets through at once, with room for one that is in frames."""
FLOOD = 2000
KEPT_BACK = {"a megabyte"}
"""Larger than any message of ours: the broker does not even pass it on."""


def shares(attacks, device):
    """The attacks in groups that the throttle lets through; each ends with attacks that are answered."""
    answered = [attack for attack in attacks if attack.answered]
    dropped = [attack for attack in attacks if not attack.answered]
    groups, room = [], 0
    for attack in dropped:
        size = len(attack.make(device))
        if size > room:
            groups.append([])
            room = BURST // 2
        groups[-1].append(attack)
        room -= size
    groups += [[] for _ in range(-(-len(answered) // (BURST // 2)) - len(groups))]
    for attack in answered:
        min(groups, key=lambda group: sum(len(each.make(device)) for each in group)).append(attack)
    return groups


def closed_rounds(fleet):
    """Play the devices to the end of the job; what the aggregator said."""
    notices = []
    for notice in fleet.notices(30):
        notices.append(notice)
        if isinstance(notice, Done):
            for player in fleet.players:
                player.hear()
                player.state("disconnected")
    return notices


def final_step(fleet, notices):
    """What the round added to the model."""
    state = fleet.directory / "aggregator" / "models"
    last = next(notice.model for notice in notices if isinstance(notice, Done))
    first = min(path for path in state.rglob("*.fedloom"))
    return load(Path(last)).weights.astype(np.float64) - load(first).weights


@pytest.fixture
def fleet_of(tmp_path):
    fleets = []

    def make(hostile, **settings):
        fleet = PlayedFleet(tmp_path / str(len(fleets)), hostile, **settings)
        fleets.append(fleet)
        return fleet

    return make


@pytest.mark.parametrize("encoding", ["float32", "int8"])
def test_every_attack_is_refused_and_the_round_is_that_of_the_honest(fleet_of, encoding):
    count = 16
    with fleet_of(count, inputs=INPUTS, count=1, encoding=encoding) as fleet:
        honest, evil = fleet.players[:HONEST], fleet.players[HONEST:]
        fleet.until(lambda: all(player.device.task() for player in fleet.players))
        groups = shares(ATTACKS, evil[0].device)
        assert sum(map(len, groups)) == len(ATTACKS)
        assert all(group[-1].answered for group in groups)
        groups += [[ATTACKS[-1]]] * (count - len(groups))  # those left over say something too, or they would be awaited
        for player, group in zip(evil, groups, strict=True):
            for attack in group:
                player.say(*attack.make(player.device))
            wanted = sum(attack.answered for attack in group)
            fleet.until(lambda p=player, n=wanted: len(p.device.receipt_order) >= n)
            said = [(receipt.verdict, receipt.reason.split(":")[0]) for receipt in player.device.receipt_order]
            assert said == [(Verdict.REJECTED, attack.reason) for attack in group if attack.answered]
        for player in honest:
            player.say(player.device.update())
        fleet.until(lambda: all(player.device.receipt_order for player in honest))
        notices = closed_rounds(fleet)
    (closed,) = [notice for notice in notices if isinstance(notice, RoundClosed) and notice.phase is Phase.TRAIN]
    assert (closed.outcome, closed.accepted, closed.rejected) == ("done", HONEST, count)
    assert closed.dropped == sum(not attack.answered and attack.name not in KEPT_BACK for attack in ATTACKS)
    step = final_step(fleet, notices)
    expected = np.zeros(step.size)
    expected[:HONEST] = 1 / HONEST
    np.testing.assert_allclose(step, expected, atol=2e-3 if encoding == "int8" else 1e-6)
    assert not step[HONEST:].any()
    accepted = {notice.device for notice in notices if isinstance(notice, UpdateSeen) and notice.verdict == "accepted"}
    assert accepted == {player.device.name for player in honest}


def test_a_flood_of_attacks_does_not_grow_the_process_or_delay_the_round(fleet_of):
    """Everything from two devices as fast as the broker takes it, and then the honest ones' answers behind it."""
    with fleet_of(2, inputs=INPUTS, count=1) as fleet:
        honest, evil = fleet.players[:HONEST], fleet.players[HONEST:]
        fleet.until(lambda: all(player.device.task() for player in fleet.players))
        small = [attack for attack in ATTACKS if attack.name not in KEPT_BACK]
        prepared = [[m for attack in small for m in attack.make(player.device)] for player in evil]
        for player, messages in zip(evil, prepared, strict=True):
            player.say(*messages, prepared[0][-1])
        fleet.until(lambda: all(player.device.receipt_order for player in evil))
        first, *others = honest
        began = time.monotonic()
        first.say(first.device.update())
        fleet.until(lambda: first.device.receipt_order)
        honest_s = time.monotonic() - began
        before, began = fleet.memory_kb("VmHWM"), time.monotonic()
        for number in range(FLOOD):
            for player, messages in zip(evil, prepared, strict=True):
                player.say(messages[number % len(messages)])
        fleet.until(lambda: not any(player.queued() for player in evil))
        for player in others:
            player.say(player.device.update())
        fleet.until(lambda: all(player.device.receipt_order for player in others))
        seconds = time.monotonic() - began
        grown = fleet.memory_kb("VmHWM") - before
        notices = closed_rounds(fleet)
    (closed,) = [notice for notice in notices if isinstance(notice, RoundClosed) and notice.phase is Phase.TRAIN]
    assert (closed.outcome, closed.accepted, closed.rejected) == ("done", HONEST, 2)
    assert closed.dropped > FLOOD
    assert grown < 16 * 1024
    assert seconds / (len(evil) * FLOOD) < honest_s  # on whatever machine this is
    step = final_step(fleet, notices)
    assert not step[HONEST:].any()
    assert step[:HONEST] == pytest.approx(1 / HONEST, abs=1e-6)
