"""Each vector kernel gives the bits of its plain twin, for rows of every shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

from rcf import Forest, vector
from rcf.cut import key_of
from rcf.row import RowShape
from rcf.state import Shape, open_block

DIMENSIONS = [*range(1, 41), 47, 48, 64, 100, 129]

#: Values that rows are made of: (name, one value per place).
DATA: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda random, n: random.normal(size=n),
    "scales": lambda random, n: random.normal(size=n) * 10.0 ** random.integers(-37, 37, n),
    "few": lambda random, n: random.choice([-1.0, 0.0, 1.0], n),
    "denormal": lambda random, n: random.integers(-3, 4, n) * 1.4e-45,
    "largest": lambda random, n: random.choice([-3.4e38, 3.4e38, 1.0], n),
}


@numba.njit
def gap(boxes: Any, at: int, query: Any, row: RowShape) -> Any:
    return vector.box_gap(boxes, at, query, row)


@numba.njit
def union(out: Any, to: int, boxes: tuple[Any, int, Any, int], row: RowShape) -> Any:
    return vector.box_union(out, to, boxes[0], boxes[1], boxes[2], boxes[3], row)


@numba.njit
def touches(boxes: Any, at: int, point: Any, row: RowShape) -> Any:
    return vector.box_touches(boxes, at, point, row)


@numba.njit
def find(values: Any, start: int, stop: int, wanted: int) -> Any:
    return vector.find_equal(values, start, stop, wanted)


@numba.njit
def bits(value: Any) -> Any:
    return vector.float_bits(value)


@numba.njit
def walk(nodes: Any, masses: Any, trees: tuple[int, int, int], keys: Any, out: Any) -> Any:
    """`trees`: first, stride, last; `out`: path, path_mass, path_ratio, depths."""
    return vector.descend(
        nodes, masses, trees[0], trees[1], trees[2], keys, out[0], out[1], out[2], out[3]
    )


def walk_plain(nodes: Any, masses: Any, trees: tuple[int, int, int], keys: Any, out: Any) -> Any:
    return vector.descend_plain(nodes, masses, *trees, keys, *out)


def row_shape(dimensions: int) -> RowShape:
    return Shape(dimensions, 1, 1, 1, 64, 1).row


def as_row(low: np.ndarray, high: np.ndarray, padding: float) -> np.ndarray:
    """The row ``[low | -high]`` of a box, group by group as `rcf.vector` describes."""
    row = row_shape(len(low))
    out = np.full(row.width, padding, np.float32)
    sizes = [8] * row.groups + ([row.tail] if row.tail else [])
    at, done = 0, 0
    for n in sizes:
        take = min(n, len(low) - done)
        out[at : at + take] = low[done : done + take]
        out[at + n : at + n + take] = -high[done : done + take]
        at, done = at + 2 * n, done + take
    assert done == len(low) and at == row.width
    return out


def same_bits(a: np.ndarray | np.float32, b: np.ndarray | np.float32) -> bool:
    return np.asarray(a, np.float32).tobytes() == np.asarray(b, np.float32).tobytes()


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_rows(dimensions: int, data: str) -> None:
    random = np.random.default_rng(dimensions)
    row = row_shape(dimensions)
    for trial in range(4):
        corners = [DATA[data](random, dimensions).astype(np.float32) for _ in range(4)]
        low, high = np.minimum(*corners[:2]), np.maximum(*corners[:2])
        box = np.concatenate([np.ones(3, np.float32), as_row(low, high, 0)])
        inside = (low / 2 + high / 2).astype(np.float32)
        point = [corners[2], inside, high][trial % 3]
        query, edge = as_row(point, point, 0), as_row(point, point, 1)
        with np.errstate(over="ignore"):
            expected = vector.box_gap_plain(box, 3, query, row)
            assert same_bits(gap(box, 3, query, row), expected)
            outside = np.any((point < low) | (point > high))
            assert (expected > 0) == outside

            other = as_row(np.minimum(*corners[2:]), np.maximum(*corners[2:]), 0)
            ours, theirs = np.full((2, row.width + 5), 9, np.float32)
            total = union(ours, 2, (box, 3, other, 0), row)
            assert same_bits(total, vector.box_union_plain(theirs, 2, box, 3, other, 0, row))
            assert np.array_equal(ours, theirs)
            # In place: the result may be one of the two.
            assert same_bits(union(box, 3, (box, 3, other, 0), row), total)
            assert np.array_equal(box[3:], ours[2 : 2 + row.width])

        box[3:] = as_row(low, high, 0)
        reached = touches(box, 3, edge, row)
        assert reached == vector.box_touches_plain(box, 3, edge, row)
        assert reached == bool(np.any((point <= low) | (point >= high)))


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_one_face_reached_is_enough(dimensions: int) -> None:
    """A point strictly inside touches nothing; moved onto any one face it does."""
    row = row_shape(dimensions)
    low, high = np.full(dimensions, -2, np.float32), np.full(dimensions, 3, np.float32)
    box = as_row(low, high, 0)
    for i in range(dimensions):
        for value, gap_there in ((0.5, 0), (-2, 0), (3, 0), (-4, 2), (4, 1)):
            point = np.zeros(dimensions, np.float32)
            point[i] = value
            assert touches(box, 0, as_row(point, point, 1), row) == (value != 0.5)
            assert gap(box, 0, as_row(point, point, 0), row) == gap_there


@pytest.mark.parametrize("trees", [1, 3, 8, 9, 20])
def test_descent(trees: int) -> None:
    random = np.random.default_rng(trees)
    forest = Forest(3, trees=trees, sample_size=60, seed=trees)
    forest.update(np.round(random.normal(size=(400, 3)) * 2) / 2)
    block = open_block(forest.block)
    stride = 2 * forest.shape.pairs
    for _ in range(30):
        point = random.normal(size=3).astype(np.float32)
        keys = np.array([key_of(x) for x in point], np.int64)
        for first in range(0, trees, vector.LANES):
            outs, steps = [], []
            for function in (walk, walk_plain):
                out = (
                    np.zeros(8 * stride, np.uint16),
                    np.zeros(8 * stride, np.float32),
                    np.zeros(8 * stride, np.float32),
                    np.zeros(8, np.int64),
                )
                lanes = (first, stride, trees - 1)
                steps.append(function(block.nodes, block.masses, lanes, keys, out))
                outs.append(out)
            assert np.array_equal(outs[0][3], outs[1][3])
            assert min(steps) > outs[0][3].max()
            for lane in range(vector.LANES):
                places = 8 * np.arange(outs[0][3][lane] + 1) + lane
                for ours, theirs in zip(outs[0][:3], outs[1][:3], strict=True):
                    assert ours[places].tobytes() == theirs[places].tobytes()


def test_find_equal() -> None:
    random = np.random.default_rng(1)
    values = random.integers(0, 40, 160).astype(np.int32)
    for start in range(0, 160, 16):
        for wanted in range(-1, 41):
            plain = vector.find_equal_plain(values, start, 160, wanted)
            assert find(values, start, 160, wanted) == plain
            hits = np.flatnonzero(values[start:] == wanted)
            assert plain == (start + hits[0] if len(hits) else -1)


def test_float_bits_sort_like_the_floats() -> None:
    values = np.array([-3.4e38, -1, -1e-45, 0, 1e-45, 1e-38, 1, 2, 3.4e38], np.float32)
    assert [bits(v) for v in values] == [vector.float_bits_plain(v) for v in values]
    keys = [key_of(v) for v in values]
    assert keys == sorted(set(keys))
