"""A ServerApp as Flower's quickstart has it: FedAvg from zero; the result goes into a file."""

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    start = ArrayRecord([np.zeros(3), np.zeros(1, np.float32)])
    strategy = FedAvg(min_available_nodes=3, min_train_nodes=3, min_evaluate_nodes=3)
    rounds = int(context.run_config["num-server-rounds"])
    result = strategy.start(grid=grid, initial_arrays=start, num_rounds=rounds, timeout=60)
    weights, bias = result.arrays.to_numpy_ndarrays()
    trained = [result.train_metrics_clientapp[number]["trained"] for number in range(1, rounds + 1)]
    mse = [result.evaluate_metrics_clientapp[number]["mse"] for number in range(1, rounds + 1)]
    np.savez(str(context.run_config["result"]), weights=weights, bias=bias, trained=trained, mse=mse)
