"""Each vector kernel gives the bits of its plain twin, for rows of every shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest

from rcf import Forest, Forests, cut, vector
from rcf.layout import PairLayout, fixed_layout, layout_of
from rcf.row import RowShape, fixed_row, row_for
from rcf.state import OVERHANG, open_block
from tests.rcf.calls import from_python

key_of = from_python(cut.key_of)

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
def group_gap(boxes: Any, at: int, query: Any, begin: int, dimensions: int) -> Any:
    return vector.group_gap(boxes, at, query, begin, dimensions)


@numba.njit
def gap(boxes: Any, at: int, query: Any, row: RowShape) -> Any:
    return vector.box_gap(boxes, at, query, row)


@numba.njit
def write_point(out: Any, to: int, values: Any, at: int, n: int, pad: Any, row: RowShape) -> None:
    vector.point_row(out, to, values, at, n, pad, row)


@numba.njit
def hold_point(out: Any, to: int, values: Any, at: int, n: int, row: RowShape) -> None:
    vector.point_union(out, to, values, at, n, row)


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
def largest(values: Any, start: int, stop: int) -> Any:
    return vector.largest_bits(values, start, stop)


@numba.njit
def bits(value: Any) -> Any:
    return vector.float_bits(value)


class Paths(NamedTuple):
    """What `descend` writes and `fold_paths` reads and writes."""

    nodes: np.ndarray
    unseen: np.ndarray
    ratios: np.ndarray
    depths: np.ndarray
    chances: np.ndarray
    values: np.ndarray
    tops: np.ndarray


class Trees(NamedTuple):
    """Eight trees from `first` on."""

    nodes: np.ndarray
    box_rows: np.ndarray
    boxes: np.ndarray
    first: int
    pairs: int
    last: int


def empty_paths(pairs: int) -> Paths:
    steps = 8 * (pairs + 2)
    return Paths(
        np.zeros(steps, np.int32),
        np.zeros(steps, np.float32),
        np.zeros(8, np.float32),
        np.zeros(8, np.int64),
        np.zeros(steps, np.float32),
        np.zeros(8, np.float64),
        np.zeros(8, np.int64),
    )


@numba.njit
def walk(t: Trees, keys: Any, kind: int, p: Paths, row: RowShape, layout: PairLayout) -> Any:
    return vector.descend(
        t.nodes,
        t.first,
        layout.words * t.pairs,
        t.last,
        keys,
        kind,
        p.nodes,
        p.unseen,
        p.ratios,
        p.depths,
        row,
        layout,
    )


def walk_plain(t: Trees, keys: Any, kind: int, p: Paths, row: RowShape, layout: PairLayout) -> Any:
    ends = (t.first, layout.words * t.pairs, t.last)
    return vector.descend_plain(t.nodes, *ends, keys, kind, *p[:4], row, layout)


@numba.njit
def fold(t: Trees, query: Any, p: Paths, row: RowShape, layout: PairLayout) -> None:
    vector.fold_paths(
        t.nodes,
        t.box_rows,
        t.boxes,
        query,
        p.nodes,
        p.unseen,
        p.depths,
        p.chances,
        p.values,
        p.tops,
        row,
        layout,
    )


@numba.njit
def walk_wide(t: Trees, keys: Any, kind: int, p: Paths, row: RowShape) -> Any:
    return walk(t, keys, kind, p, row, fixed_layout(False))


@numba.njit
def walk_narrow(t: Trees, keys: Any, kind: int, p: Paths, row: RowShape) -> Any:
    return walk(t, keys, kind, p, row, fixed_layout(True))


@numba.njit
def fold_wide(t: Trees, query: Any, p: Paths, row: RowShape) -> None:
    fold(t, query, p, row, fixed_layout(False))


@numba.njit
def fold_narrow(t: Trees, query: Any, p: Paths, row: RowShape) -> None:
    fold(t, query, p, row, fixed_layout(True))


def fold_plain(t: Trees, query: Any, p: Paths, row: RowShape, layout: PairLayout) -> None:
    rest = (p.nodes, p.unseen, p.depths, p.chances, p.values, p.tops)
    vector.fold_plain(t.nodes, t.box_rows, t.boxes, query, *rest, row, layout)


def row_shape(dimensions: int) -> RowShape:
    return row_for(dimensions)


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
            outside = np.any((point < low) | (point > high))
            assert (vector.box_gap_plain(box, 3, query, row) > 0) == outside
            assert same_bits(gap(box, 3, query, row), vector.box_gap_plain(box, 3, query, row))
            total_gap = 0.0
            for start, n in [(16 * g, 8) for g in range(row.groups)] + [
                (16 * row.groups, row.tail)
            ]:
                if n:
                    found = group_gap(box, 3, query, start, n)
                    assert found == vector.group_gap_plain(box, 3, query, start, n)
                    total_gap += found
            wide = [side.astype(np.float64) for side in (low, high, point)]
            exact = np.maximum(np.maximum(wide[0] - wide[2], wide[2] - wide[1]), 0).sum()
            assert total_gap == pytest.approx(exact, rel=1e-12, abs=0)

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


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_points_as_rows(dimensions: int, data: str) -> None:
    """Written, and united with a row; what lies behind the point is read but not used."""
    random = np.random.default_rng(dimensions)
    row = row_shape(dimensions)
    store = np.full(2 + dimensions + OVERHANG, np.nan, np.float32)
    point = store[2 : 2 + dimensions]
    for _ in range(4):
        point[:] = DATA[data](random, dimensions)
        ours, theirs = np.full((2, 3 + row.width), 9, np.float32)
        for padding in (0, 1):
            write_point(ours, 3, store, 2, dimensions, padding, row)
            vector.point_row_plain(theirs, 3, store, 2, dimensions, padding, row)
            assert np.array_equal(ours, theirs)
            assert np.array_equal(ours[3:], as_row(point, point, padding))
        ours[3:] = theirs[3:] = as_row(*np.sort(random.normal(size=(2, dimensions)), 0), 0)
        hold_point(ours, 3, store, 2, dimensions, row)
        vector.point_union_plain(theirs, 3, store, 2, dimensions, row)
        assert np.array_equal(ours, theirs) and not np.any(np.isnan(ours))
        assert np.all(ours[:3] == 9)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_one_face_reached_is_enough(dimensions: int) -> None:
    """A point strictly inside touches nothing; moved onto any one face it does."""
    row = row_shape(dimensions)
    low, high = np.full(dimensions, -2, np.float32), np.full(dimensions, 3, np.float32)
    box = as_row(low, high, 0)
    for i in range(dimensions):
        for value, gap in ((0.5, 0), (-2, 0), (3, 0), (-4, 2), (4, 1)):
            point = np.zeros(dimensions, np.float32)
            point[i] = value
            assert touches(box, 0, as_row(point, point, 1), row) == (value != 0.5)
            assert vector.box_gap_plain(box, 0, as_row(point, point, 0), row) == gap


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 16, 17, 21, 30, 48])
@pytest.mark.parametrize("trees", [1, 8, 11])
@pytest.mark.parametrize("narrow", [False, True])
def test_descents_and_folds(narrow: bool, trees: int, dimensions: int) -> None:
    """Paths, scores and chances of real forests; queries inside, outside and on their points."""
    random = np.random.default_rng(trees)
    size = min(60, 255 // trees)  # so that all boxes fit the narrow layout
    points = np.round(random.normal(size=(400, dimensions)) * 2) / 2
    if narrow:
        forests = Forests(
            1, dimensions, trees=trees, sample_size=size, box_mass=1, time_decay=0.2, seed=trees
        )
        forests.process(np.zeros(len(points), int), points)
        block = open_block(forests.block(0))
    else:
        forest = Forest(dimensions, trees=trees, sample_size=size, seed=trees)
        forest.update(points)
        block = open_block(forest.block)
    assert block.layout is layout_of(narrow)
    row, pairs = block.row, block.pairs
    kernels = (walk_narrow, fold_narrow) if narrow else (walk_wide, fold_wide)
    plain = tuple(partial(twin, layout=layout_of(narrow)) for twin in (walk_plain, fold_plain))
    for trial in range(12):
        point = random.normal(size=dimensions) * 10.0 ** (trial % 3 - 1)
        point = (points[-1 - trial] if trial % 4 == 3 else point).astype(np.float32)
        keys = np.array([key_of(x) for x in point], np.int64)
        query = as_row(point, point, 0)
        for first in range(0, trees, vector.LANES):
            eight = Trees(block.nodes, block.box_rows, block.boxes, first, pairs, trees - 1)
            both = []
            for descend, climb in (kernels, plain):
                paths = empty_paths(pairs)
                steps = descend(eight, keys, trial % 3, paths, row)
                assert steps > paths.depths.max()
                paths.values[:] = np.arange(8) / 7 + 1
                # A lane whose leaf equals the query is not folded.
                paths.tops[:] = paths.depths + (np.arange(8) == trial % 9)
                climb(eight, query, paths, row)
                both.append(paths)
            same_paths(*both)


def same_paths(ours: Paths, theirs: Paths) -> None:
    for name in ("depths", "ratios", "values", "tops"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    for lane in range(vector.LANES):
        depth, top = int(ours.depths[lane]), int(ours.tops[lane])
        for name, n in (
            *((name, depth + 1) for name in ("nodes", "unseen")),
            ("chances", max(0, depth - top)),
        ):
            places = 8 * np.arange(n) + lane
            a, b = getattr(ours, name)[places], getattr(theirs, name)[places]
            assert a.tobytes() == b.tobytes(), f"{name} of lane {lane}"


@pytest.mark.parametrize(("groups", "tail"), [(0, 1), (0, 4), (1, 0), (2, 2)])
def test_rows_known_while_compiling_give_the_same_bits(groups: int, tail: int) -> None:
    @numba.njit
    def union_fixed(out: Any, to: int, boxes: tuple[Any, int, Any, int]) -> Any:
        row = fixed_row(groups, tail)
        return vector.box_union(out, to, boxes[0], boxes[1], boxes[2], boxes[3], row)

    @numba.njit
    def touches_fixed(boxes: Any, at: int, point: Any) -> Any:
        return vector.box_touches(boxes, at, point, fixed_row(groups, tail))

    @numba.njit
    def walk_fixed(t: Trees, keys: Any, p: Paths) -> None:
        walk(t, keys, 0, p, fixed_row(groups, tail), fixed_layout(False))

    @numba.njit
    def fold_fixed(t: Trees, query: Any, p: Paths) -> None:
        fold(t, query, p, fixed_row(groups, tail), fixed_layout(False))

    random = np.random.default_rng(groups)
    dimensions = 8 * groups + tail
    forest = Forest(dimensions, trees=8, sample_size=60, seed=3)
    points = np.round(random.normal(size=(400, dimensions)) * 2) / 2
    forest.update(points)
    block, row, pairs = open_block(forest.block), forest.shape.row, forest.shape.pairs
    assert (row.groups, row.tail) == (groups, tail)
    eight = Trees(block.nodes, block.box_rows, block.boxes, 0, pairs, 7)
    for trial in range(12):
        a, b = (random.normal(size=dimensions).astype(np.float32) for _ in range(2))
        box = as_row(np.minimum(a, b), np.maximum(a, b), 0)
        point = (a if trial % 2 else random.normal(size=dimensions)).astype(np.float32)
        query = as_row(point, point, 0)
        ours, theirs = np.zeros((2, row.width), np.float32)
        total = union(theirs, 0, (box, 0, query, 0), row)
        assert same_bits(union_fixed(ours, 0, (box, 0, query, 0)), total)
        assert np.array_equal(ours, theirs)
        edge = as_row(point, point, 1)
        assert touches_fixed(box, 0, edge) == touches(box, 0, edge, row)
        both = []
        for fixed in (False, True):
            paths = empty_paths(pairs)
            keys = np.array([key_of(x) for x in point], np.int64)
            if fixed:
                walk_fixed(eight, keys, paths)
            else:
                walk_wide(eight, keys, 0, paths, row)
            paths.tops[:] = paths.depths
            if fixed:
                fold_fixed(eight, query, paths)
            else:
                fold_wide(eight, query, paths, row)
            both.append(paths)
        same_paths(*both)


def test_find_equal() -> None:
    random = np.random.default_rng(1)
    values = random.integers(0, 40, 160).astype(np.int32)
    for start in range(0, 160, 16):
        for wanted in range(-1, 41):
            plain = vector.find_equal_plain(values, start, 160, wanted)
            assert find(values, start, 160, wanted) == plain
            hits = np.flatnonzero(values[start:] == wanted)
            assert plain == (start + hits[0] if len(hits) else -1)


def test_largest_bits() -> None:
    random = np.random.default_rng(2)
    for values in (
        random.integers(-(2**31), 2**31, 160).astype(np.int32),
        np.where(random.random(160) < 0.3, -1, random.exponential(size=160)).astype(np.float32),
        np.full(160, -1, np.float32),
    ):
        for start in range(0, 160, 16):
            for stop in range(start + 16, 161, 16):
                found = largest(values, start, stop)
                assert found == vector.largest_bits_plain(values, start, stop)
                best = values[start:stop].max()
                assert find(values, start, stop, found) == start + values[start:stop].argmax()
                assert np.int32(found).view(values.dtype) == best


def test_float_bits_sort_like_the_floats() -> None:
    values = np.array([-3.4e38, -1, -1e-45, 0, 1e-45, 1e-38, 1, 2, 3.4e38], np.float32)
    assert [bits(v) for v in values] == [vector.float_bits_plain(v) for v in values]
    keys = [key_of(v) for v in values]
    assert keys == sorted(set(keys))
