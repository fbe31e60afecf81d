"""Whether a broker lets us in; and if not, which setting to look at.

The client library tries every address, logs why each failed, and raises only that all did. So the
first connection of all is made here, one address after another, where its error can be seen.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import errors
from aiokafka.conn import collect_hosts, create_conn

from service.adapters.kafka.connection import REFUSED, Connection, Security
from service.engine.errors import EngineError, TransientError

GREETING_S = 8.0
"""Bound of one connection, with everything that proves who we are."""

ANOTHER_NAME = (62, 64)
"""OpenSSL's codes for a certificate of another host name or address."""

KIND = (
    "perhaps this port wants another RCF_KAFKA_SECURITY "
    "(PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL)"
)


async def greet(connection: Connection) -> None:
    """Connect to a broker as every client will, and leave again.

    Raises:
        InvalidParameter: a file named in the settings cannot be used.
        EngineError: a broker refuses, and will again; says which setting to look at.
        TransientError: no broker answers.
    """
    options = connection.options()
    hosts = collect_hosts(options.pop("bootstrap_servers"), randomize=False)
    found: list[tuple[bool, str]] = []
    for host, port, _ in hosts:
        try:
            greeting = create_conn(host, port, **options)
            (await asyncio.wait_for(greeting, GREETING_S)).close()
        except (OSError, TimeoutError, errors.KafkaError) as error:
            refused, reason = _explained(error, connection)
            found.append((refused, f"{host}:{port}: {reason}"))
        else:
            return
    said = "; ".join(reason for _, reason in found)
    if any(refused for refused, _ in found):
        raise EngineError(f"Kafka: no broker lets us in: {said}")
    raise TransientError(f"Kafka: no broker answers: {said}")


def _explained(error: Exception, connection: Connection) -> tuple[bool, str]:
    """Tell whether trying again is of no use, and what to do."""
    for kinds, final, explain in EXPLANATIONS:
        if isinstance(error, kinds):
            return final, explain(error, connection.security)
    return False, str(error) or type(error).__name__


def _distrusted(error: Any, _: Security) -> str:
    if error.verify_code in ANOTHER_NAME:
        return (
            f"the broker's certificate is for another name ({error.verify_message}); name the "
            "brokers in RCF_KAFKA_BOOTSTRAP and in their advertised.listeners as the certificate "
            "does"
        )
    return (
        f"the broker's certificate is not to be believed ({error.verify_message}); set "
        "RCF_KAFKA_CA_FILE to the PEM file of the authority that signed it"
    )


def _unknown_user(_: Any, security: Security) -> str:
    return (
        f"the user {security.username!r} with this password is not let in by "
        f"{security.mechanism}; look at RCF_KAFKA_USERNAME, RCF_KAFKA_PASSWORD_FILE (or "
        "RCF_KAFKA_PASSWORD) and RCF_KAFKA_SASL_MECHANISM"
    )


def _unknown_mechanism(_: Any, security: Security) -> str:
    return (
        f"{security.mechanism} is not taken here; choose another RCF_KAFKA_SASL_MECHANISM "
        "(PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512)"
    )


def _closed(_: Any, security: Security) -> str:
    said = "the connection was closed at once; "
    if security.protocol.endswith("SSL") and security.cert_file is None:
        said += "perhaps the broker asks for a certificate: see RCF_KAFKA_CERT_FILE; or "
    return said + KIND


EXPLANATIONS: Sequence[
    tuple[type[Exception] | tuple[type[Exception], ...], bool, Callable[[Any, Security], str]]
] = (
    (ssl.SSLCertVerificationError, True, _distrusted),
    (ssl.SSLError, True, lambda error, _: f"the TLS handshake failed ({error.reason}); {KIND}"),
    ((errors.SaslAuthenticationFailed, errors.AuthenticationFailedError), True, _unknown_user),
    (errors.UnsupportedSaslMechanismError, True, _unknown_mechanism),
    (errors.IllegalSaslStateError, True, lambda *_: f"passwords are not taken here; {KIND}"),
    (REFUSED, True, lambda error, _: f"{type(error).__name__}: {error}"),
    (TimeoutError, False, lambda *_: f"no answer within {GREETING_S:g} s; {KIND}"),
    ((errors.KafkaConnectionError, ConnectionResetError), False, _closed),
)
"""The first kind that fits: whether trying again is of no use, and what to do."""
