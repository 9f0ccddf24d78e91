"""The two innermost loops, written in LLVM's vectors: a block of sums stays in the processor's registers.

What a compiler makes of the same loops in Python reads and writes the sums in every turn, and takes 3 to 20 times as
long (784×200 weights, 10 rows).
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from simulation.cohort.compiled.machine import VECTOR_BYTES

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def tile_product(
    typing: Any,
    adds: Any,
    rows: Any,
    vectors: Any,
    a: Any,
    a_at: Any,
    a_row: Any,
    a_step: Any,
    b: Any,
    b_at: Any,
    b_step: Any,
    c: Any,
    c_at: Any,
    c_row: Any,
    depth: Any,
) -> Any:
    """c[i, :] = Σ_k a[i, k]·b[k, :] for k < `depth` (not 0), i < `rows`, and `vectors` vectors of columns.

    It is added to what c has if `adds` is not 0. The arrays are flat: a[i, k] lies at a_at + i·a_row + k·a_step, the
    rows of b and c begin at b_at + k·b_step and c_at + i·c_row and are aligned to vectors. The first three arguments
    are constants.
    """
    size, width = rows.literal_value, vectors.literal_value
    place = types.intp
    signature = types.void(adds, rows, vectors, a, place, place, place, b, place, place, c, place, place, place)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, _, a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, depth = arguments
        emit = _Emitter(context, builder, signature.args[3].dtype)
        a, b, c = (emit.data(signature.args[number], array) for number, array in ((3, a), (7, b), (10, c)))
        starts = [builder.add(c_at, builder.mul(c_row, _I64(i))) for i in range(size)]
        sums = [emit.zero] * (size * width)
        if adds.literal_value:
            sums = [emit.load(c, starts[i], j) for i in range(size) for j in range(width)]

        def turn(k: Any, sums: list[Any]) -> list[Any]:
            row = builder.add(b_at, builder.mul(k, b_step))
            columns = [emit.load(b, row, j) for j in range(width)]
            first = builder.add(a_at, builder.mul(k, a_step))
            new = []
            for i in range(size):
                factor = emit.spread(a, builder.add(first, builder.mul(a_row, _I64(i))))
                new += [emit.fused(factor, columns[j], sums[i * width + j]) for j in range(width)]
            return new

        sums = emit.loop(_I64(0), depth, sums, turn)
        for i in range(size):
            for j in range(width):
                emit.store(sums[i * width + j], c, starts[i], j)
        return context.get_dummy_value()

    return signature, code


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def add_gathered(
    typing: Any,
    vectors: Any,
    values: Any,
    places: Any,
    begin: Any,
    end: Any,
    b: Any,
    b_at: Any,
    b_row: Any,
    c: Any,
    c_at: Any,
) -> Any:
    """c[:] += Σ values[q]·b[places[q], :] for begin ≤ q < end (not none), and `vectors` vectors of columns.

    The arrays are flat, row r of b begins at b_at + r·b_row and c at c_at, aligned to vectors.
    """
    width, place = vectors.literal_value, types.intp
    signature = types.void(vectors, values, places, place, place, b, place, place, c, place)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, values, places, begin, end, b, b_at, b_row, c, c_at = arguments
        emit = _Emitter(context, builder, signature.args[1].dtype)
        values, places = emit.data(signature.args[1], values), emit.data(signature.args[2], places)
        b, c = emit.data(signature.args[5], b), emit.data(signature.args[8], c)

        def turn(q: Any, sums: list[Any]) -> list[Any]:
            place = builder.zext(builder.load(builder.gep(places, [q])), _I64)
            row = builder.add(b_at, builder.mul(place, b_row))
            factor = emit.spread(values, q)
            return [emit.fused(factor, emit.load(b, row, j), sums[j]) for j in range(width)]

        sums = emit.loop(begin, end, [emit.load(c, c_at, j) for j in range(width)], turn)
        for j in range(width):
            emit.store(sums[j], c, c_at, j)
        return context.get_dummy_value()

    return signature, code


class _Emitter:
    """Vector instructions for arrays of one type of number."""

    def __init__(self, context: Any, builder: Any, number: Any) -> None:
        self._context, self._builder = context, builder
        self._lanes = VECTOR_BYTES * 8 // number.bitwidth
        self._vector = ir.VectorType(context.get_value_type(number), self._lanes)
        self.zero = ir.Constant(self._vector, [0.0] * self._lanes)
        name = f"llvm.fma.v{self._lanes}f{number.bitwidth}"
        kind = ir.FunctionType(self._vector, [self._vector] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, kind, name)
        # LLVM prefers vectors of 256 bits on most processors with AVX-512, and would split ours.
        width = VECTOR_BYTES * 8
        wide = f'"min-legal-vector-width"="{width}" "prefer-vector-width"="{width}"'
        set.add(builder.function.attributes, wide)  # llvmlite's own `add` knows attributes without values only

    def data(self, kind: Any, array: Any) -> Any:
        """The first element's address."""
        return self._context.make_array(kind)(self._context, self._builder, array).data

    def load(self, array: Any, at: Any, number: int) -> Any:
        """Vector `number` from there on."""
        return self._builder.load(self._address(array, at, number), align=VECTOR_BYTES)

    def store(self, vector: Any, array: Any, at: Any, number: int) -> None:
        """To the place that `load` would read."""
        self._builder.store(vector, self._address(array, at, number), align=VECTOR_BYTES)

    def spread(self, array: Any, at: Any) -> Any:
        """One number in all lanes."""
        builder, none = self._builder, ir.Constant(self._vector, ir.Undefined)
        number = builder.load(builder.gep(array, [at]))
        first = ir.Constant(ir.VectorType(_I32, self._lanes), [0] * self._lanes)
        return builder.shuffle_vector(builder.insert_element(none, number, _I32(0)), none, first)

    def fused(self, a: Any, b: Any, c: Any) -> Any:
        """a·b + c."""
        return self._builder.call(self._fma, [a, b, c])

    def loop(self, begin: Any, end: Any, values: list[Any], turn: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
        """`values` after `values = turn(k, values)` for begin ≤ k < end; at least once."""
        builder = self._builder
        entry, body = builder.block, builder.append_basic_block("turn")
        after = builder.append_basic_block("after")
        builder.branch(body)
        builder.position_at_end(body)
        k = builder.phi(_I64)
        k.add_incoming(begin, entry)
        carried = []
        for value in values:
            phi = builder.phi(self._vector)
            phi.add_incoming(value, entry)
            carried.append(phi)
        new = turn(k, carried)
        following = builder.add(k, _I64(1))
        k.add_incoming(following, body)
        for phi, value in zip(carried, new, strict=True):
            phi.add_incoming(value, body)
        builder.cbranch(builder.icmp_signed("<", following, end), body, after)
        builder.position_at_end(after)
        return new

    def _address(self, array: Any, at: Any, number: int) -> Any:
        place = self._builder.add(at, _I64(number * self._lanes))
        return self._builder.bitcast(self._builder.gep(array, [place]), self._vector.as_pointer())
