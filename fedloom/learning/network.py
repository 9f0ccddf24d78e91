"""Forward and backward passes of a `ModelSpec` for a cohort of clients, each with weights of its own.

The clients are the leading axis of every array; a device is a cohort of one. A layer's bias lies right behind its
weights in the flat vector, so the two are one matrix [W; b] of (fan in + 1, fan out), and every layer's input ends with
a column of ones: z = [a, 1]·[W; b], and [a, 1]ᵀ·∂z is the gradient of weights and bias in a single product.

Everything is allocated when the network is built; a pass allocates nothing but array headers. Element-wise operations
run over whole buffers, the column of ones included, because numpy is slower on views with gaps, and allocates for them.
"""

import math
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import DTypeLike

from fedloom.learning.layout import Array
from fedloom.learning.spec import ModelSpec

_FEW_ROWS = 48
_MANY_WEIGHTS = 128 * 128
"""See `Network._pull_back`."""


class _Layer(NamedTuple):
    """Views of one layer for one number of rows b."""

    x: Array
    """(c, b, fan_in + 1), contiguous: the layer's input and a column of ones."""
    x_transposed: Array
    ones: Array
    """(c, b): that column. It lies in the same places of the buffer for every number of rows."""
    matrix: Array
    """(c, fan_in + 1, fan_out): [W; b]."""
    matrix_transposed: Array
    gradient: Array
    """Like `matrix`; empty if the network does not train."""
    out: Array
    """(c, b, fan_out): where the product goes, inside the next layer's `x`; for the last layer the logits."""
    delta_x: Array
    """(c, b, fan_in + 1), contiguous: ∂loss/∂x, and a last column that nobody reads. Empty for the first layer."""
    delta: Array
    """(c, b, fan_out): ∂loss/∂z, inside the next layer's `delta_x`. The last layer's is `out` itself."""
    turned: Array
    """(c, fan_out, b), contiguous: for a copy of δᵀ. Empty where that does not pay."""
    pulled: Array
    """(c, fan_in + 1, b), contiguous: for W·δᵀ. Empty likewise."""
    mask: Array
    """(c, b, fan_in + 1), contiguous: which inputs are kept, 0 or 1/(1 − dropout). Empty for the first layer."""


