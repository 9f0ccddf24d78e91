"""One case of `fusion.py` on flwr's side, in a process of its own: in an environment without fedloom."""

import logging
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from flwr.app import ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import Bulyan, FedAvg, FedMedian, FedTrimmedAvg, Krum
from fusion_case import Case, from_arguments, report, resident_mib

SAMPLES = 10
RULES: dict[str, Callable[[Case], Any]] = {
    "fedavg": lambda case: FedAvg(),
    "median": lambda case: FedMedian(),
    "trimmed_mean": lambda case: FedTrimmedAvg(beta=case.attackers / case.updates),
    "krum": lambda case: Krum(num_malicious_nodes=case.attackers),
    "bulyan": lambda case: Bulyan(num_malicious_nodes=case.attackers),
}


class Reply(NamedTuple):
    """What an aggregation reads of a Message, which only a running task can make."""

    content: RecordDict

    def has_error(self) -> bool:
        return False


def main() -> None:
    """Arguments: see `Case`; updates are as they arrive at flwr's strategy, in memory."""
    logging.disable(logging.CRITICAL)
    case = from_arguments(sys.argv[1:])
    empty_mib, rng = resident_mib(), np.random.default_rng(1)
    metrics = MetricRecord({"num-examples": SAMPLES})
    vectors = (rng.standard_normal(case.weights, np.float32) for _ in range(case.updates))
    records = [ArrayRecord([vector]) for vector in vectors]

    def fuse() -> None:
        # FedMedian takes the arrays out of the records that it is given: each run has records of its own.
        replies = [Reply(RecordDict({"arrays": ArrayRecord(dict(each)), "metrics": metrics})) for each in records]
        arrays, _ = RULES[case.rule](case).aggregate_train(1, replies)
        if arrays is None:
            raise SystemExit("flwr has made no model")

    report(empty_mib, fuse)


if __name__ == "__main__":
    main()
