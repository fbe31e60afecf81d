"""One series: forests over its points and over its trailing means, and what is said of each record.

A forest over the records themselves finds spikes at once; one over their trailing means finds
changes of level and of rate that no single record shows. The larger of the two scores counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rcf import alert, memory, state
from rcf.alert import MULTI_MODES, RECALL, SCORE_ALONE, Memory, Policy
from rcf.arguments import as_rows, as_rows_with_gaps, real, refuse_value, whole
from rcf.decay import decay_in_force
from rcf.errors import InvalidParameter
from rcf.flat import Tolerance
from rcf.forest import Forest
from rcf.hotspots import Hotspot
from rcf.judge import Judgements, judge_rows, see_rows
from rcf.measured import NOT_MEASURED, measured, process_measured
from rcf.memory import Size
from rcf.neighbours import Neighbour
from rcf.score import NAMES
from rcf.shares import Shares
from rcf.state import F64, I64, U8, Shape
from rcf.threshold import MODES, Bar, floor_for, lowest_threshold, scale_for
from rcf.transform import (
    GAP,
    NONE,
    TIME,
    Transform,
    change_of,
    checked_times,
    checked_weights,
    weights_of,
)
from rcf.transform import Policy as Change

_SCORES = {number: name for name, number in NAMES.items()}

#: Of which records a detector may be asked to say why.
EXPLAIN = ("none", "anomalies", "all")

_ROUNDING = 1e-9  # what a score may lose on its way to the scale of the threshold and back

#: Trees and sample of the forest over trailing means: its points are smooth, and fewer tell them.
MEAN_TREES, MEAN_SAMPLE = 20, 512

#: Allowed levels of the modes that take one, and the default.
_LEVELS = {
    "percentile": (50.0, 99.99, 99.5),
    "sigma": (1.0, 100.0, 3.0),
    "fixed": (0.0, 1e9, None),
}

#: Mean age of sampled points, in records: a month of minutes. What happened once in it is rare.
MEMORY = 2**15


class Settings(NamedTuple):
    """What a detector is told besides its forests, checked.

    Attributes:
        mode: How the threshold is set, a key of `rcf.threshold.MODES`.
        level: Its percentage, deviations or score; 0 in the modes that have none.
        cool_down: Records below the threshold that end an event.
        budget: Alerts allowed in a window; 0 for any number.
        window: Length of that window.
        ignore_relative: Tolerance of the guard of flat series, as a share of the level.
        ignore_absolute: The same in the unit of the feature.
        multi_mode: What the distance has a say in, a key of `rcf.alert.MULTI_MODES`.
    """

    mode: str
    level: float
    cool_down: int
    budget: int
    window: float
    ignore_relative: float
    ignore_absolute: float
    multi_mode: str


class Kind(NamedTuple):
    """What detectors that are asked together have in common.

    Attributes:
        shapes: Of their forests, whatever room for points and boxes each has.
        width: Records of the trailing mean.
        change: What is done to records before forests see them.
        size: Of what they remember besides.
        settings: What they were told.
    """

    shapes: tuple[Shape, ...]
    width: int
    change: Change
    size: Size
    settings: Settings


@lru_cache(maxsize=1024)
def _the(kind: Kind) -> Kind:
    """The object that stands for all equal kinds, but for rare ones that were forgotten."""
    return kind


class Detector:
    """Decides which records of one series are anomalies, and says each event once.

    The defaults are meant to be right without tuning. Not safe for use from two threads at once.

    Args:
        features: Values a record.
        transform: What is done to records before forests see them, one of `rcf.transform.METHODS`:
            "none" where all features have one unit, "robust" where they have several.
        weights: (features,), what features count for, 0 to 1,000,000; 0 leaves one out. None: 1
            for each. Transform "none" takes none, "weighted" does nothing else.
        time_weight: Weight of the gap between records as one more coordinate, 0 to 1,000,000; 0:
            it is none. Where it is one, records need times.
        shingle_size: Records a point of the first forest; 1 finds spikes best, more finds broken
            rhythms.
        trees: Trees of the first forest.
        sample_size: Points of a tree of the first forest.
        smoothing: Records of the trailing mean that the second forest sees, 2 to 1000; 1: there is
            no second forest. It has at most `MEAN_TREES` trees over `MEAN_SAMPLE` points.
        time_decay: Rate per point at which sampled points lose weight; None: 1 / `MEMORY`, and at
            most 1 / (10 sample_size).
        score: "blend", "codisp", "disp" or "depth".
        output_after: Points to learn before the first judgement; None: see `rcf.Forest`.
        initial_accept_fraction: See `rcf.Forest`.
        threshold: How the threshold is set: "automatic", "budget", "percentile", "sigma", "fixed";
            `rcf.threshold` has the rules.
        level: Percentage of records below the threshold (50 to 99.99; default 99.5), deviations
            above the mean score (1 to 100; default 3), or the score itself; None in other modes.
        cool_down: Records below the threshold that end an event, 0 to 1,000,000; 0 makes an anomaly
            of every record at or above the threshold.
        budget: Anomalies allowed in any `window`, 1 to 1000, whatever the mode; None: any number,
            which the mode "budget" does not allow.
        window: Length of that window, in the unit of the records' times where they are given and
            else in records, above 0.
        ignore_relative: In a flat series, changes up to this share of the level are no anomalies;
            0 to 1.
        ignore_absolute: The same in the unit of the feature, 0 to 1e30.
        multi_mode: AWS's multi-mode scores: whether a record's distance (`rcf.Forest.distance`, of
            the first forest) has a say besides its score. "none": it has not. "precision": what the
            distance finds ordinary is no anomaly. "recall": what the distance finds out of the
            ordinary is one, too, while no event goes on; `rcf.alert` and
            `rcf.threshold.distance_above` have the rules. Costs about as much again as a score.
        seed: 0 to 2^64 - 1.

    Raises:
        InvalidParameter: A parameter is outside what is allowed.
    """

    def __init__(
        self,
        features: int = 1,
        *,
        transform: str = "none",
        weights: ArrayLike | None = None,
        time_weight: float = 0.0,
        shingle_size: int = 1,
        trees: int = 30,
        sample_size: int = 1024,
        smoothing: int = 12,
        time_decay: float | None = None,
        score: str = "blend",
        output_after: int | None = None,
        initial_accept_fraction: float = 0.125,
        threshold: str = "automatic",
        level: float | None = None,
        cool_down: int = 40,
        budget: int | None = None,
        window: float = 1440.0,
        ignore_relative: float = 1e-3,
        ignore_absolute: float = 1e-12,
        multi_mode: str = "none",
        seed: int = 0,
    ) -> None:
        settings = Settings(
            *_mode_of(threshold, level, budget),
            whole("cool_down", cool_down, 0, 1_000_000),
            0 if budget is None else whole("budget", budget, 1, alert.MOST_ALERTS),
            real("window", window, 1e-9, 1e18),
            real("ignore_relative", ignore_relative, 0.0, 1.0),
            real("ignore_absolute", ignore_absolute, 0.0, 1e30),
            _multi_mode_of(multi_mode),
        )
        width = whole("smoothing", smoothing, 1, 1000)
        sample_size = whole("sample_size", sample_size, 1, state.MAX_SAMPLE_SIZE)
        seed = whole("seed", seed, 0, 2**64 - 1)
        features = whole("features", features, 1, state.MAX_DIMENSIONS)
        change = change_of(transform, weights, time_weight, field="transform")
        coordinates = features + (change.time_weight > 0.0)
        decay = usual_decay(sample_size) if time_decay is None else time_decay
        points = Forest(
            coordinates,
            shingle_size=shingle_size,
            trees=trees,
            sample_size=sample_size,
            time_decay=decay,
            score=score,
            output_after=output_after,
            initial_accept_fraction=initial_accept_fraction,
            seed=seed,
        )
        views = [points]
        if width > 1:
            means = Forest(
                coordinates,
                trees=min(trees, MEAN_TREES),
                sample_size=min(sample_size, MEAN_SAMPLE),
                time_decay=decay,
                score=score,
                output_after=int(points.block.view(np.int64)[state.OUTPUT_AFTER]),
                initial_accept_fraction=initial_accept_fraction,
                seed=_other_seed(seed),
            )
            views.append(means)
        before = max(width, points.shape.shingle_size) - 1
        measured = int(settings.multi_mode != "none")
        size = Size(features, settings.budget, before, coordinates, measured)
        words = memory.fresh(size, checked_weights(weights, features))
        self._adopt(views, width, change, size, settings, words)

    def _adopt(
        self,
        views: list[Forest],
        width: int,
        change: Change,
        size: Size,
        settings: Settings,
        words: F64,
    ) -> None:
        self._views = views
        self._width = width
        self._change = change
        self._remember(size, words)
        self._configure(settings)

    def _remember(self, size: Size, words: F64) -> None:
        self._size = size
        self._words = words
        self._address: int = words.ctypes.data

    def _configure(self, settings: Settings) -> None:
        header = state.header_of(self._views[0].block)
        name, size = _SCORES[int(header[state.SCORE])], int(header[state.SAMPLE])
        self._settings = settings
        self._policy = Policy(
            Bar(
                MODES[settings.mode],
                settings.level,
                *scale_for(name, size),
                floor_for(int(header[state.DIMENSIONS])),
            ),
            Tolerance(settings.ignore_relative, settings.ignore_absolute),
            settings.cool_down,
            settings.budget,
            settings.window,
            self._change.time_weight > 0.0,
            MULTI_MODES[settings.multi_mode],
        )
        self._lowest = lowest_threshold(self._policy.bar) * (1.0 - _ROUNDING)
        shapes = tuple(view.shape._replace(kept=0, rows=0, ring=0) for view in self._views)
        self._kind = _the(Kind(shapes, self._width, self._change, self._size, settings))

    # --- what it does ---------------------------------------------------------------------------

    def process(
        self, values: ArrayLike, times: ArrayLike | None = None, *, learn: bool = True
    ) -> Judgements:
        """Judge each record, then learn it.

        Args:
            values: (n, features) in the order of the series; (n,) does for one feature, (features,)
                for one record of several.
            times: (n,), when the records were, in any unit; the window of the budget is in the
                same. None: a record's number is its time, unless time is a coordinate.
            learn: Whether the forests learn; the threshold follows the scores even so.

        Raises:
            InvalidParameter: A value is no finite float32, the shape is wrong, or times are needed;
                nothing is learnt.
        """
        rows, when = self._checked(values, times)
        return self.process_together([self], _alone(rows), rows, when, learn=learn)[0]

    def process_explained(
        self,
        values: ArrayLike,
        times: ArrayLike | None = None,
        *,
        learn: bool = True,
        every: bool = False,
    ) -> tuple[Judgements, dict[int, Shares]]:
        """Judge each record, then learn it, and say why of anomalies.

        How records are cut into calls changes nothing. Where the threshold has a lowest value
        (modes "automatic", "budget" and "fixed"), only what reaches it is looked into; in the other
        modes all records are, which takes several times as long.

        Args:
            values: As for `process`.
            times: As for `process`.
            learn: As for `process`.
            every: Whether to say why of all that have a score.

        Returns:
            The judgements of `process`, bit for bit, and by the row of a record the attribution of
            its score: that of the forest whose score it is. Where a record is an anomaly by its
            distance alone, the shares of its distance stand there, and sum to that.

        Raises:
            InvalidParameter: As `process`; nothing is learnt.
        """
        rows, when = self._checked(values, times)
        explain = "all" if every else "anomalies"
        return self.process_together([self], _alone(rows), rows, when, explain=explain, learn=learn)

    @classmethod
    def process_together(
        cls,
        detectors: Sequence[Detector],
        starts: I64,
        rows: F64,
        times: F64 | None = None,
        *,
        explain: str = "none",
        learn: bool = True,
    ) -> tuple[Judgements, dict[int, Shares]]:
        """`process` or `process_explained` of many detectors at once, bit for bit.

        Where each has few records this saves most of the time: a call takes as long as some records
        do.

        Args:
            detectors: Of one kind: the same arguments but for the seed. At least one, none twice.
            starts: int64 (detectors + 1,), as `rcf.arguments.as_starts` makes it: not checked.
            rows: float64 (n, features), C order.
            times: float64 (n,), as for `process`.
            explain: Of which records to say why: "none", "anomalies", or "all" that have a score.
            learn: As for `process`.

        Returns:
            As `process_explained`, over all records.

        Raises:
            InvalidParameter: As `process`, the detectors differ, or there is no such `explain`;
                nothing is learnt.
        """
        cls.check_together(detectors, times, explain)
        first = detectors[0]
        lowest = {"none": math.inf, "anomalies": first._lowest, "all": -math.inf}[explain]
        memories = np.array([detector._address for detector in detectors])
        points, means, seen = _seen(detectors, memories, starts, rows, times, learn)
        views, distances = _seen_by(detectors, points, means), NOT_MEASURED
        found: list[tuple[F64, dict[int, Shares]]] = []
        mode = first._policy.multi_mode
        if mode != SCORE_ALONE:
            shared = mode == RECALL and explain != "none"
            of_points, distances = process_measured(
                views[0][0], starts, views[0][1], lowest, learn=learn, shared=shared
            )
            found.append(of_points)
        found += [
            Forest.process_together(forests, starts, each, lowest, learn=learn)
            for forests, each in views[len(found) :]
        ]
        scores = np.array([each for each, _ in found])
        judgements = _judged(first, memories, starts, rows, times, seen, scores, distances.total)
        if explain == "none":
            return judgements, {}
        said = ~np.isnan(judgements.score) if explain == "all" else judgements.grade > 0.0
        why = [told for _, told in found]
        alone = distances if mode == RECALL else None
        return judgements, {
            row: _reason(judgements, row, scores, why, alone)
            for row in np.flatnonzero(said).tolist()
        }

    @staticmethod
    def check_together(detectors: Sequence[Detector], times: F64 | None, explain: str) -> None:
        """Refuse what `process_together` would.

        Raises:
            InvalidParameter: As there, but for values.
        """
        kind = detectors[0]._kind
        # Equal ones are one object as a rule, which is seen at a glance.
        if any(each._kind is not kind and each._kind != kind for each in detectors):
            raise InvalidParameter("detectors", "of several kinds", "of one kind")
        if explain not in EXPLAIN:
            raise InvalidParameter("explain", explain, ", ".join(EXPLAIN))
        if times is None:
            checked_times(detectors[0]._change, None, 0)

    def score(self, values: ArrayLike, times: ArrayLike | None = None) -> Judgements:
        """Judge records as `process` would, were nothing learnt by the forests; nothing changes."""
        rows, when = self._checked(values, times)
        starts = _alone(rows)
        words = self._words.copy()
        memories = np.array([words.ctypes.data])
        points, means, seen = _seen([self], memories, starts, rows, when, False)
        views = _seen_by([self], points, means)
        scores = np.array(
            [Forest.score_together(each, starts, coordinates) for each, coordinates in views]
        )
        distances = NOT_MEASURED
        if self._policy.multi_mode != SCORE_ALONE:
            forests, coordinates = views[0]
            distances = measured(forests, starts, coordinates)
        return _judged(self, memories, starts, rows, when, seen, scores, distances.total)

    # --- what it says of records besides; nothing changes -----------------------------------------

    def attribution(self, values: ArrayLike) -> list[Shares]:
        """Of each record, what contributes to its score: see `Forest.attribution`.

        The first forest's points are shingles; the other one's are trailing means of single
        records.
        """
        points, means = self._seen_next(values)
        views = [forest.attribution(each) for (forest,), each in _seen_by([self], points, means)]
        totals = np.nan_to_num(np.array([shares.total for shares in views]), nan=-1.0)
        return [
            Shares(*(part[row : row + 1] for part in views[view]))
            for row, view in enumerate(totals.argmax(axis=0).tolist())
        ]

    def density(self, values: ArrayLike) -> Shares:
        """See `Forest.density`, of the forest over points."""
        return self.forest.density(self._seen_next(values)[0])

    def distance(self, values: ArrayLike) -> Shares:
        """See `Forest.distance`, of the forest over points."""
        return self.forest.distance(self._seen_next(values)[0])

    def near_neighbours(self, values: ArrayLike, distance: float = np.inf) -> list[list[Neighbour]]:
        """See `Forest.near_neighbours`: points and distance are those that the forest sees."""
        return self.forest.near_neighbours(self._seen_next(values)[0], distance)

    def hotspots(self, window: int, radius: float, least: int) -> list[Hotspot]:
        """See `Forest.hotspots`: where records crowd as the forest sees them."""
        return self.forest.hotspots(window, radius, least)

    def impute(self, values: ArrayLike) -> F64:
        """One record, float64 (1, features), with what is missing filled in by the forest.

        NaN where the forest knows nothing; nothing changes.
        """
        rows = as_rows_with_gaps(values, self._size.features)
        if self._change.method == NONE and self._change.time_weight == 0.0:
            return self.forest.impute(rows)
        transform = Transform.of_parts(self._change, self._memory().transform.copy())
        gaps = np.isnan(rows)
        known = transform.peek(np.nan_to_num(rows))
        known[:, : self._size.features][gaps] = np.nan
        found = self.forest.impute(known)
        if np.isnan(found).any():
            return np.full_like(rows, np.nan)
        return np.where(gaps, transform.invert(found).values, rows)

    def newest(self) -> F64 | None:
        """The record learnt last as the forest saw it, float64 (coordinates,); None before it."""
        rows = self.forest.recent(1)
        return rows[0] if len(rows) else None

    def _seen_next(self, values: ArrayLike) -> tuple[F64, F64]:
        """What forests would see of records, came they next at the usual time."""
        rows = as_rows(values, self._size.features)
        words = self._words.copy()
        memories, starts = np.array([words.ctypes.data]), _alone(rows)
        change = self._memory().transform
        times = None
        if self._change.time_weight > 0.0:
            times = change[TIME] + change[GAP] * np.arange(1.0, len(rows) + 1.0)
        points, means, _ = _seen([self], memories, starts, rows, times, False)
        return points, means

    def _memory(self) -> Memory:
        return memory.memory_of(self._words, self._size)

    # --- what may change while it runs ------------------------------------------------------------

    def set_threshold(
        self,
        threshold: str = "automatic",
        *,
        level: float | None = None,
        cool_down: int = 40,
        budget: int | None = None,
        window: float = 1440.0,
        multi_mode: str = "none",
    ) -> None:
        """Judge the records to come by another rule; arguments and errors as of the class.

        What was learnt stays; where the budget changes, the count of alerts starts anew. A
        distance that had no say gets one when a few more records have shown what is usual.
        """
        mode, value = _mode_of(threshold, level, budget)
        settings = self._settings._replace(
            mode=mode,
            level=value,
            cool_down=whole("cool_down", cool_down, 0, 1_000_000),
            budget=0 if budget is None else whole("budget", budget, 1, alert.MOST_ALERTS),
            window=real("window", window, 1e-9, 1e18),
            multi_mode=_multi_mode_of(multi_mode),
        )
        if settings == self._settings:
            return
        if settings.budget != self._settings.budget:
            words = memory.with_budget(self._words, self._size, settings.budget)
            self._remember(self._size._replace(budget=settings.budget), words)
        measured = int(settings.multi_mode != "none")
        if measured != self._size.measured:
            words = memory.with_measured(self._words, self._size, measured)
            self._remember(self._size._replace(measured=measured), words)
        self._configure(settings)

    def set_time_decay(self, time_decay: float | None) -> None:
        """See `rcf.Forest.set_time_decay`; None: the default of the class."""
        if time_decay is None:
            time_decay = usual_decay(self.forest.shape.sample_size)
        for forest in self._views:
            if forest.time_decay != decay_in_force(time_decay, forest.shape.sample_size):
                forest.set_time_decay(time_decay)

    def merge(self, *others: Detector) -> None:
        """Have the samples of all: see `Forest.merge`.

        What was learnt of scores, and what transforms records, stays this detector's own. A new
        detector judges its first records so by what is usual elsewhere.

        Args:
            others: Of forests of the same sizes, over records that are transformed and smoothed the
                same way; not changed.

        Raises:
            InvalidParameter: They are not, or there is none; nothing is changed.
        """
        if any(other._sight != self._sight for other in others):
            raise InvalidParameter("others", "of another kind", "of forests that see the same")
        for number, view in enumerate(self._views):
            view.merge(*(other.views[number] for other in others))

    def _checked(self, values: ArrayLike, times: ArrayLike | None) -> tuple[F64, F64 | None]:
        rows = as_rows(values, self._size.features)
        return rows, checked_times(self._change, times, len(rows))

    @property
    def _sight(self) -> tuple[tuple[Shape, ...], int, Change, bytes]:
        """What forests are, and what they see of records."""
        weights = weights_of(self._memory().transform)
        return self._kind.shapes, self._width, self._change, weights.tobytes()

    # --- what it is -----------------------------------------------------------------------------

    @property
    def forest(self) -> Forest:
        """The forest over the points."""
        return self._views[0]

    @property
    def views(self) -> tuple[Forest, ...]:
        """The forest over the points and, if there is one, that over trailing means."""
        return tuple(self._views)

    @property
    def settings(self) -> Settings:
        """What sets threshold, cool-down, budget and guard."""
        return self._settings

    @property
    def features(self) -> int:
        """Values a record."""
        return self._size.features

    @property
    def values_seen(self) -> int:
        """Records seen so far."""
        return self.forest.records_seen

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the state takes."""
        forests = sum(forest.nbytes for forest in self._views)
        return forests + self._words.nbytes

    def parts(self) -> tuple[int, Change, Size, Settings, F64, list[U8]]:
        """(smoothing, transform, size and words of the memory around settings, blocks)."""
        blocks = [forest.block for forest in self._views]
        return self._width, self._change, self._size, self._settings, self._words, blocks

    def __copy__(self) -> Detector:
        copied = self.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied._views = [copy(view) for view in self._views]
        copied._remember(self._size, self._words.copy())
        return copied

    @classmethod
    def of_parts(
        cls,
        width: int,
        change: Change,
        size: Size,
        settings: Settings,
        words: F64,
        blocks: list[U8],
    ) -> Detector:
        """A detector around its parts, which it then owns."""
        detector = cls.__new__(cls)
        views = [Forest.of_block(block) for block in blocks]
        detector._adopt(views, width, change, size, settings, words)
        return detector

    def __reduce__(self) -> tuple[Callable[[bytes], Detector], tuple[bytes]]:
        """Copies are detectors of their own: kernels know what one remembers by its address."""
        return type(self).from_bytes, (self.to_bytes(),)

    def to_bytes(self) -> bytes:
        """Versioned, checksummed bytes from which `from_bytes` continues bit for bit."""
        from rcf.snapshot import detector_to_bytes

        return detector_to_bytes(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Detector:
        """Restore a detector.

        Raises:
            SnapshotError: The bytes are damaged, cut short, or of an unknown version.
        """
        from rcf.snapshot import detector_from_bytes

        return detector_from_bytes(data)


def _alone(rows: F64) -> I64:
    """The segments of records that are all of one series."""
    return np.array([0, len(rows)])


def _seen(
    detectors: Sequence[Detector],
    memories: I64,
    starts: I64,
    rows: F64,
    times: F64 | None,
    learn: bool,
) -> tuple[F64, F64, I64]:
    """Records as forests see them, their trailing means, and how many each series had before."""
    first = detectors[0]
    points, means = np.empty((2, len(rows), first._size.coordinates))
    seen = np.empty(len(detectors), np.int64)
    blocks = np.array([detector.forest.address for detector in detectors])
    done = see_rows(
        *(blocks, memories, first._size, first._change, first._width, starts, rows),
        *(np.empty(0) if times is None else times, learn, points, means, seen),
    )
    if done < 0:
        refuse_value(rows, -1 - done)
    return points, means, seen


def _seen_by(
    detectors: Sequence[Detector], points: F64, means: F64
) -> list[tuple[tuple[Forest, ...], F64]]:
    """The forests over points and what they see of records; likewise those over trailing means."""
    views = zip(*(detector.views for detector in detectors), strict=True)
    return list(zip(views, (points, means), strict=False))


def _judged(
    detector: Detector,
    memories: I64,
    starts: I64,
    rows: F64,
    times: F64 | None,
    seen: I64,
    views: F64,
    distances: F64,
) -> Judgements:
    """`rcf.judge.judge_rows` for detectors of one kind, one of which is given."""
    count = len(rows)
    score, threshold, grade, confidence, *rest = np.empty((8, count))
    held_back = np.empty(count, np.int64)
    said = Judgements(score, threshold, grade, confidence, held_back, *rest)
    clock, size = np.empty(0) if times is None else times, detector._size
    judge_rows(detector._policy, memories, size, starts, rows, clock, seen, views, distances, said)
    return said


def rehearse(detector: Detector, rows: F64) -> None:
    """Do with records all that `process` does but what the forests do, so that it is compiled.

    Args:
        detector: Learns of them what is no forest's; not to be used any more.
        rows: float64 (n, features), finite.
    """
    memories, starts = np.array([detector._address]), _alone(rows)
    points, means, seen = _seen([detector], memories, starts, rows, None, True)
    views = _seen_by([detector], points, means)
    scores = np.ones((len(views), len(rows)))
    _judged(detector, memories, starts, rows, None, seen, scores, NOT_MEASURED.total)


def _reason(
    said: Judgements,
    row: int,
    scores: F64,
    why: list[dict[int, Shares]],
    distances: Shares | None,
) -> Shares:
    """Why a record got its score or, where its distance alone makes it an anomaly, that.

    `distances`: where they alone may do so.
    """
    if (
        distances is not None
        and said.grade[row] > 0.0
        and said.score[row] < said.threshold[row]
        and said.distance[row] > said.distance_threshold[row]
    ):
        return Shares(*(part[row : row + 1] for part in distances))
    return why[int(np.nanargmax(scores[:, row]))][row]


def usual_decay(sample_size: int) -> float:
    """The default rate at which a detector's sampled points lose weight."""
    return 1.0 / max(MEMORY, 10 * sample_size)


def _other_seed(seed: int) -> int:
    """A seed for the second forest: a tree of it draws what the next one of the first forest does.

    Each forest by itself follows the laws of `rcf.tree` and `rcf.reservoir`, over other values.
    """
    return (seed + 0x9E3779B97F4A7C15) % 2**64


def _mode_of(threshold: str, level: float | None, budget: int | None) -> tuple[str, float]:
    """(mode, level), checked and with the mode's default level."""
    if not isinstance(threshold, str) or threshold not in MODES:
        raise InvalidParameter("threshold", threshold, ", ".join(MODES))
    if threshold == "budget" and budget is None:
        raise InvalidParameter("budget", None, 'a number of alerts where threshold is "budget"')
    if threshold not in _LEVELS:
        if level is not None:
            raise InvalidParameter("level", level, f"none where threshold is {threshold!r}")
        return threshold, 0.0
    low, high, default = _LEVELS[threshold]
    value = default if level is None else level
    if value is None:
        raise InvalidParameter("level", None, f"a score where threshold is {threshold!r}")
    return threshold, real("level", value, low, high)


def _multi_mode_of(name: str) -> str:
    if not isinstance(name, str) or name not in MULTI_MODES:
        raise InvalidParameter("multi_mode", name, ", ".join(MULTI_MODES))
    return name
