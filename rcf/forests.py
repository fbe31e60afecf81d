"""Many forests of one shape, a series each, in one call and in little memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike

from rcf import state
from rcf.arguments import as_rows, whole
from rcf.block import grown, new_block
from rcf.errors import InvalidParameter
from rcf.rng import seed_states
from rcf.run import run_all
from rcf.special import specialist_for
from rcf.state import F64, I64, U8, Shape

#: Bytes of blocks that are allocated together: enough for the system to use large pages.
_SLAB = 1 << 26


class Forests:
    """Streaming random cut forests for many series of one kind: as `Forest`, and small.

    Series are numbered from 0. Series 0 has the scores of ``Forest`` with the same arguments and
    seed, bit for bit; the others have seeds of their own. Not safe for use from two threads at
    once; kernels release the GIL.

    Args:
        series: Series to start with, 0 to 10^9; `add` makes room for more.
        features: Values a record, 1 to 65535 / shingle_size.
        shingle_size: Records a point, at least 1.
        trees: Trees, 1 to 10000.
        sample_size: Points a tree, 1 to 16383. Bytes are better spent on it than on trees.
        time_decay: See `Forest`. Default 1 / (4 sample_size): the records that a forest keeps
            grow with the lifetime of its points.
        score: "codisp", "disp" or "depth".
        output_after: See `Forest`.
        initial_accept_fraction: See `Forest`.
        box_mass: Branches over at most this many points, 1 to 16383, keep no bounding box, and
            more than these where a series runs out of room for boxes. Scores do not depend on it.
        seed: 0 to 2^64 - 1.

    Raises:
        InvalidParameter: A parameter is outside what is allowed.
    """

    def __init__(
        self,
        series: int,
        features: int = 1,
        *,
        shingle_size: int = 1,
        trees: int = 8,
        sample_size: int = 64,
        time_decay: float | None = None,
        score: str = "codisp",
        output_after: int | None = None,
        initial_accept_fraction: float = 0.125,
        box_mass: int = 16,
        seed: int = 0,
    ) -> None:
        series = whole("series", series, 0, 10**9)
        size = whole("sample_size", sample_size, 1, state.MAX_SAMPLE_SIZE)
        template = new_block(
            features,
            shingle_size=shingle_size,
            trees=trees,
            sample_size=size,
            time_decay=1.0 / (4.0 * size) if time_decay is None else time_decay,
            score=score,
            output_after=output_after,
            initial_accept_fraction=initial_accept_fraction,
            box_mass=box_mass,
            seed=seed,
            small=True,
        )
        self._adopt(template, int(seed))
        self.add(series)

    def _adopt(self, template: U8, seed: int) -> None:
        self._template = template
        self._shape = state.shape_of(template[: state.HEADER * 8].view(np.int64))
        self._seed = seed
        self._table: I64 = np.empty(0, np.int64)
        self._slabs: list[U8] = []
        self._grown: dict[int, U8] = {}
        self._specialist = specialist_for(self._shape)

    def add(self, series: int) -> None:
        """Make room for so many more series, 0 to 10^9, which have learnt nothing."""
        left = whole("series", series, 0, 10**9)
        rng = state.open_block(self._template).rng
        at = rng.ctypes.data - self._template.ctypes.data
        while left > 0:
            first = len(self)
            slab = self.add_slab(min(left, max(1, _SLAB // len(self._template))))
            slab[:] = self._template
            trees = self._shape.trees
            states = seed_states(self._seed, len(slab) * trees, first * trees)
            slab[:, at : at + rng.nbytes] = states.reshape(len(slab), -1).view(np.uint8)
            left -= len(slab)

    def save(self, path: Path | str, progress: Callable[[int, int], None] | None = None) -> None:
        """Write all series to a file, from which `load` continues bit for bit.

        Args:
            path: The file; one of that name is replaced when all is written.
            progress: Called with (series written, series in all).

        Raises:
            OSError: The file cannot be written.
        """
        from rcf.archive import save

        save(self, Path(path), progress)

    @classmethod
    def load(cls, path: Path | str, progress: Callable[[int, int], None] | None = None) -> Forests:
        """Read what `save` wrote.

        Raises:
            SnapshotError: The file is damaged, cut short, or of an unknown version.
            OSError: It cannot be read.
        """
        from rcf.archive import load

        return load(Path(path), progress)

    def __reduce__(self) -> NoReturn:
        """Kernels know blocks by their addresses, and a copy would have the same ones."""
        raise TypeError(
            "Forests cannot be copied or pickled: `save` writes them, `load` reads them"
        )

    # --- what they do ---------------------------------------------------------------------------

    def process(self, series: ArrayLike, values: ArrayLike) -> F64:
        """Score each record in its series, then learn it there.

        Args:
            series: whole numbers (n,), series of each record, below `len`.
            values: (n, features), in the order of the stream; (n,) does for one feature.

        Returns:
            float64 (n,): scores, at least 0; NaN while a series is warming.

        Raises:
            InvalidParameter: A value is no finite float32, a series does not exist or the shapes
                do not fit; nothing is learnt.
        """
        return self._run(series, values, True)

    def score(self, series: ArrayLike, values: ArrayLike) -> F64:
        """Score each record as the next one of its series; nothing is learnt."""
        return self._run(series, values, False)

    # --- what they are --------------------------------------------------------------------------

    def __len__(self) -> int:
        """Series."""
        return len(self._table)

    @property
    def features(self) -> int:
        """Values a record."""
        return self._shape.features

    @property
    def shape(self) -> Shape:
        """Sizes of each forest's state."""
        return self._shape

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the state of all series takes."""
        blocks = sum(part.nbytes for part in (*self._slabs, *self._grown.values()))
        return blocks + self._table.nbytes

    def block(self, series: int) -> U8:
        """The state of a series (table in `rcf.state`); whoever changes it must know the laws."""
        series = whole("series", series, 0, len(self) - 1)
        if series in self._grown:
            return self._grown[series]
        first = 0
        for slab in self._slabs:
            if series < first + len(slab):
                return slab[series - first]
            first += len(slab)
        raise AssertionError("a series without a slab")

    def make_room(self, series: int) -> None:
        """Give a series more room for points that outlive its ring, or (wide) for boxes."""
        self.replace(series, grown(self.block(series)))

    # --- for `rcf.archive` ----------------------------------------------------------------------

    @classmethod
    def of_template(cls, template: U8, seed: int) -> Forests:
        """No series yet; each to come starts as the block `template`, with a seed of its own."""
        forests = cls.__new__(cls)
        forests._adopt(template, seed)
        return forests

    @property
    def template(self) -> U8:
        """What every series starts from, but for its seed."""
        return self._template

    @property
    def seed(self) -> int:
        """The seed that those of the series follow from."""
        return self._seed

    @property
    def slabs(self) -> list[U8]:
        """Blocks of all series in their order: uint8 (series of the slab, bytes) each."""
        return self._slabs

    @property
    def grown(self) -> dict[int, U8]:
        """Blocks of the series that have been given more room than their slab has."""
        return self._grown

    @property
    def table(self) -> I64:
        """Address of each series' block."""
        return self._table

    def add_slab(self, series: int) -> U8:
        """Blocks for more series, to be filled by the caller. uint8 (series, bytes)."""
        stride = len(self._template)
        slab = state.empty_block(series * stride).reshape(series, stride)
        self._slabs.append(slab)
        addresses = slab.ctypes.data + stride * np.arange(series, dtype=np.int64)
        self._table = np.concatenate([self._table, addresses])
        return slab

    def replace(self, series: int, block: U8) -> None:
        """Let a series go on in another block."""
        self._grown[series] = block
        self._table[series] = block.ctypes.data

    def _run(self, series: ArrayLike, values: ArrayLike, learn: bool) -> F64:
        rows = as_rows(values, self._shape.features)
        numbers = self._numbers(series, len(rows))
        scores = np.empty(len(rows), np.float64)
        if len(rows) == 0:
            return scores

        def grow(record: int) -> int:
            self.make_room(int(numbers[record]))
            return int(self._table[numbers[record]])

        run_all(
            self._specialist.kernel,
            # A segment each: where nothing is learnt, every record is its series' next one.
            *(self._table[numbers], np.arange(len(rows) + 1), rows, scores, math.inf, learn),
            grow,
        )
        self._specialist.note(len(rows), self._shape.trees)
        return scores

    def _numbers(self, series: ArrayLike, records: int) -> I64:
        allowed = f"{records} whole numbers below {len(self)}"
        numbers = np.asarray(series)
        if numbers.size == 0:  # a list of nothing is no list of whole numbers
            numbers = numbers.astype(np.int64)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or len(numbers) != records:
            raise InvalidParameter("series", f"{numbers.dtype} of shape {numbers.shape}", allowed)
        outside = (numbers < 0) | (numbers >= len(self))
        if np.any(outside):
            at = int(np.argmax(outside))
            raise InvalidParameter(f"series[{at}]", int(numbers[at]), allowed)
        return np.ascontiguousarray(numbers, np.int64)
