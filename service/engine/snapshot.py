"""A partition's state as immutable files.

A snapshot is a manifest and the packs it names. A pack holds the bytes of the series that had
changed when it was written; the manifest names, for every series, its pack, place and the SHA-256
of its seal, the begin of its bytes that holds a digest of the others: what takes longest in writing
a series is done once. Unchanged series stay in the packs of earlier snapshots. The log holds the
pointer: manifest name and SHA-256. So everything that is read is checked, and a torn or altered
file is found.

Names carry the owner's epoch, so that a late former owner cannot overwrite a file, and the
beginning of the SHA-256 of what the file holds (a pack's, of its series' seals): one name never
stands for two contents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock

import msgspec

from service.engine.alerting import NOTHING_TOLD, Alerting, AlertState
from service.engine.config import StreamConfig
from service.engine.control import decode_config, encode_config
from service.engine.detectors import SeriesDetectors
from service.engine.errors import CorruptSnapshot
from service.engine.halting import NOTHING_COUNTED, DeadLetterCount, DeadLetterLimit
from service.engine.intake import NOTHING_SEEN, Intake, IntakeState
from service.engine.pipeline import Pipeline
from service.engine.ports import SEAL_BYTES, DecoderFactory, Failpoints, SnapshotStore, Storable
from service.engine.records import Pointer, StreamPartition

VERSION = 2
"""Manifests of version 1 name the SHA-256 of all of a series' bytes."""
LIVE_SHARE = 0.5
"""A pack of which a smaller share is in use is emptied into the next one."""
PACK_BYTES = 32 * 2**20
"""A pack is closed when it has so many bytes: it is held in memory until its name is known, and
goes to an object store in one request."""
NAME_DIGITS = 32
"""Hex digits of the content's SHA-256 in a file's name."""


class SeriesRef(msgspec.Struct, frozen=True):
    """Where one series' bytes stand, and the SHA-256 of their seal."""

    key: str
    pack: str
    start: int
    length: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """Everything a partition's state consists of.

    Attributes:
        offset: the state is that before this offset.
        config: the configuration at that offset, as `control` writes it.
        fingerprint: names the numerics (machine, compiler); another one may round differently.
        dead_letters: the count that decides where the partition halts.
        alerts: anomalous runs and incidents that are not over.
        intake: what lateness, repetitions and counters are told by.
    """

    version: int
    stream: str
    partition: int
    offset: int
    config: msgspec.Raw
    fingerprint: str
    series: tuple[SeriesRef, ...]
    dead_letters: DeadLetterCount = NOTHING_COUNTED
    alerts: AlertState = NOTHING_TOLD
    intake: IntakeState = NOTHING_SEEN