class Network:
    """The buffers and the mathematics of one model for `clients` clients and up to `batch` rows each.

    Write weights into `weights` (c, p) and rows into `inputs(b)`; then `forward`, let a loss turn the logits into
    their gradient in place, then `backward`; then read `gradient` (c, p).
    """

    def __init__(
        self, spec: ModelSpec, clients: int, batch: int, dtype: DTypeLike = np.float32, *, trains: bool = True
    ) -> None:
        self.spec = spec
        self.batch = batch
        self.clients = clients
        self.dtype = np.dtype(dtype)
        size = spec.layout().size
        self.weights: Array = np.zeros((clients, size), self.dtype)
        self.gradient: Array = np.zeros((clients, size if trains else 0), self.dtype)
        hidden = [clients * batch * (width + 1) for width in spec.hidden]
        self._xs = [np.ones(length, self.dtype) for length in (clients * batch * (spec.inputs + 1), *hidden)]
        self._deltas = [np.zeros(length if trains else 0, self.dtype) for length in hidden]
        self._masks = [np.zeros(length if trains and spec.dropout else 0, self.dtype) for length in hidden]
        self._logits = np.zeros(clients * batch * spec.outputs, self.dtype)
        self._passes: dict[int, list[_Layer]] = {}

    def inputs(self, rows: int) -> Array:
        """Where the next pass reads its (c, rows, inputs) features from."""
        return self._pass(rows)[0].x[..., :-1]

    def forward(self, rows: int, rng: np.random.Generator | None = None) -> Array:
        """The (c, rows, outputs) logits of `inputs(rows)`, in a buffer that the next pass reuses.

        With `rng`, units are dropped as in training; without, none are.
        """
        first = self._pass(rows)[0]
        np.matmul(first.x, first.matrix, out=first.out)
        return self.forward_from_first(rows, rng)

    def first_products(self, rows: int) -> Array:
        """(c, rows, width): where whoever computes the first layer's products writes them for `forward_from_first`."""
        return self._pass(rows)[0].out

    def forward_from_first(self, rows: int, rng: np.random.Generator | None = None) -> Array:
        """As `forward`, from the first layer's products, which are in `first_products(rows)` already."""
        layers = self._pass(rows)
        for layer in layers[1:]:
            self._activate(layer, rng)
            np.matmul(layer.x, layer.matrix, out=layer.out)
        return layers[-1].out

    def backward(self, rows: int) -> None:
        """Fill `gradient` from ∂loss/∂logits, which the loss has left where `forward` had the logits.

        To be called once after a `forward` with `rng` (or with no dropout): it uses up the activations.
        """
        first = self._pass(rows)[0]
        np.matmul(first.x_transposed, self.backward_to_first(rows), out=first.gradient)

    def backward_to_first(self, rows: int) -> Array:
        """As `backward` for all layers but the first; returns ∂loss/∂z of that, (c, rows, width)."""
        layers = self._pass(rows)
        for layer in reversed(layers[1:]):
            np.matmul(layer.x_transposed, layer.delta, out=layer.gradient)
            self._pull_back(layer)
            self._through_activation(layer)
        return layers[0].delta

    def _pull_back(self, layer: _Layer) -> None:
        """∂loss/∂x = δ·Wᵀ. BLAS is slow where the right factor is transposed, large, and there are few rows (2 times
        with 10 rows and 200×200 weights); then W·δᵀ, with both small factors copied, is faster.
        """
        if not layer.turned.size:
            np.matmul(layer.delta, layer.matrix_transposed, out=layer.delta_x)
            return
        np.copyto(layer.turned, layer.delta.transpose(0, 2, 1))
        np.matmul(layer.matrix, layer.turned, out=layer.pulled)
        np.copyto(layer.delta_x, layer.pulled.transpose(0, 2, 1))

    def _activate(self, layer: _Layer, rng: np.random.Generator | None) -> None:
        """Turn the products in the layer's input into activations."""
        if self.spec.activation == "relu":
            np.maximum(layer.x, 0.0, out=layer.x)
        else:
            np.tanh(layer.x, out=layer.x)
        if rng is not None and self.spec.dropout:
            self._draw(layer.mask, rng)
            np.multiply(layer.x, layer.mask, out=layer.x)
        layer.ones.fill(1.0)

    def _through_activation(self, layer: _Layer) -> None:
        """Turn ∂loss/∂a into ∂loss/∂z. Only the outputs are needed, a = m·f(z) with the mask m ∈ {0, 1/keep}.

        ReLU: the slope is m where a > 0. Tanh: m·(1 − f²) = m − keep·a².
        """
        keep = 1.0 - self.spec.dropout
        slope = layer.x
        if self.spec.activation == "relu":
            np.minimum(slope, 1.0, out=slope)  # np.sign has a branch for each number; these two have none
            np.ceil(slope, out=slope)
            if keep < 1.0:
                np.multiply(slope, 1.0 / keep, out=slope)
        else:
            np.multiply(slope, slope, out=slope)
            if keep < 1.0:
                np.multiply(slope, keep, out=slope)
            np.subtract(layer.mask if keep < 1.0 else 1.0, slope, out=slope)
        np.multiply(layer.delta_x, slope, out=layer.delta_x)

    def _draw(self, mask: Array, rng: np.random.Generator) -> None:
        keep = 1.0 - self.spec.dropout
        rng.random(dtype=cast("type[np.float32]", self.dtype.type), out=mask)
        np.add(mask, keep, out=mask)
        np.floor(mask, out=mask)  # 1 with probability keep, else 0
        np.multiply(mask, 1.0 / keep, out=mask)

    def _pass(self, rows: int) -> list[_Layer]:
        """The views for `rows` rows. A training run uses two numbers of rows: the batch and the ragged last one."""
        layers = self._passes.get(rows)
        if layers is None:
            if not 0 < rows <= self.batch:
                raise ValueError(f"{rows} rows in a network built for 1 to {self.batch}")
            layers = self._passes[rows] = self._views(rows)
        return layers

    def _views(self, rows: int) -> list[_Layer]:
        widths, layers, start = self.spec.widths, [], 0
        empty = self.gradient[:, :0]
        logits = self._shaped(self._logits, rows, widths[-1])
        for number, fan_in, fan_out in zip(range(len(widths)), widths, widths[1:], strict=False):
            shape = (self.clients, fan_in + 1, fan_out)
            stop = start + math.prod(shape[1:])
            matrix = self.weights[:, start:stop].reshape(shape)
            x = self._shaped(self._xs[number], rows, fan_in + 1)
            is_last = number == len(widths) - 2
            trains = self.gradient.size > 0
            turns = trains and number > 0 and 1 < rows <= _FEW_ROWS and math.prod(shape[1:]) >= _MANY_WEIGHTS
            layers.append(
                _Layer(
                    x=x,
                    x_transposed=x.transpose(0, 2, 1),
                    ones=x[..., -1],
                    matrix=matrix,
                    matrix_transposed=matrix.transpose(0, 2, 1),
                    gradient=self.gradient[:, start:stop].reshape(shape) if trains else empty,
                    out=logits if is_last else self._shaped(self._xs[number + 1], rows, fan_out + 1)[..., :-1],
                    delta_x=self._shaped(self._deltas[number - 1], rows, fan_in + 1) if number else empty,
                    delta=logits if is_last else self._shaped(self._deltas[number], rows, fan_out + 1)[..., :-1],
                    turned=np.zeros((self.clients, fan_out if turns else 0, rows), self.dtype),
                    pulled=np.zeros((self.clients, fan_in + 1 if turns else 0, rows), self.dtype),
                    mask=self._shaped(self._masks[number - 1], rows, fan_in + 1) if number else empty,
                )
            )
            start = stop
        return layers

    def _shaped(self, buffer: Array, rows: int, width: int) -> Array:
        """The beginning of a flat buffer as (c, rows, width); (c, 0, width) of one that is not needed."""
        wanted = self.clients * rows * width
        return buffer[:wanted].reshape(self.clients, rows if buffer.size else 0, width)
