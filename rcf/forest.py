"""The forest for Python: checks what comes in, owns the state, calls the kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rcf import score as folds
from rcf import state, step
from rcf.errors import InvalidParameter
from rcf.rng import seed_states
from rcf.special import specialist
from rcf.state import F64, U8, Shape

#: The ring of the store spans this many mean lifetimes of a sampled point (1 / decay records):
#: all but e^-4 = 1.8 % of them leave before the ring comes round; the others are kept beside it.
_RING_LIFETIMES = 4.0
_LONGEST_RING = 40  #: … and at most this many sample sizes, where the decay is small or 0


def whole(field: str, value: object, low: int, high: int) -> int:
    """`value` as int; InvalidParameter unless it is a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidParameter(field, value, f"a whole number from {low} to {high}")
    if not low <= value <= high:
        raise InvalidParameter(field, value, f"a whole number from {low} to {high}")
    return int(value)


def real(field: str, value: object, low: float, high: float) -> float:
    """`value` as float; InvalidParameter unless it is a number from `low` to `high`."""
    allowed = f"a number from {low:g} to {high:g}"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidParameter(field, value, allowed)
    if not low <= value <= high:
        raise InvalidParameter(field, value, allowed)
    return float(value)


def as_rows(values: ArrayLike, features: int) -> F64:
    """Records as float64 (n, features), C order; values are not looked at.

    Args:
        values: (n, features); for one feature also (n,); for several also one record (features,).
        features: Values a record.

    Raises:
        InvalidParameter: Wrong shape or type.
    """
    if isinstance(values, np.ndarray) and values.dtype == np.float64 and values.flags.c_contiguous:
        # What most callers hand over, without the checks that one record's time would notice.
        if values.ndim == 2 and values.shape[1] == features:
            return values
        if values.ndim == 1 and (features == 1 or len(values) == features):
            return values.reshape(-1, features)
    allowed = f"numbers in the shape (records, {features})"
    try:
        rows = np.asarray(values)
        if rows.dtype.kind not in "fiub" or rows.dtype.kind == "b":
            raise InvalidParameter("values", f"of type {rows.dtype}", allowed)
        rows = np.ascontiguousarray(rows, np.float64)
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidParameter):
            raise
        raise InvalidParameter("values", values, allowed) from error
    if rows.ndim == 1:
        rows = rows.reshape(-1, 1) if features == 1 else rows.reshape(1, -1)
    if rows.ndim != 2 or rows.shape[1] != features:
        raise InvalidParameter("values", f"of shape {np.shape(values)}", allowed)
    return rows


