"""Without atheris: the kept corpus, noise, and damaged corpus through every target; and the fuzzer's own promises."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_corpus import CORPUS, seeds
from mutate import mutated
from targets import TARGETS, accepts

from fedloom.errors import Reason, Refused

RUN = Path(__file__).parent / "run.py"
MUTATIONS = 1500
MAX_CORPUS_FILES, MAX_CORPUS_BYTES = 250, 300_000


def corpus(target):
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def damaged(data, rng, prefix):
    """As a link, a disk or an attacker damages a message: a value, or some bytes: changed, gone, repeated or added."""
    if prefix is not None and rng.random() < 0.5 and (changed := mutated(data, prefix, rng)) is not None:
        return changed
    blob = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(blob) + 1)
        end = start + rng.randrange(8)
        new = [
            b"",
            rng.randbytes(end - start),
            bytes(blob[start:end]) * 2,
            b"\xff" * (end - start),
            b"\xdd\xff\xff\xff\xff",
        ]
        blob[start:end] = rng.choice(new)
    return bytes(blob)


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_is_read_and_some_of_it_is_accepted_and_some_refused(target):
    assert {accepts(TARGETS[target].run, data) for data in corpus(target)} == {True, False}


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=2000))
def test_noise_is_read_or_refused(target, data):
    accepts(TARGETS[target].run, data)


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_messages_are_read_or_refused(target):
    rng, kept = random.Random(target), corpus(target)
    for _ in range(MUTATIONS * min(TARGETS[target].share, 5) // 5):
        accepts(TARGETS[target].run, damaged(rng.choice(kept), rng, TARGETS[target].prefix))


def test_every_target_has_a_corpus_and_the_corpus_is_small():
    assert seeds().keys() == TARGETS.keys() == {path.name for path in CORPUS.iterdir()}
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert len(files) < MAX_CORPUS_FILES
    assert sum(path.stat().st_size for path in files) < MAX_CORPUS_BYTES


def test_only_the_typed_refusal_is_a_refusal():
    def raises(error):
        def target(data):
            raise error

        return target

    assert accepts(lambda data: None, b"")
    assert not accepts(raises(Refused(Reason.MALFORMED)), b"")
    for error in (ValueError(), KeyError(), MemoryError(), RecursionError(), AssertionError()):
        with pytest.raises(type(error)):
            accepts(raises(error), b"")


def run(*arguments):
    command = [sys.executable, str(RUN), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_an_input_is_replayed(tmp_path):
    (tmp_path / "input").write_bytes(corpus("token")[0])
    done = run("--only", "token", "--replay", tmp_path / "input")
    assert (done.returncode, done.stdout) == (0, "accepted\n")


def test_the_fuzzer_runs_and_counts():
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python")
    done = run("--only", "receipt_body", "--only", "topics", "--runs", 3000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fuzz: 2 targets, 3,000 executions" in done.stdout
    assert done.stdout.endswith("fuzz: nothing but typed refusals\n")


def test_the_fuzzer_reports_a_defect_and_keeps_its_input(tmp_path):
    """A copy of the fuzzer whose one target has a defect that only a guided search finds."""
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python")
    folder = tmp_path / "tests" / "fuzz"
    (folder / "corpus" / "bad").mkdir(parents=True)
    (folder / "corpus" / "bad" / "seed").write_bytes(b"AAAA")
    (folder / "run.py").write_text(RUN.read_text().replace('["fedloom"', '["defective", "fedloom"'))
    (folder / "defective.py").write_text(DEFECT)
    (folder / "targets.py").write_text(TABLE)
    done = subprocess.run(
        [sys.executable, folder / "run.py", "--runs", "2000000"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout
    assert "fuzz: failed: bad" in done.stdout
    (kept,) = (tmp_path / "build" / "fuzz").iterdir()
    assert f"--only bad --replay {kept}" in done.stdout
    assert kept.read_bytes()[:4] == b"FUZZ"


DEFECT = """
def read(data):
    if len(data) > 3 and data[0] == 70:
        if data[1] == 85:
            if data[2] == 90:
                if data[3] == 90:
                    return 1 / 0
"""
TABLE = """
from typing import NamedTuple
from defective import read

class Weighted(NamedTuple):
    run: object
    share: int = 1
    prefix: int | None = None

TARGETS = {"bad": Weighted(read)}

def accepts(run, data):
    run(data)
    return True
"""
