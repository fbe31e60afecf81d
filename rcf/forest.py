"""The forest for Python: checks what comes in, owns the state, calls the kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rcf import ask, field, state, step
from rcf.arguments import as_rows, as_rows_with_gaps, real, refuse_invalid, refuse_value, whole
from rcf.block import grown, new_block
from rcf.decay import decay_in_force, decay_of
from rcf.density import PARTS, density_of
from rcf.dialects import of_kinesis, of_sagemaker
from rcf.errors import InvalidParameter
from rcf.hotspots import LARGEST_WINDOW, SMALLEST_WINDOW, Hotspot, find_hotspots
from rcf.merge import merged
from rcf.neighbours import Neighbour, neighbours_of
from rcf.run import run_all
from rcf.score import BLEND, CODISP, DEPTH, blend_exponent, name_of
from rcf.shares import Shares
from rcf.special import specialist_for
from rcf.state import F64, I64, U8, Shape

_NEVER = math.inf  # no score is as high
_ONE = np.array([0, 1])  # one record


class Forecast(NamedTuple):
    """What records are expected to be, each float64 (records, features).

    Attributes:
        expected: The value expected.
        lower: Lower end of the band.
        upper: Upper end of the band.
    """

    expected: F64
    lower: F64
    upper: F64


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
            of sampled points is 1 / time_decay, but no less than half the sample size: a sample
            never shrinks, and any rate above 64 / sample_size counts as that. Default
            1 / (10 sample_size). 0: uniform sample.
        half_life: The same, said as the number of points in which a weight halves, 1 or more.
        window: The same, said as the number of points after which one is forgotten with
            probability 0.95, 3 or more.
        score: "codisp" (expected collusive displacement), "disp" (expected displacement), "depth"
            (AWS's expected inverse depth) or "blend" (of codisp and depth); `rcf.score` has the
            formulas.
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
        half_life: float | None = None,
        window: float | None = None,
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
                time_decay=decay_of(time_decay, half_life, window),
                score=score,
                output_after=output_after,
                initial_accept_fraction=initial_accept_fraction,
                box_mass=box_mass,
                seed=seed,
            )
        )

    def _adopt(self, block: U8) -> None:
        self._hold(block)
        self._features = self._shape.features
        self._trees = self._shape.trees
        self._specialist = specialist_for(self._shape)

    @classmethod
    def from_kinesis(
        cls,
        numberOfTrees: int = 100,  # noqa: N803  (the service's names)
        subSampleSize: int = 256,  # noqa: N803  (as above)
        timeDecay: int = 100_000,  # noqa: N803  (as above)
        shingleSize: int = 1,  # noqa: N803  (as above)
        *,
        features: int = 1,
        seed: int = 0,
    ) -> Forest:
        """A forest with the parameters of Kinesis Data Analytics' RANDOM_CUT_FOREST.

        Scores are inverse depths. Where the service says 0 while it learns the first
        `subSampleSize` records, this says NaN.

        Args:
            numberOfTrees: 1 to 1000.
            subSampleSize: Points a tree, 10 to 1000, fewer than `timeDecay`.
            timeDecay: Mean age of sampled points, in records, 1 to 2^31 - 1.
            shingleSize: Records a point, 1 to 30.
            features: Numeric columns of the cursor, 1 to 30.
            seed: 0 to 2^64 - 1; the service has none.

        Raises:
            InvalidParameter: A parameter is outside what the service allows.
        """
        sizes = of_kinesis(numberOfTrees, subSampleSize, timeDecay, shingleSize, features)
        return cls(**sizes._asdict(), seed=seed)

    @classmethod
    def from_sagemaker(
        cls,
        feature_dim: int,
        num_trees: int = 100,
        num_samples_per_tree: int = 256,
        *,
        seed: int = 0,
    ) -> Forest:
        """A forest with the hyperparameters of SageMaker's Random Cut Forest.

        Its samples are uniform over all that it has learnt, and its scores inverse depths, from the
        first point on: train with `update`, then ask with `score`.

        Args:
            feature_dim: Values a record, 1 to 10000.
            num_trees: 50 to 1000.
            num_samples_per_tree: 1 to 2048.
            seed: 0 to 2^64 - 1; the service has none.

        Raises:
            InvalidParameter: A parameter is outside what the service allows.
        """
        return cls(
            **of_sagemaker(feature_dim, num_trees, num_samples_per_tree)._asdict(), seed=seed
        )

    # --- what it does ---------------------------------------------------------------------------

    def process(self, values: ArrayLike, *, learn: bool = True) -> F64:
        """Score each record, then learn it.

        Args:
            values: (n, features) in the order of the stream; (n,) does for one feature, (features,)
                for one record of several.
            learn: Whether to learn; if not, the records become part of the shingles to come, and
                the trees stay as they are.

        Returns:
            float64 (n,): scores, at least 0; NaN while warming.

        Raises:
            InvalidParameter: A value is no finite float32 or the shape is wrong; nothing is learnt.
        """
        rows = as_rows(values, self._features)
        scores = np.empty(len(rows))
        self._run(rows, scores, learn)
        if not learn:
            self._follow(rows)
        return scores

    def process_explained(
        self, values: ArrayLike, at_least: float, *, learn: bool = True
    ) -> tuple[F64, dict[int, Shares]]:
        """Score each record, say why the score is high, then learn the record.

        How records are cut into calls changes nothing. Where trees have learnt a record, those that
        did not take it tell why, nine in ten as a rule: they are what they were when it was scored.

        Args:
            values: As for `process`.
            at_least: Of which scores to say why; -inf: of all that are not NaN.
            learn: As for `process`.

        Returns:
            The scores of `process`, bit for bit, and by the row of a record its attribution, which
            sums to the score.

        Raises:
            InvalidParameter: As `process`; nothing is learnt.
        """
        rows = as_rows(values, self._features)
        starts = np.array([0, len(rows)])
        return self.process_together([self], starts, rows, float(at_least), learn=learn)

    @staticmethod
    def process_together(
        forests: Sequence[Forest], starts: I64, rows: F64, at_least: float, *, learn: bool
    ) -> tuple[F64, dict[int, Shares]]:
        """`process_explained` for several forests of one shape, in about the time of the kernels.

        Args:
            forests: Of which each has a segment of the records; at least one, none twice.
            starts: int64 (forests + 1,), as `rcf.arguments.as_starts` makes it: not checked.
            rows: float64 (n, features), C order.
            at_least: As for `process_explained`.
            learn: As for `process`.

        Returns:
            As `process_explained`, over all records.

        Raises:
            InvalidParameter: A value is no finite float32; nothing is learnt.
        """
        scores = np.empty(len(rows))
        why: dict[int, Shares] = {}
        if not learn:
            scores[:] = Forest.score_together(forests, starts, rows)
            for forest, start, stop in zip(forests, starts[:-1], starts[1:], strict=True):
                why |= forest._explain_above(at_least, rows, scores, int(start), int(stop))
                forest._follow(rows[start:stop])
            return scores, why
        every = at_least == -_NEVER
        if every:
            refuse_invalid(rows)
        blocks, none = _blocks_of(forests), np.empty((0, rows.shape[1]))
        done = 0
        while done < len(rows):
            part = _part_of(starts, done)
            # A call copies what it is given; one that stops at every record is given no more.
            parts = slice(part, part + 1 if every else None)
            ends = np.array([0, 1]) if every else np.maximum(starts[part:] - done, 0)
            span = slice(done, done + int(ends[-1]))
            done += _run_together(
                *(forests, blocks, parts, ends, rows[span], scores[span], True, at_least)
            )
            if scores[done - 1] >= at_least:
                told = forests[_part_of(starts, done - 1)]
                why[done - 1] = told._explained(none, scores[done - 1 : done], newest=True)
        return scores, why

    def score(self, values: ArrayLike) -> F64:
        """Score records as `process` would if it did not learn; nothing changes."""
        rows = as_rows(values, self._features)
        scores = np.empty(len(rows))
        self._run(rows, scores, False)
        return scores

    @staticmethod
    def score_together(forests: Sequence[Forest], starts: I64, rows: F64) -> F64:
        """`score` for several forests of one shape; arguments as for `process_together`."""
        scores = np.empty(len(rows))
        blocks = _blocks_of(forests)
        _run_together(forests, blocks, slice(0, None), starts, rows, scores, False, _NEVER)
        return scores

    def update(self, values: ArrayLike) -> None:
        """Learn records without looking at their scores. Arguments as for `process`."""
        self.process(values)

    def set_time_decay(
        self,
        time_decay: float | None = None,
        *,
        half_life: float | None = None,
        window: float | None = None,
    ) -> None:
        """Let the records to come lose weight at another rate; what is sampled keeps its weight.

        One of the three, each as for the forest.
        """
        decay = real("time_decay", decay_of(time_decay, half_life, window), 0.0, 1.0)
        step.set_decay(self._block, decay_in_force(decay, self.shape.sample_size))

    # --- what is missing, and what comes next ----------------------------------------------------

    def impute(self, values: ArrayLike, *, centrality: float = 1.0) -> F64:
        """Records with their missing values filled in from what is there; nothing changes.

        Args:
            values: As for `process`, NaN where a value is missing; a continuation of the stream, in
                which a filled value takes part in filling what follows.
            centrality: 1: the most ordinary completion of each tree; 0: a random one; between them,
                between.

        Returns:
            float64 (n, features): the median of the trees' completions for a missing value; NaN
            where no shingle has been learnt or the record ends none.

        Raises:
            InvalidParameter: A value is infinite or too large for float32, the shape is wrong, or
                the centrality is outside its range.

        Source: see `rcf.field`.
        """
        rows = as_rows_with_gaps(values, self._features)
        return self._complete(rows, (0.5,), 0, real("centrality", centrality, 0.0, 1.0))[:, 0]

    def extrapolate(self, horizon: int) -> Forecast:
        """What the next records are expected to be, each filled in after those before it.

        Bands are the 10th and 90th percentile of the trees' completions of a record, given those
        before: they do not grow by the errors made on the way, and are not calibrated
        (`rcf.Forecaster`'s are).

        Args:
            horizon: Records, 1 to 100000.

        Raises:
            InvalidParameter: The horizon is outside its range, or points are single records, which
                say nothing of what comes next.
        """
        if self._shape.shingle_size == 1:
            raise InvalidParameter("shingle_size", 1, "at least 2, to tell what comes next")
        rows = np.full((whole("horizon", horizon, 1, 100_000), self._features), np.nan)
        lower, expected, upper = np.moveaxis(self._complete(rows, (0.1, 0.5, 0.9), 1, 1.0), 1, 0)
        return Forecast(expected, lower, upper)

    def completions(self, points: ArrayLike, *, centrality: float = 1.0) -> F64:
        """Each tree's completion of points with missing coordinates; nothing changes.

        Args:
            points: (n, features x shingle_size), the oldest record first, NaN where missing.
            centrality: As for `impute`.

        Returns:
            float64 (n, trees, features x shingle_size).

        Raises:
            InvalidParameter: As for `impute`; or the forest has learnt no point.
        """
        shape = self.shape
        rows = as_rows_with_gaps(points, shape.dimensions, "points")
        if self._header()[state.POINTS] == 0:
            raise InvalidParameter("points", "asked of an empty forest", "after a first point")
        out = np.empty((len(rows), shape.trees, shape.dimensions))
        field.complete_points(self._block, rows, real("centrality", centrality, 0.0, 1.0), out)
        return out

    # --- what it says of records besides; nothing changes -----------------------------------------

    def attribution(self, values: ArrayLike) -> Shares:
        """What each value of a point, above or below the usual, contributes to its score.

        Records and errors as for `score`, and so is `total`; `rcf.attribution` has the law. The
        blend is a product of powers, and each of its factors gets a part of it in proportion to its
        exponent: what a percent more of it would add.
        """
        rows = as_rows(values, self._features)
        return self._explained(rows, self.score(rows))

    def density(self, values: ArrayLike) -> Shares:
        """How crowded it is around each record's point: mass over volume, 0 to 1000.

        Shares say on which side of the point the mass lies that it is told apart from: high where
        the point lies above it. Records and errors as for `score`; `rcf.density` has the law.
        """
        _, parts, _ = self._ask(as_rows(values, self._features), ask.HOW_CROWDED, PARTS)
        total, shares = density_of(parts, float(state.open_block(self._block).sizes.mean()))
        return Shares(total, *self._faces(shares))

    def distance(self, values: ArrayLike) -> Shares:
        """AWS's DISTANCE score: expected length of what each record's point is isolated in.

        In the unit of the values, at least 0. Shares of values above and below. Records and errors
        as for `score`.
        """
        _, parts, _ = self._ask(as_rows(values, self._features), ask.HOW_CROWDED, PARTS)
        lengths = parts[:, 2]
        return Shares(lengths.sum(axis=(1, 2)), *self._faces(lengths))

    def near_neighbours(self, values: ArrayLike, distance: float = np.inf) -> list[list[Neighbour]]:
        """Sampled points near each record's point, the nearest first; none while warming.

        Args:
            values: Records as for `score`.
            distance: Only points nearer than this, above 0; Euclidean, over the whole point.

        Raises:
            InvalidParameter: As for `score`, or `distance` is not above 0.
        """
        limit = real("distance", distance, np.nextafter(0.0, 1.0), np.inf)
        rows = as_rows(values, self._features)
        _, _, slots = self._ask(rows, ask.WHAT_IS_NEAR, 0)
        forest = state.open_block(self._block)
        before = forest.shingle_size - 1
        recent = self.recent(before)
        # Records that never were end no point that is known.
        missing = np.zeros((before - len(recent), forest.features))
        stream = np.vstack([missing, recent, rows]).astype(np.float32)
        points = stream[len(stream) - len(rows) - forest.shingle_size + 1 :]
        return [
            neighbours_of(forest, points[i : i + forest.shingle_size].ravel(), own, limit)
            if own[0] >= 0
            else []
            for i, own in enumerate(slots)
        ]

    def recent(self, records: int) -> F64:
        """The last records learnt, oldest first, as float64 (n, features).

        Args:
            records: How many, at least 0; fewer come where fewer were learnt or are still held
                (`shape.ring`).
        """
        forest, header = state.open_block(self._block), self._header()
        held = min(whole("records", records, 0, 2**31), forest.ring, int(header[state.RECORDS]))
        places = (int(header[state.RECORDS]) - held + np.arange(held)) % forest.ring
        ring = forest.store[: forest.ring * forest.features].reshape(-1, forest.features)
        return ring[places].astype(np.float64)

    def hotspots(self, window: int, radius: float, least: int) -> list[Hotspot]:
        """Where the last records crowd; `rcf.hotspots` has the law.

        Args:
            window: How many records, 100 to 1000; fewer are looked at where fewer were learnt.
            radius: How far neighbours may lie apart, above 0, in the unit of the values.
            least: Records that make a hotspot, 2 to `window`.

        Raises:
            InvalidParameter: A parameter is outside what is allowed.
        """
        window = whole("window", window, SMALLEST_WINDOW, LARGEST_WINDOW)
        least = whole("least", least, 2, window)
        rows = self.recent(window)
        return find_hotspots(rows, radius, least) if len(rows) >= least else []

    def resized(
        self,
        *,
        shingle_size: int | None = None,
        trees: int | None = None,
        sample_size: int | None = None,
        seed: int = 0,
    ) -> Forest:
        """A forest of other sizes that has learnt the records still held, oldest first.

        Those are the last `shape.ring`, four mean lifetimes of a sampled point unless the decay is
        very small: all but 2 % of what is sampled of this stream, and nothing of what was merged.
        All else, the decay too, is as it is here.

        Args:
            shingle_size: Records a point; None: as it is. So are the others.
            trees: Trees.
            sample_size: Points a tree.
            seed: 0 to 2^64 - 1.

        Raises:
            InvalidParameter: A parameter is outside what is allowed.
        """
        shape, opened = self.shape, state.open_block(self._block)
        forest = Forest(
            shape.features,
            shingle_size=shape.shingle_size if shingle_size is None else shingle_size,
            trees=shape.trees if trees is None else trees,
            sample_size=shape.sample_size if sample_size is None else sample_size,
            time_decay=self.time_decay,
            score=name_of(int(opened.header[state.SCORE])),
            output_after=int(opened.header[state.OUTPUT_AFTER]),
            initial_accept_fraction=float(opened.reals[state.INITIAL_ACCEPT]),
            box_mass=shape.box_mass,
            seed=seed,
        )
        forest.update(self.recent(shape.ring))
        return forest

    def merge(self, *others: Forest) -> None:
        """Have the sample of all, and go on with this stream.

        The sample is what one reservoir over all the streams would hold, each point with the weight
        of its age in its own stream. All else, the decay too, is as it is here. Forests of parts of
        a fleet become one so; a new forest starts with what old ones know.

        Args:
            others: Forests of as many features, records a point and trees, and of samples that are
                not smaller: points that a smaller one has let go would be missing. Not changed.

        Raises:
            InvalidParameter: They are not, or there is none; nothing is changed.

        Source: see `rcf.merge`.
        """
        if not others:
            raise InvalidParameter("others", others, "at least one forest")
        for size in ("features", "shingle_size", "trees"):
            own = getattr(self.shape, size)
            for its in (getattr(other.shape, size) for other in others):
                if its != own:
                    raise InvalidParameter("others", f"{its} {size}", f"{own} {size}")
        least = self.shape.sample_size
        for its in (other.shape.sample_size for other in others):
            if its < least:
                raise InvalidParameter("others", f"{its} sample_size", f"{least} or more")
        self._hold(merged(self._block, *(other.block for other in others)))

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
    def address(self) -> int:
        """Where the state lies, while it does: with more room it lies elsewhere."""
        return self._address

    @property
    def shape(self) -> Shape:
        """Sizes of the state."""
        return self._shape

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

    def __reduce__(self) -> tuple[Callable[[bytes], Forest], tuple[bytes]]:
        """Copies are forests of their own: kernels know a block by its address."""
        return type(self).from_bytes, (self.to_bytes(),)

    def __copy__(self) -> Forest:
        copied = self.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied._stand_on(state.copy_of(self._block))
        return copied

    @classmethod
    def of_block(cls, block: U8) -> Forest:
        """A forest around a block of state, which it then owns."""
        forest = cls.__new__(cls)
        forest._adopt(block)
        return forest

    def _complete(
        self, rows: F64, quantiles: tuple[float, ...], middle: int, centrality: float
    ) -> F64:
        """Quantiles of the trees' completions, float64 (n, quantiles, features)."""
        ranks = np.maximum(np.ceil(np.array(quantiles) * self._trees).astype(np.int64) - 1, 0)
        out = np.empty((len(rows), len(ranks), self._features))
        field.complete_rows(self._block, rows, ranks, middle, centrality, out)
        return out

    def _follow(self, rows: F64) -> None:
        """Make records part of the shingles to come."""
        done = 0
        while True:
            done += step.follow_rows(self._block, rows[done:])
            if done == len(rows):
                return
            self._grow()

    def _explain_above(
        self, at_least: float, rows: F64, scores: F64, start: int, stop: int
    ) -> dict[int, Shares]:
        """Attribution of those of the rows from `start` to `stop` that score so high, by row."""
        found = np.flatnonzero(scores[start:stop] >= at_least).tolist()
        if not found:
            return {}
        shares = self._explained(rows[start:stop], scores[start:stop])
        return {start + row: Shares(*(part[row : row + 1] for part in shares)) for row in found}

    def _explained(self, rows: F64, scores: F64, *, newest: bool = False) -> Shares:
        """Attribution of records that were given scores, or of the newest that was learnt."""
        shape = self.shape
        kind = int(self._header()[state.SCORE])
        shares = np.zeros((len(scores), 2, shape.dimensions))
        exponents = {kind: 1.0}
        if kind == BLEND:
            exponents = {DEPTH: 1.0, CODISP: blend_exponent(shape.features)}
        for fold, exponent in exponents.items():
            own, parts, _ = self._ask(rows, ask.WHY, 1, fold, newest=newest)
            part = scores * (exponent / sum(exponents.values()))
            weight = np.divide(part, own, out=0.0 * own, where=own > 0.0)
            shares += parts[:, 0] * weight[:, None, None]
        return Shares(scores.copy(), *self._faces(shares))

    def _ask(
        self, rows: F64, question: int, parts: int, score: int = DEPTH, *, newest: bool = False
    ) -> tuple[F64, F64, I64]:
        """Scores (n,), shares (n, parts, 2, dimensions) and slots (n, trees); see `rcf.ask`.

        With `newest` there are no rows, and n is 1: the record learnt last is asked about.
        """
        shape, count = self.shape, 1 if newest else len(rows)
        scores = np.empty(count)
        shares = np.zeros((count, parts, 2, shape.dimensions))
        slots = np.empty((count, 0 if parts else shape.trees), np.int64)
        if count == 0:  # no rows mean the newest record to the kernel
            return scores, shares, slots
        done = ask.ask_rows(
            self._block, rows, question, score, scores, shares.reshape(-1), slots.reshape(-1)
        )
        if done < 0:
            refuse_value(rows, -1 - done)
        return scores, shares, slots

    def _faces(self, shares: F64) -> tuple[F64, F64]:
        """Shares (n, 2, dimensions) as high and low, (n, shingle_size, features) each."""
        shape = self.shape
        both = shares.reshape(len(shares), 2, shape.shingle_size, shape.features)
        return both[:, 0], both[:, 1]

    def _run(self, rows: F64, scores: F64, learn: bool) -> None:
        """Score records, and learn them if told to, at the least cost of a call."""
        count, specialist = len(rows), self._specialist
        starts = _ONE if count == 1 else np.array([0, count])
        done = specialist.kernel(self._blocks, starts, rows, scores, _NEVER, learn)
        if done < 0:
            refuse_value(rows, -1 - done)
        if not specialist.settled:
            specialist.note(done, self._trees)
        if done < count:
            self._grow()
            self._run(rows[done:], scores[done:], learn)

    def _hold(self, block: U8) -> None:
        self._stand_on(block)
        self._shape = state.shape_of(state.header_of(block))

    def _stand_on(self, block: U8) -> None:
        self._block = block
        self._address: int = block.ctypes.data
        self._blocks = np.array([self._address])

    def _grow(self) -> int:
        """Make room for more, and return the address of the block."""
        self._hold(grown(self._block))
        return self._address


def _blocks_of(forests: Sequence[Forest]) -> I64:
    return np.array([forest._address for forest in forests])


def _run_together(
    forests: Sequence[Forest],
    blocks: I64,
    parts: slice,
    starts: I64,
    rows: F64,
    scores: F64,
    learn: bool,
    stop: float,
) -> int:
    """`rcf.run.run_all` for some of the forests, and of their blocks; records done."""
    first = forests[0]
    done = run_all(
        first._specialist.kernel,
        *(blocks[parts], starts, rows, scores, stop, learn),
        lambda part: forests[parts.start + part]._grow(),
    )
    first._specialist.note(done, first._trees)
    return done


def _part_of(starts: I64, row: int) -> int:
    """The segment that a row lies in."""
    return int(np.searchsorted(starts, row, side="right")) - 1 if row else 0
