"""`make soak MINUTES=30 SEED=1`: exit status 0 where nothing that was required is missed, else 1."""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from soak.page import write_page
from soak.run import Plan, Soak
from soak.verdicts import Verdict, judge


def main() -> int:
    """Run it, and say what it has shown."""
    options = _parser().parse_args()
    plan = Plan(60 * options.minutes, options.seed, options.devices, min(5, options.devices // 2), options.every)
    directory, say = Path(tempfile.mkdtemp(prefix="fedloom-soak-")), _keep_quiet if options.quiet else _say
    say(f"{plan.devices} devices for {options.minutes:g} min, seed {plan.seed}, in {directory}")
    found = Soak(directory / "federation", plan, say).run()
    verdicts = judge(found)
    command = f"make soak MINUTES={options.minutes:g} SEED={options.seed}"
    if options.out:
        write_page(options.out, command, found, verdicts)
    if options.json:
        print(json.dumps({"verdicts": [each._asdict() for each in verdicts], "violations": found.violations,
                          "unexpected": found.unexpected, "faults": found.faults, "seed": plan.seed}))  # fmt: skip
    else:
        print("\n".join([*map(_line, verdicts), *found.violations, *found.unexpected]))
    has_failed = any(each.is_met is False for each in verdicts)
    if not (has_failed or options.keep):
        shutil.rmtree(directory)
    return int(has_failed)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _keep_quiet(_: str) -> None:
    pass


def _line(verdict: Verdict) -> str:
    mark = {True: "ok  ", False: "FAIL", None: "?   "}[verdict.is_met]
    return f"{mark} {verdict.what}: {verdict.figure}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make soak", description="A federation of processes under random faults.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--every", type=float, default=3.0, help="mean seconds between two faults")
    parser.add_argument("--out", type=Path, metavar="DIRECTORY", help="write soak.md and soak.svg there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.add_argument("--keep", action="store_true", help="leave the processes' files there; failures do")
    return parser


if __name__ == "__main__":
    sys.exit(main())
