"""Coverage-guided fuzzing with atheris (libFuzzer) of every target in targets.py, one after the other.

    make fuzz RUNS=10000000      so many executions in all; SECONDS=20 bounds the time instead
    python tests/fuzz/run.py --only token --runs 100000
    python tests/fuzz/run.py --only token --replay FILE

A failure is whatever a target raises but the typed refusal, more than 10 s for one input, or memory beyond 1 GiB;
the input that did it is kept under build/fuzz.
"""

import argparse
import contextlib
import io
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CORPUS = HERE / "corpus"
FOUND = ROOT / "build" / "fuzz"
INSTRUMENTED = ["fedloom", "aggregator", "edge_client"]
DEFAULT_SECONDS = 20.0
TIMEOUT_S = 10
MAX_RSS_MB = 1024
MAX_INPUT_BYTES = 8192
TAIL_LINES = 30


class Outcome(NamedTuple):
    """What came of one target."""

    executions: int
    seconds: float
    rss_mb: int
    failure: str


def main() -> int:
    """Exit status 1 if a target failed."""
    options = _options()
    warnings.simplefilter("error")
    if options.replay:
        return _replay(options.only[0], options.replay)
    try:
        import atheris
    except ImportError:
        print("fuzz: skipped: atheris is not installed here (it has wheels for Linux on x86-64 and some Pythons only)")
        return 0
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=INSTRUMENTED):
        from targets import TARGETS
    names = options.only or list(TARGETS)
    shares = {name: TARGETS[name].share if options.runs else 1 for name in names}
    FOUND.mkdir(parents=True, exist_ok=True)
    outcomes = {}
    for name, share in shares.items():
        part = share / sum(shares.values())
        runs = max(1, round(options.runs * part)) if options.runs else 0
        seconds = float("inf") if options.runs else part * (options.seconds or DEFAULT_SECONDS)
        outcomes[name] = _fuzz(name, runs, seconds, options.keep)
        _tell(name, outcomes[name])
    return _summary(outcomes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fuzz every parser that faces the wire.")
    parser.add_argument("--runs", type=int, help="executions in all, shared out among the targets")
    parser.add_argument("--seconds", type=float, help=f"time in all (default {DEFAULT_SECONDS:.0f})")
    parser.add_argument("--only", action="append", metavar="TARGET", help="this target alone; may be repeated")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input through the target of --only")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the inputs that reached something new")
    options = parser.parse_args()
    if options.replay and len(options.only or ()) != 1:
        parser.error("--replay needs the one target that it is for: --only TARGET")
    return options


def _replay(name: str, path: Path) -> int:
    from targets import TARGETS, accepts

    print("accepted" if accepts(TARGETS[name].run, path.read_bytes()) else "refused")
    return 0


def _fuzz(name: str, runs: int, seconds: float, keep: Path | None) -> Outcome:
    """Run libFuzzer in a child: it ends its process. Instrumentation is inherited, so it is paid for once."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        log, grown = Path(scratch) / "log", keep / name if keep else Path(scratch) / "grown"
        grown.mkdir(parents=True, exist_ok=True)
        for each in sorted((CORPUS / name).iterdir()):
            shutil.copy(each, grown)
        flags = [f"-artifact_prefix={FOUND}/{name}-", f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={MAX_RSS_MB}"]
        flags += [f"-max_len={MAX_INPUT_BYTES}", "-print_final_stats=1", str(grown)]
        flags += [f"-runs={runs}"] if runs else []
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _child(name, flags, seconds, log)
        _, status = os.waitpid(child, 0)
        text = log.read_text(errors="replace")
    failure = "" if status == 0 else _failure(name, text)
    return Outcome(_figure("number_of_executed_units", text), time.monotonic() - began, _peak(text), failure)


def _child(name: str, flags: list[str], seconds: float, log: Path) -> None:
    """Never returns: what the parent has to do must not be done here too. libFuzzer's own limit is whole seconds."""
    import atheris
    from targets import TARGETS, accepts

    output = os.open(log, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    run, until, executions = TARGETS[name].run, time.monotonic() + seconds, 0

    def one(data: bytes) -> None:
        nonlocal executions
        if time.monotonic() > until:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"stat::number_of_executed_units: {executions}\nstat::peak_rss_mb: {peak}", flush=True)
            os._exit(0)
        executions += 1
        try:
            accepts(run, data)
        except Exception:
            path = FOUND / f"{name}-crash-{sha256(data).hexdigest()[:12]}"
            path.write_bytes(data)
            print(f"{traceback.format_exc()}Test unit written to {path}", flush=True)
            os._exit(1)

    try:
        if TARGETS[name].prefix is None:
            atheris.Setup([name, *flags], one)
        else:
            atheris.Setup([name, *flags], one, custom_mutator=_mutator(TARGETS[name].prefix))
        atheris.Fuzz()
    finally:
        os._exit(70)


def _mutator(prefix: int) -> Callable[[bytes, int, int], bytes]:
    """Changes msgpack as a tree as often as libFuzzer changes it as bytes."""
    import atheris
    from mutate import mutated

    def mutate(data: bytes, max_bytes: int, seed: int) -> bytes:
        changed = mutated(data, prefix, random.Random(seed)) if seed & 1 else None
        return atheris.Mutate(data, max_bytes) if changed is None else changed[:max_bytes]

    return mutate


def _failure(name: str, text: str) -> str:
    tail = "\n".join(text.splitlines()[-TAIL_LINES:])
    written = re.search(r"Test unit written to (\S+)", text)
    again = f"python tests/fuzz/run.py --only {name} --replay {written[1]}" if written else "no input was kept"
    return f"{tail}\n  again: {again}"


def _figure(name: str, text: str) -> int:
    """A final figure; of a child that failed, the executions are in its last line of progress."""
    found = re.findall(rf"stat::{name}:\s+(\d+)", text) or re.findall(r"^#(\d+)", text, re.MULTILINE)
    return int(found[-1]) if found else 0


def _peak(text: str) -> int:
    return _figure("peak_rss_mb", text) if "stat::peak_rss_mb" in text else 0


def _tell(name: str, outcome: Outcome) -> None:
    rate = outcome.executions / max(outcome.seconds, 1e-9)
    verdict = "FAILED" if outcome.failure else "ok"
    figures = f"{outcome.executions:>10,} executions {outcome.seconds:7.1f} s {rate:>9,.0f}/s {outcome.rss_mb:>5} MB"
    print(f"{name:<18} {figures}  {verdict}", flush=True)
    if outcome.failure:
        print(outcome.failure, flush=True)


def _summary(outcomes: dict[str, Outcome]) -> int:
    executions = sum(each.executions for each in outcomes.values())
    seconds = sum(each.seconds for each in outcomes.values())
    failed = [name for name, each in outcomes.items() if each.failure]
    print(f"fuzz: {len(outcomes)} targets, {executions:,} executions in {seconds:.0f} s, {executions / seconds:,.0f}/s")
    print(f"fuzz: failed: {', '.join(failed)}" if failed else "fuzz: nothing but typed refusals")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
