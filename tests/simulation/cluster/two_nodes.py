"""A cluster of two nodes, of which the one that is not the head is lost in the middle of the first round.

Usage: python two_nodes.py DIRECTORY. Prints whether the bits were those of one process.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import ray
from federations import job, population, run
from ray.cluster_utils import Cluster

from simulation.cluster.connection import connected
from simulation.cluster.crew import ClusterCrew
from simulation.cohort import cutting
from simulation.cohort.task import AnyTask, Common, Context, Outcome
from strategies.base import Matrix

JOB = job(update={"encoding": "int8"}, strategy={"name": "scaffold"}, rounds={"count": 2, "cohort": 0.5})


def main(directory: str) -> None:
    """All of it."""
    cutting.largest_group = lambda *_: 1  # type: ignore[assignment]
    cutting._CHUNK_FLOP = 1.0
    os.environ["RAY_TMPDIR"] = directory  # where Ray notes the head's address, in a folder that it does not make
    (Path(directory) / "ray").mkdir()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "temp_dir": directory})
    nodes = [cluster.add_node(num_cpus=1)]

    class Losing(ClusterCrew):
        def run(self, common: Common, tasks: Sequence[AnyTask], deltas: Matrix) -> Iterator[Outcome]:
            if nodes:
                ray.wait([*self._starting], num_returns=2)
            for number, outcome in enumerate(super().run(common, tasks, deltas)):
                if number == 4 and nodes:
                    cluster.remove_node(nodes.pop(), allow_graceful=False)
                yield outcome

    def make(context: Context) -> Losing:
        return Losing(context, found.workers)

    people = population(40)
    alone = run(JOB, people)
    try:
        with connected(cluster.address, 0) as found:
            there = run(JOB, people, make)
        same = there.model.weights.tobytes() == alone.model.weights.tobytes()
        print(json.dumps({"same": same, "workers": found.workers, "left": len(nodes)}))
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
