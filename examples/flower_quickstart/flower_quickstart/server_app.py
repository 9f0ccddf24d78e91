"""The server's side: federated averaging, and the final model in a file."""

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from flower_quickstart import task

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run all rounds."""
    run = context.run_config
    nodes = int(run["min-nodes"])
    strategy = FedAvg(min_train_nodes=nodes, min_evaluate_nodes=nodes, min_available_nodes=nodes)
    result = strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord({name: Array(values) for name, values in task.initial_model().items()}),
        train_config=ConfigRecord({"learning-rate": float(run["learning-rate"])}),
        num_rounds=int(run["num-server-rounds"]),
    )
    for number, record in result.evaluate_metrics_clientapp.items():
        print(f"round {number}: loss {record['loss']:.3f}, accuracy {record['accuracy']:.3f}", flush=True)
    np.savez(str(run["final-model"]), **{name: array.numpy() for name, array in result.arrays.items()})
