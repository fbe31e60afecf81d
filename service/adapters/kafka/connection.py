"""How clients reach the brokers: address, names, security, bounds; and what their errors mean.

No call into the client library is trusted to end by itself: every one goes through `bounded`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiokafka import errors
from aiokafka.helpers import create_ssl_context

from service.adapters.kafka import library
from service.engine.errors import EngineError, Fenced, InvalidParameter, TransientError

T = TypeVar("T")
library.mend()

REQUEST_S = 10.0
"""Bound of one request to a broker, as the client library knows it."""

CALL_S = 15.0
"""Bound of one call into the client library; it may send several requests."""

CLOSE_S = 2.0
"""Bound of closing a client in good order; after that it is cut off."""

CANCEL_S = 1.0
"""Bound of a call's end after it was cancelled."""

FENCED = (errors.ProducerFenced, errors.InvalidProducerEpoch)
REFUSED = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed,
    errors.ClusterAuthorizationFailedError,
    errors.SaslAuthenticationFailed,
    errors.AuthenticationFailedError,
    errors.UnsupportedSaslMechanismError,
)


@dataclass(frozen=True, slots=True)
class Security:
    """How to prove who we are, and whom to believe.

    Attributes:
        protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; for SASL only.
        username, password: for SASL only; never shown.
        ca_file: certificates to believe; None takes those of the system.
        cert_file, key_file: our own certificate, where the broker asks for one.
    """

    protocol: str = "PLAINTEXT"
    mechanism: str = "PLAIN"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def options(self) -> dict[str, Any]:
        """Return these as every client class takes them."""
        found: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol.startswith("SASL"):
            found |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        if self.protocol.endswith("SSL"):
            found["ssl_context"] = self._context()
        return found

    def _context(self) -> ssl.SSLContext:
        """Read the files anew each time, so that certificates may be renewed under our feet."""
        try:
            context: ssl.SSLContext = create_ssl_context(
                cafile=None if self.ca_file is None else str(self.ca_file)
            )
        except (OSError, ssl.SSLError) as error:
            raise _unusable("RCF_KAFKA_CA_FILE", self.ca_file, error) from error
        if self.cert_file is not None:
            try:
                context.load_cert_chain(self.cert_file, self.key_file)
            except (OSError, ssl.SSLError) as error:
                files = " with RCF_KAFKA_KEY_FILE " + str(self.key_file) if self.key_file else ""
                raise _unusable("RCF_KAFKA_CERT_FILE", f"{self.cert_file}{files}", error) from error
        return context


def _unusable(setting: str, value: object, error: OSError) -> InvalidParameter:
    """Say which file cannot be used; `ssl.SSLError` is an OSError too."""
    reason = error.strerror or str(error)
    allowed = f"a PEM file that can be read ({reason}), and the key that belongs to a certificate"
    return InvalidParameter(setting, str(value), allowed)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the brokers are, and under which name the service works there.

    Attributes:
        bootstrap: "host:port,host:port".
        application: group id, and the beginning of transactional ids and of the control topic's
            name. Services with one application share the work. Others know nothing of its streams,
            whose topics bear the streams' names alone: those must differ.
        replication: copies of each topic made here; 0 means three, or as many as there are brokers.
        session_s: silence after which a worker counts as dead.
        heartbeat_s: how often a worker shows that it lives.
        transaction_s: after so long the broker aborts a transaction that nobody ends.
    """

    bootstrap: str
    application: str = "rcf"
    replication: int = 0
    session_s: float = 10.0
    heartbeat_s: float = 1.0
    transaction_s: float = 15.0
    security: Security = field(default_factory=Security)

    def options(self) -> dict[str, Any]:
        """Return what every client class takes."""
        return {
            "bootstrap_servers": self.bootstrap,
            "client_id": self.application,
            "request_timeout_ms": int(REQUEST_S * 1000),
            **self.security.options(),
        }


async def bounded(call: Awaitable[T], what: str, seconds: float = CALL_S) -> T:
    """Await a call into the client library, for so long and no longer.

    A call that does not end when it is cancelled is left behind: the library answers some
    cancellations by waiting for what it has under way, which `asyncio.wait_for` would wait for.

    Raises:
        Fenced: another owner took over.
        TransientError: it failed for the moment, or did not end in time; `what` names the call.
        EngineError: the broker refuses, and will again.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.add_done_callback(look_at)
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_S)
    if not task.done() or task.cancelled():
        raise TransientError(f"Kafka: {what} did not end within {seconds:g} s")
    try:
        return task.result()
    except errors.KafkaError as error:
        raise translated(error, what) from error
    except (OSError, errors.IllegalOperation) as error:
        # The latter: a call into a client that broke a moment ago, for a reason of its own.
        raise TransientError(f"Kafka: {what}: {error}") from error


def look_at(future: asyncio.Future[Any]) -> None:
    """Take note of a future's error, so that nobody reports it as never retrieved."""
    if not future.cancelled():
        future.exception()


def translated(error: errors.KafkaError, what: str) -> EngineError:
    """Say in the engine's words what an error of the client library means."""
    said = f"Kafka: {what}: {type(error).__name__}: {error}"
    if isinstance(error, FENCED):
        return Fenced(said)
    if isinstance(error, REFUSED):
        return EngineError(f"{said}; the broker does not allow it")
    return TransientError(said)