class Capture:
    """A partition's state at a transaction's boundary, while it is being written.

    Nothing is copied when it is taken, for there may be thousands of series. The writer encodes one
    after the other; one that is about to change before its turn is copied first, and a change of
    the one whose turn it is waits. So a batch waits for copies of the series it touches.

    Attributes:
        offset: the state is that before this offset.
        keys: all series, in the order of their first record.
        changed: the series to write.
        kept: places of the series that did not change.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        changed: dict[str, Storable],
        kept: Sequence[SeriesRef],
    ) -> None:
        self.partition = pipeline.partition
        self.offset = pipeline.position
        self.config = pipeline.config
        self.dead_letters = pipeline.limit.count()
        self.alerts = pipeline.alerting.state()
        self.intake = pipeline.intake.state()
        self.keys = tuple(pipeline.detectors.held())
        self.changed = tuple(changed)
        self.kept = kept
        self._pending = changed
        self._ready: dict[str, Storable] = {}
        self._lock = Lock()
        self._turn: tuple[str, Lock] | None = None

    def before_change(self, key: str) -> None:
        """Copy a series that still waits for its turn. Called by the thread that scores."""
        with self._lock:
            detector = self._pending.pop(key, None)
            if detector is not None:
                self._ready[key] = copy(detector)
            turn = self._turn
        if turn is not None and turn[0] == key:
            with turn[1]:
                pass

    def take(self) -> tuple[str, bytes] | None:
        """Return the next series to write; None after the last. Called by the writer."""
        turn = Lock()
        with turn:
            with self._lock:
                if self._ready:
                    key, detector = self._ready.popitem()
                elif self._pending:
                    key = next(iter(self._pending))
                    detector = self._pending.pop(key)
                    self._turn = key, turn
                else:
                    return None
            return key, detector.to_bytes()

    def abandon(self) -> None:
        """Give up: the writer finds nothing more, and series change without delay."""
        with self._lock:
            self._pending.clear()
            self._ready.clear()


# Made here, once: msgspec crashes when two threads are the first to ask for a type's decoder,
# and partitions are restored by several threads at once.
_decode_manifest = msgspec.json.Decoder(Manifest).decode


@dataclass(frozen=True, slots=True)
class Written:
    """A durable snapshot whose pointer is not yet in the log."""

    pointer: Pointer
    series: tuple[SeriesRef, ...]
    size: int


def capture(pipeline: Pipeline, places: dict[str, SeriesRef]) -> Capture:
    """Fix the state between two batches and count it as saved.

    Args:
        pipeline: not processing at the moment.
        places: where series stood in the last snapshot.
    """
    detectors = pipeline.detectors
    stale = {*detectors.changed(), *_in_wasteful_packs(places)}
    held = detectors.held()
    changed = {key: held[key] for key in held if key in stale or key not in places}
    kept = [places[key] for key in held if key not in changed]
    taken = Capture(pipeline, changed, kept)
    detectors.mark_saved(taken.before_change)
    return taken


def write(
    store: SnapshotStore, prefix: str, taken: Capture, fingerprint: str, failpoint: Failpoints
) -> Written:
    """Make a capture durable: the packs first, then the manifest that names them."""
    written: list[SeriesRef] = []
    for pack in _packs(prefix, taken, failpoint):
        store.write(pack.name, pack.chunks)
        written += pack.references
    failpoint("snapshot.packed")
    places = {reference.key: reference for reference in (*taken.kept, *written)}
    series = tuple(places[key] for key in taken.keys if key in places)
    manifest = Manifest(
        version=VERSION,
        stream=taken.partition.stream,
        partition=taken.partition.partition,
        offset=taken.offset,
        config=msgspec.Raw(encode_config(taken.config)),
        fingerprint=fingerprint,
        series=series,
        dead_letters=taken.dead_letters,
        alerts=taken.alerts,
        intake=taken.intake,
    )
    data = msgspec.json.encode(manifest)
    digest = sha256(data).hexdigest()
    name = f"{prefix}{taken.offset}-{digest[:NAME_DIGITS]}.manifest"
    store.write(name, [data])
    failpoint("snapshot.written")
    pointer = Pointer(taken.offset, name, digest)
    size = len(data) + sum(reference.length for reference in written)
    return Written(pointer, series, size)


def read_manifest(store: SnapshotStore, pointer: Pointer) -> Manifest:
    """Read and check the manifest that a pointer names.

    Raises:
        CorruptSnapshot: it is missing, altered, or of another version.
    """
    data = store.read(pointer.manifest)
    if sha256(data).hexdigest() != pointer.sha256:
        raise CorruptSnapshot(pointer.manifest, "altered: the checksum differs")
    try:
        manifest = _decode_manifest(data)
    except msgspec.MsgspecError as error:
        raise CorruptSnapshot(pointer.manifest, str(error)) from error
    if not 1 <= manifest.version <= VERSION:
        reason = f"version {manifest.version}; this release reads versions 1 to {VERSION}"
        raise CorruptSnapshot(pointer.manifest, reason)
    return manifest


def config_of(manifest: Manifest) -> StreamConfig:
    """Return the configuration at the manifest's offset."""
    return decode_config(bytes(manifest.config))


def limit_of(manifest: Manifest) -> DeadLetterLimit:
    """Return the limit of dead letters, counting on from the manifest's offset."""
    return DeadLetterLimit(manifest.dead_letters)


def alerting_of(manifest: Manifest) -> Alerting:
    """Return rules' and incidents' memory, going on from the manifest's offset."""
    partition = StreamPartition(manifest.stream, manifest.partition)
    return Alerting(partition, manifest.alerts)


def intake_of(manifest: Manifest) -> Intake:
    """Return the memory of what came, going on from the manifest's offset."""
    return Intake(manifest.intake)


def restore(
    store: SnapshotStore,
    manifest: Manifest,
    detectors: SeriesDetectors,
    decoder_for: DecoderFactory,
    failpoint: Failpoints,
) -> Pipeline:
    """Make the state that a manifest describes.

    Args:
        store: where the manifest's packs are.
        manifest: describes it.
        detectors: without series; to hold those of the manifest.
        decoder_for: see `Pipeline`.
        failpoint: called after each series.

    Raises:
        CorruptSnapshot: bytes are missing or altered.
    """
    load(store, manifest, detectors, failpoint)
    return Pipeline(
        StreamPartition(manifest.stream, manifest.partition),
        config_of(manifest),
        detectors,
        decoder_for,
        manifest.offset,
        limit_of(manifest),
        alerting_of(manifest),
        intake_of(manifest),
    )


