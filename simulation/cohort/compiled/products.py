"""A layer's products, dense and sparse, over flat padded arrays (see `padded`)."""

from fedloom.learning.layout import Array
from simulation.cohort.compiled.machine import HAS_32_REGISTERS, compiled
from simulation.cohort.compiled.padded import TILE
from simulation.cohort.compiled.sparse import Places
from simulation.cohort.compiled.tiles import add_gathered, tile_product

_TWO, _THREE = (2, 3) if HAS_32_REGISTERS else (1, 1)
"""Vectors of a row in a tile: as many as the registers hold sums."""
_MANY = 12 if HAS_32_REGISTERS else 8


@compiled
def forward(
    x: Array,
    x_at: int,
    x_row: int,
    depth: int,
    w: Array,
    w_at: int,
    wide: int,
    out: Array,
    out_at: int,
    out_row: int,
    rows: int,
    tile: int,
    lanes: int,
) -> None:
    """out[i, :] = x[i, :depth]·w for `rows` rows, a multiple of `tile`."""
    for i in range(0, rows, tile):
        a, c = x_at + i * x_row, out_at + i * out_row
        j = 0
        while j + _TWO * lanes <= wide:
            if tile == 10:
                tile_product(0, 10, _TWO, x, a, x_row, 1, w, w_at + j, wide, out, c + j, out_row, depth)
            elif tile == 8:
                tile_product(0, 8, _TWO, x, a, x_row, 1, w, w_at + j, wide, out, c + j, out_row, depth)
            else:
                tile_product(0, 4, _TWO, x, a, x_row, 1, w, w_at + j, wide, out, c + j, out_row, depth)
            j += _TWO * lanes
        if j < wide:
            if tile == 10:
                tile_product(0, 10, 1, x, a, x_row, 1, w, w_at + j, wide, out, c + j, out_row, depth)
            elif tile == 8:
                tile_product(0, 8, 1, x, a, x_row, 1, w, w_at + j, wide, out, c + j, out_row, depth)
            else:
                tile_product(0, 4, 1, x, a, x_row, 1, w, w_at + j, wide, out, c + j, out_row, depth)


@compiled
def add_update(
    x: Array,
    x_at: int,
    x_row: int,
    d: Array,
    d_at: int,
    wide: int,
    w: Array,
    w_at: int,
    deep: int,
    rows: int,
    lanes: int,
) -> None:
    """w += xᵀ·d, of `rows` rows."""
    for p in range(0, deep, TILE):
        c = w_at + p * wide
        j = 0
        while j + _THREE * lanes <= wide:
            tile_product(1, TILE, _THREE, x, x_at + p, 1, x_row, d, d_at + j, wide, w, c + j, wide, rows)
            j += _THREE * lanes
        if j + _TWO * lanes <= wide:
            tile_product(1, TILE, _TWO, x, x_at + p, 1, x_row, d, d_at + j, wide, w, c + j, wide, rows)
            j += _TWO * lanes
        while j < wide:
            tile_product(1, TILE, 1, x, x_at + p, 1, x_row, d, d_at + j, wide, w, c + j, wide, rows)
            j += lanes


@compiled
def pull_back(
    w: Array, w_at: int, deep: int, wide: int, turned: Array, columns: int, depth: int, out: Array, lanes: int
) -> None:
    """out (deep, columns) = w·turned, of the first `depth` columns of w."""
    for p in range(0, deep, TILE):
        for j in range(0, columns, lanes):
            tile_product(
                0, TILE, 1, w, w_at + p * wide, wide, 1, turned, j, columns, out, p * columns + j, columns, depth
            )


@compiled
def add_rows(
    values: Array,
    places: Places,
    begin: int,
    end: int,
    b: Array,
    b_at: int,
    wide: int,
    c: Array,
    c_at: int,
    lanes: int,
) -> None:
    """c[:] += Σ values[q]·b[places[q], :] for begin ≤ q < end."""
    if begin == end:
        return
    j = 0
    while j + _MANY * lanes <= wide:
        add_gathered(_MANY, values, places, begin, end, b, b_at + j, wide, c, c_at + j)
        j += _MANY * lanes
    while j + 4 * lanes <= wide:
        add_gathered(4, values, places, begin, end, b, b_at + j, wide, c, c_at + j)
        j += 4 * lanes
    while j < wide:
        add_gathered(1, values, places, begin, end, b, b_at + j, wide, c, c_at + j)
        j += lanes
