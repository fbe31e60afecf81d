"""Settings become connections and stores: what the service and the commands beside it share.

Light to import: a client library is loaded only where it is used, and forests only to replay.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from service.adapters.snapshots import DirectorySnapshotStore
from service.engine import outcome
from service.engine.checks import Doctor
from service.engine.ports import LogView, SnapshotStore
from service.settings import Settings

if TYPE_CHECKING:
    from service.adapters.kafka import Connection, KafkaView
    from service.engine.config import StreamConfig
    from service.engine.rehearsal import PastRecord, Rehearsed
    from service.engine.replay import Replayer


def kafka_connection(settings: Settings) -> Connection:
    """How to reach the brokers."""
    from service.adapters.kafka import Connection, Security

    security = Security(
        protocol=settings.kafka_security,
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_username,
        password=settings.password(),
        ca_file=settings.kafka_ca_file,
        cert_file=settings.kafka_cert_file,
        key_file=settings.kafka_key_file,
    )
    return Connection(
        settings.kafka_bootstrap or "",
        application=settings.kafka_application,
        replication=settings.kafka_replication,
        session_s=settings.kafka_session_s,
        heartbeat_s=settings.kafka_session_s / 10,
        security=security,
    )


def snapshot_store(settings: Settings) -> SnapshotStore:
    """Where snapshots are kept; the client of object stores is imported only where it is used."""
    place = settings.snapshots
    if place is not None and "://" in place:
        from service.adapters.objects import bucket

        return bucket(place)
    return DirectorySnapshotStore(Path(place) if place else settings.data_dir / "snapshots")


def kafka_view(settings: Settings) -> KafkaView:
    """The topics, to look at."""
    from service.adapters.kafka import KafkaView

    return KafkaView(kafka_connection(settings))


def log_view(settings: Settings) -> LogView:
    """The log, to look at: Kafka's topics, or the file in the data directory."""
    if settings.kafka_bootstrap is not None:
        return kafka_view(settings)
    from service.adapters.sqlite import SqliteView

    return SqliteView(settings.data_dir)


def doctor(settings: Settings) -> Doctor:
    """What examines the log, and all it stands on."""
    snapshots = snapshot_store(settings)
    if settings.kafka_bootstrap is not None:
        from service.adapters.kafka.doctor import KafkaDoctor

        return KafkaDoctor(kafka_connection(settings), snapshots)
    from service.adapters.sqlite.doctor import SqliteDoctor

    return SqliteDoctor(settings.data_dir, snapshots)


def replayer(settings: Settings, view: LogView) -> Replayer:
    """What scores records again, with the forests of the service."""
    from service.adapters.codec import decoder_for
    from service.adapters.forest import ForestFactory
    from service.engine.replay import Replayer

    return Replayer(view, snapshot_store(settings), decoder_for, ForestFactory(), fingerprint())


def rehearse(config: StreamConfig, records: Iterable[PastRecord]) -> Rehearsed:
    """Judge records under a configuration, with the forests of the service."""
    from service.adapters.codec import decoder_for
    from service.adapters.forest import ForestFactory
    from service.engine import rehearsal

    return rehearsal.rehearse(config, records, decoder_for, ForestFactory())


def fingerprint() -> str:
    """What decides the last bit of a result, beside the records.

    The machine's kind, the compiler's versions, and the version of results as such.
    """
    versions = (f"{name} {version(name)}" for name in ("numba", "llvmlite", "numpy"))
    return ", ".join((platform.machine(), *versions, f"results {outcome.VERSION}"))