def load(
    store: SnapshotStore, manifest: Manifest, detectors: SeriesDetectors, failpoint: Failpoints
) -> None:
    """Restore every series of a manifest.

    Raises:
        CorruptSnapshot: bytes are missing or altered; the detectors must not be used.
    """
    packs: dict[str, bytes] = {}
    for reference in manifest.series:
        if reference.pack not in packs:
            packs[reference.pack] = store.read(reference.pack)
        data = packs[reference.pack][reference.start : reference.start + reference.length]
        check(reference, data if manifest.version == 1 else data[:SEAL_BYTES])
        if len(data) != reference.length:
            raise CorruptSnapshot(reference.pack, f"series {reference.key!r}: bytes are missing")
        detectors.restore(reference.key, data)
        failpoint("restore.series")


def check(reference: SeriesRef, seal: bytes) -> None:
    """Compare the seal of a series with the manifest's checksum.

    Raises:
        CorruptSnapshot: they differ.
    """
    if sha256(seal).hexdigest() != reference.sha256:
        raise CorruptSnapshot(reference.pack, f"series {reference.key!r}: the checksum differs")


def places_of(manifest: Manifest) -> dict[str, SeriesRef]:
    """Return where series stand that need not be written again while they do not change."""
    if manifest.version < VERSION:
        return {}
    return {reference.key: reference for reference in manifest.series}


def collect(store: SnapshotStore, folder: str, pointers: Sequence[Pointer]) -> int:
    """Delete the files in a partition's folder that no kept snapshot needs; count them.

    Not those of later owners: one that was stopped for a while knows nothing of what they need.
    """
    newest = max((_epoch_of(pointer.manifest) for pointer in pointers), default=-1)
    needed: set[str] = set()
    for pointer in pointers:
        needed.add(pointer.manifest)
        try:
            needed.update(reference.pack for reference in read_manifest(store, pointer).series)
        except CorruptSnapshot:
            continue  # useless by itself, and so are the packs that only it names
    names = [name for name in store.names(folder) if _epoch_of(name) <= newest]
    garbage = [name for name in names if name not in needed]
    for name in garbage:
        store.delete(name)
    return len(garbage)


def _epoch_of(name: str) -> int:
    """Return the epoch of the owner that wrote a file."""
    epoch = name.rpartition("/")[2].partition("-")[0]
    return int(epoch) if epoch.isdecimal() else -1


@dataclass(frozen=True, slots=True)
class _Pack:
    """One file of series, about to be written."""

    name: str
    chunks: list[bytes]
    references: list[SeriesRef]


def _packs(prefix: str, taken: Capture, failpoint: Failpoints) -> Iterator[_Pack]:
    """Gather a capture's series into packs; one at a time is in memory."""
    series: list[tuple[str, bytes]] = []
    size = 0
    while (item := taken.take()) is not None:
        failpoint("snapshot.chunk")
        series.append(item)
        size += len(item[1])
        if size >= PACK_BYTES:
            yield _pack(prefix, series)
            series, size = [], 0
    if series:
        yield _pack(prefix, series)


def _pack(prefix: str, series: list[tuple[str, bytes]]) -> _Pack:
    chunks = [data for _, data in series]
    digests = [sha256(chunk[:SEAL_BYTES]).hexdigest() for chunk in chunks]
    name = f"{prefix}{sha256(''.join(digests).encode()).hexdigest()[:NAME_DIGITS]}.pack"
    references, start = [], 0
    for (key, data), digest in zip(series, digests, strict=True):
        references.append(SeriesRef(key, name, start, len(data), digest))
        start += len(data)
    return _Pack(name, chunks, references)


def _in_wasteful_packs(places: dict[str, SeriesRef]) -> list[str]:
    """Name the series whose packs hold mostly bytes that nobody needs any more.

    A pack's size is at least the end of its last series in use; that bound is enough.
    """
    live: dict[str, int] = {}
    size: dict[str, int] = {}
    for place in places.values():
        live[place.pack] = live.get(place.pack, 0) + place.length
        size[place.pack] = max(size.get(place.pack, 0), place.start + place.length)
    return [
        key for key, place in places.items() if live[place.pack] < LIVE_SHARE * size[place.pack]
    ]