class Forest:
    """A streaming random cut forest: scores each record, then learns it.

    A point is a shingle, the last `shingle_size` records end to end. Each tree holds a sample of
    the points seen, the newer the likelier. A score is the mean over the trees of what the point's
    insertion would do, found without inserting it. Not safe for use from two threads at once;
    kernels release the GIL.

    Args:
        features: Values a record, 1 to 65535 / shingle_size.
        shingle_size: Records a point, at least 1.
        trees: Trees, 1 to 10000. More trees, less noise: the error falls as 1 / sqrt(trees).
        sample_size: Points a tree, 1 to 16383. What is rarer than 1 / sample_size is an anomaly.
        time_decay: Rate per point at which points lose weight in the sample, 0 to 1; the mean age
            of sampled points is 1 / time_decay. Default 1 / (10 sample_size). 0: uniform sample.
        score: "codisp" (expected collusive displacement), "disp" (expected displacement) or "depth"
            (AWS's expected inverse depth); `rcf.score` has the formulas.
        output_after: Points to learn before the first score; NaN until then. Default a quarter of
            the sample size, at least 1, at most 64.
        initial_accept_fraction: Share of the sample, 0 to 1, that takes every point; beyond it the
            chance falls, so that trees differ from the start. Default 0.125.
        box_mass: Branches over at most this many points, 1 to 16383, keep no bounding box and
            recompute it when it is asked for. Scores do not depend on it. 8 saves up to two thirds
            of the memory and costs a third of the speed.
        seed: 0 to 2^64 - 1. The same seed and the same records give the same bits.

    Raises:
        InvalidParameter: A parameter is outside what is allowed.

    Source: Guha, Mishra, Roy and Schrijvers, "Robust Random Cut Forest Based Anomaly Detection on
    Streams", ICML 2016.
    """

    def __init__(
        self,
        features: int = 1,
        *,
        shingle_size: int = 1,
        trees: int = 50,
        sample_size: int = 256,
        time_decay: float | None = None,
        score: str = "codisp",
        output_after: int | None = None,
        initial_accept_fraction: float = 0.125,
        box_mass: int = 1,
        seed: int = 0,
    ) -> None:
        features = whole("features", features, 1, state.MAX_DIMENSIONS)
        shingle_size = whole("shingle_size", shingle_size, 1, state.MAX_DIMENSIONS // features)
        trees = whole("trees", trees, 1, 10_000)
        sample_size = whole("sample_size", sample_size, 1, state.MAX_SAMPLE_SIZE)
        decay = default_decay(sample_size) if time_decay is None else time_decay
        decay = real("time_decay", decay, 0.0, 1.0)
        if not isinstance(score, str) or score not in folds.NAMES:
            raise InvalidParameter("score", score, ", ".join(folds.NAMES))
        warmup = max(1, min(64, sample_size // 4)) if output_after is None else output_after
        warmup = whole("output_after", warmup, 1, 2**31)
        box_mass = whole("box_mass", box_mass, 1, state.MAX_SAMPLE_SIZE)
        accepted = real("initial_accept_fraction", initial_accept_fraction, 0.0, 1.0)
        seed = whole("seed", seed, 0, 2**64 - 1)

        ring = _ring_records(shingle_size, sample_size, decay)
        shape = Shape(
            features,
            shingle_size,
            trees,
            sample_size,
            ring,
            16 + trees * sample_size // 64,
            box_mass,
            _rows(trees, sample_size, box_mass),
        )
        if shape.ring_floats + trees * sample_size * shape.dimensions >= 2**31:
            raise InvalidParameter(
                "sample_size",
                sample_size,
                "trees x sample_size x features x shingle_size below 2^31",
            )
        self._adopt(state.allocate(shape))
        forest = state.open_block(self._block)
        forest.rng[:] = seed_states(seed, trees)
        forest.header[state.OUTPUT_AFTER] = warmup
        forest.header[state.SCORE] = folds.NAMES[score]
        forest.reals[state.INITIAL_ACCEPT] = accepted
        forest.reals[state.DECAY] = decay
        forest.reals[state.SHRINKAGE] = -math.expm1(-decay)

    def _adopt(self, block: U8) -> None:
        shape = state.shape_of(block[: state.HEADER * 8].view(np.int64))
        self._block = block
        self._features = shape.features
        self._trees = shape.trees
        self._specialist = specialist(shape.row)

    # --- what it does ---------------------------------------------------------------------------

    def process(self, values: ArrayLike) -> F64:
        """Score each record, then learn it.

        Args:
            values: (n, features) in the order of the stream; (n,) does for one feature, (features,)
                for one record of several.

        Returns:
            float64 (n,): scores, at least 0; NaN while warming.

        Raises:
            InvalidParameter: A value is no finite float32 or the shape is wrong; nothing is learnt.
        """
        return self._run(as_rows(values, self._features), True)

    def score(self, values: ArrayLike) -> F64:
        """Score records as `process` would if it did not learn; nothing changes."""
        return self._run(as_rows(values, self._features), False)

    def update(self, values: ArrayLike) -> None:
        """Learn records without looking at their scores. Arguments as for `process`."""
        self.process(values)

    def set_time_decay(self, time_decay: float) -> None:
        """Let the records to come lose weight at another rate; what is sampled keeps its weight."""
        step.set_decay(self._block, real("time_decay", time_decay, 0.0, 1.0))

    # --- what it is -----------------------------------------------------------------------------

    def _header(self) -> state.I64:
        return self._block[: state.HEADER * 8].view(np.int64)

    @property
    def features(self) -> int:
        """Values a record."""
        return self._features

    @property
    def block(self) -> U8:
        """The state itself (table in `rcf.state`); whoever changes it must know the laws."""
        return self._block

    @property
    def shape(self) -> Shape:
        """Sizes of the state."""
        return state.shape_of(self._header())

    @property
    def records_seen(self) -> int:
        """Records learnt so far."""
        return int(self._header()[state.RECORDS])

    @property
    def time_decay(self) -> float:
        """Rate per point at which sampled points lose weight."""
        return float(state.open_block(self._block).reals[state.DECAY])

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the state takes."""
        return self._block.nbytes

    def to_bytes(self) -> bytes:
        """Versioned, checksummed bytes from which `from_bytes` continues bit for bit."""
        from rcf.snapshot import forest_to_bytes

        return forest_to_bytes(self._block)

    @classmethod
    def from_bytes(cls, data: bytes) -> Forest:
        """Restore a forest.

        Raises:
            SnapshotError: The bytes are damaged, cut short, or of an unknown version.
        """
        from rcf.snapshot import forest_from_bytes

        return cls.of_block(forest_from_bytes(data))

    @classmethod
    def of_block(cls, block: U8) -> Forest:
        """A forest around a block of state, which it then owns."""
        forest = cls.__new__(cls)
        forest._adopt(block)
        return forest

    def _run(self, rows: F64, learn: bool) -> F64:
        scores = np.empty(len(rows), np.float64)
        run = self._specialist.kernel
        done = run(self._block, rows, scores, learn)
        if done < 0:
            row, feature = divmod(-1 - done, self._features)
            raise InvalidParameter(
                f"values[{row}][{feature}]",
                float(rows[row, feature]),
                "a finite number within ±3.4e38",
            )
        while done < len(rows):
            self._grow()
            done += run(self._block, rows[done:], scores[done:], learn)
        self._specialist.note(len(rows), self._trees)
        return scores

    def _grow(self) -> None:
        """Make room for more boxes, or for points that outlive the ring, whichever is short."""
        old = state.open_block(self._block)
        shape = state.shape_of(old.header)
        if old.header[state.ROWS_FREE] < shape.trees:
            most = shape.trees * shape.pairs + 1
            shape = shape._replace(rows=min(shape.rows + shape.rows // 8 + shape.trees, most))
        else:
            most = shape.trees * shape.sample_size
            shape = shape._replace(kept=min(2 * shape.kept, most) + 1)
        self._block = resized(old, shape)


def resized(old: state.Forest, shape: Shape) -> U8:
    """A block of `shape`, which differs in `kept` and `rows` alone, with the content of `old`."""
    block = state.allocate(shape)
    forest = state.open_block(block)
    header = forest.header.copy()
    for name in state.SECTIONS:
        source, target = getattr(old, name), getattr(forest, name)
        n = min(len(source), len(target))
        target[:n] = source[:n]
    places = slice(state.PLACES, None)
    forest.header[places] = header[places]
    forest.header[state.KEPT] = shape.kept
    forest.header[state.ROWS] = shape.rows
    added = np.arange(old.header[state.ROWS], shape.rows)
    free = int(old.header[state.ROWS_FREE])
    forest.free_rows[free : free + len(added)] = added
    forest.header[state.ROWS_FREE] = free + len(added)
    return block


def default_decay(sample_size: int) -> float:
    """1 / (10 sample_size), everyone's default."""
    return 1.0 / (10.0 * sample_size)


def _rows(trees: int, sample_size: int, box_mass: int) -> int:
    """Boxes to make room for at first: about as many as there are branches above `box_mass`."""
    if box_mass == 1:
        return trees * (sample_size + 1) + 1
    return 1 + trees * min(sample_size + 1, 2 + 5 * sample_size // (2 * (box_mass + 1)))


def _ring_records(shingle_size: int, sample_size: int, decay: float) -> int:
    longest = _LONGEST_RING * sample_size
    # The product first: 1 / decay overflows for the smallest decays.
    wanted = math.ceil(_RING_LIFETIMES / decay) if decay * longest > _RING_LIFETIMES else longest
    return max(min(wanted, longest), 2 * shingle_size, 64)


__all__: list[Any] = ["Forest", "as_rows", "default_decay"]
