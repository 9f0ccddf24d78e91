"""The soak itself: its plan, its lines, and 20 seconds of it with few devices."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.broker import find_mosquitto
from soak.invariants import Canaries, check_fusions, check_receipts, check_time
from soak.ledger import Ledger, Round
from soak.plan import Kind, draw_faults
from soak.samples import BLOCKS, slope

ROOT = Path(__file__).resolve().parents[3]


def test_a_seed_gives_the_same_faults_again():
    def first(seed, count):
        return list(itertools.islice(draw_faults(seed, 45, 3.0), count))

    assert first(7, 500) == first(7, 500) != first(8, 500)
    assert {fault.kind for fault in first(7, 500)} == set(Kind)
    assert all(index < 45 for fault in first(7, 500) for index in fault.devices)
    assert 1200 < first(7, 500)[-1].at_s < 1800


def test_a_line_through_noise_is_flat_within_its_bound_and_a_leak_is_not(rng):
    seconds = range(0, 1800, 3)
    noise = rng.normal(50e6, 2e5, len(seconds))
    flat = slope([(float(at_s), value) for at_s, value in zip(seconds, noise, strict=True)])
    leak = slope([(float(at_s), value + 3e3 * at_s) for at_s, value in zip(seconds, noise, strict=True)])
    assert abs(flat.per_hour) < 2 * flat.bound
    assert leak.per_hour - leak.bound > 5e6
    assert leak.per_hour == pytest.approx(3600 * 3e3, rel=0.1)


def test_too_few_points_have_no_line():
    assert slope([(float(number), 1.0) for number in range(3 * BLOCKS - 1)]) is None


def test_what_was_received_but_is_not_kept_is_a_violation(tmp_path):
    """The checks can fail: a soak without violations says something."""
    device, digest = bytes(15) + b"\x01", bytes.fromhex("aabbccdd") + bytes(28)
    ledger = Ledger(tmp_path / "none")
    ledger.rounds[2] = Round(2, bytes(32), 1, 1, "train", "done", 0.0, 1.0)
    ledger.models[1] = (bytes(32), 1)
    log = tmp_path / "device-01.log"
    log.write_text("… INFO receipt.came verdict=accepted digest=aabbccdd reason=''\n")
    assert len(list(check_receipts(ledger, device, log))) == 1
    assert len(list(check_fusions(ledger, []))) == 1
    ledger.updates[2, device] = (digest, "accepted", 2)
    assert not [*check_receipts(ledger, device, log), *check_fusions(ledger, []), *check_time(ledger, 1)]


def test_a_key_in_a_log_is_found(tmp_path):
    (tmp_path / "a.key").write_bytes(bytes(range(32)))
    (tmp_path / "clean.log").write_bytes(b"nothing")
    (tmp_path / "leak.log").write_text(f"key={bytes(range(32)).hex()}")
    canaries = Canaries()
    canaries.learn([tmp_path / "a.key"])
    canaries.search([tmp_path / "clean.log"])
    assert canaries.hits == []
    canaries.search([tmp_path / "leak.log"])
    assert canaries.hits == ["I6: leak.log holds a.key"]


@pytest.mark.slow
@pytest.mark.broker
def test_twenty_seconds_under_faults(tmp_path):
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "faults"), os.environ.get("PYTHONPATH", "")))
    options = ["--minutes", str(20 / 60), "--seed", "3", "--devices", "6", "--every", "2", "--json", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "soak", *options, "--out", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert said["violations"] == said["unexpected"] == [], said
    assert sum(said["faults"].values()) >= 3
    assert "# Soak" in (tmp_path / "soak.md").read_text()
    assert (tmp_path / "soak.svg").read_text().startswith("<svg")
