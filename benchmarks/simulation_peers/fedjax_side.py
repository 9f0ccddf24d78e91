"""FedJAX: its own federated averaging, for_each_client on the backend that ends the setting's name.

That is `jit`, or `pmap` over two virtual devices of the host, its way to use two cores. The rest of the name is the
version of jax: the newer one is slower in calls and faster in products.
"""

import os
from importlib.metadata import version

import task as tasks

task = tasks.from_arguments()
BACKEND = task.setting.split()[-1]
if BACKEND == "pmap":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import fedjax  # noqa: E402 - jax reads XLA_FLAGS when it is imported
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from fedjax.algorithms import fed_avg  # noqa: E402
from task import RATE, Array  # noqa: E402

if not hasattr(jax, "tree_map"):
    jax.tree_map = jax.tree_util.tree_map  # FedJAX 0.0.17 knows it by its old name alone

Params = list[jax.Array]
Batch = dict[str, jax.Array]


def loss(params: Params, batch: Batch) -> jax.Array:
    """Mean over the batch."""
    out = batch["x"]
    for layer in range(0, len(params) - 2, 2):
        out = jax.nn.relu(out @ params[layer] + params[layer + 1])
    out = out @ params[-2] + params[-1]
    if task.is_regression:
        return 0.5 * jnp.mean((out[:, 0] - batch["y"]) ** 2)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(out), batch["y"][:, None], axis=1)
    return -jnp.mean(chosen)


def main() -> None:
    """FedJAX draws a sample of clients outside of the algorithm; here all take part."""
    data = tasks.data(task)
    fedjax.set_for_each_client_backend(BACKEND)
    gradient = jax.grad(loss)
    algorithm = fed_avg.federated_averaging(
        lambda params, batch, rng: gradient(params, batch),
        fedjax.optimizers.sgd(RATE),
        fedjax.optimizers.sgd(1.0),
        fedjax.ShuffleRepeatBatchHParams(batch_size=task.batch, num_epochs=1, seed=0),
    )
    sets = [fedjax.ClientDataset({"x": each.x, "y": each.y}) for each in data]
    keys = jax.random.split(jax.random.PRNGKey(0), task.clients)
    clients = [(number, sets[number % len(sets)], keys[number]) for number in range(task.clients)]
    state = algorithm.init([jnp.asarray(array) for array in tasks.initial(task)])

    def a_round() -> list[Array]:
        nonlocal state
        state, _ = algorithm.apply(state, clients)
        return [jax.device_get(array) for array in state.params]

    tasks.run(task, {"fedjax": version("fedjax"), "jax": jax.__version__}, data, a_round)


main()
