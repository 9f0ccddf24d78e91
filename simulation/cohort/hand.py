"""One worker process of `simulation.cohort.hands`: takes tasks from its parent until that hangs up.

python -m simulation.cohort.hand LINK CONTEXT DELTAS, which are inherited descriptors.
"""

import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import cast

from simulation.cohort import shared
from simulation.cohort.crew import rows_of
from simulation.cohort.orders import Failure, Order
from simulation.cohort.task import AnyTask, Common, Context, Outcome
from simulation.cohort.worker import Worker
from strategies.base import Matrix


def main(arguments: Sequence[str]) -> None:
    """Until the parent hangs up, as it does at Ctrl-C, too, which only it hears; or dies."""
    link_descriptor, context_descriptor, deltas_descriptor = map(int, arguments)
    link: Connection[object, object] = Connection(link_descriptor)
    packed = cast("shared.Packed", link.recv())
    worker = Worker(cast("Context", shared.unpack(context_descriptor, packed)))
    common, deltas = None, shared.matrix(deltas_descriptor, (0, 0))
    while True:
        try:
            order = cast("Order", link.recv())
        except EOFError:
            return
        common = order.common or common
        assert common is not None  # noqa: S101 - for the type checker: the first order has one
        if deltas.shape != order.shape:
            deltas = shared.matrix(deltas_descriptor, order.shape)
        try:
            link.send(_reply(worker, common, order.task, deltas))
        except BrokenPipeError:  # it has hung up meanwhile
            return


def _reply(worker: Worker, common: Common, task: AnyTask, deltas: Matrix) -> Outcome | Failure:
    try:
        return worker.work(common, task, rows_of(task, deltas))
    except Exception as error:  # noqa: BLE001 - the parent says it, and ends us
        return Failure(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
