"""The forest for Python: checks what comes in, owns the state, calls the kernels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rcf import state, step
from rcf.arguments import as_rows, real, refuse_value
from rcf.block import grown, new_block
from rcf.special import for_one
from rcf.state import F64, U8, Shape


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
        self._adopt(
            new_block(
                features,
                shingle_size=shingle_size,
                trees=trees,
                sample_size=sample_size,
                time_decay=time_decay,
                score=score,
                output_after=output_after,
                initial_accept_fraction=initial_accept_fraction,
                box_mass=box_mass,
                seed=seed,
            )
        )

    def _adopt(self, block: U8) -> None:
        shape = state.shape_of(block[: state.HEADER * 8].view(np.int64))
        self._block = block
        self._features = shape.features
        self._trees = shape.trees
        self._specialist = for_one(shape.row)

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
        return state.header_of(self._block)

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
        return float(state.reals_of(self._block)[state.DECAY])

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
            refuse_value(rows, -1 - done)
        while done < len(rows):
            self._block = grown(self._block)
            done += run(self._block, rows[done:], scores[done:], learn)
        self._specialist.note(len(rows), self._trees)
        return scores
