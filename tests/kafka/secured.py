"""A broker behind TLS and passwords, with an authority made for the moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

from service.adapters.kafka import Security
from tests.kafka.broker import HOST, Broker, free_ports

USER, PASSWORD = "worker", "correct-horse-7141"
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
LISTENERS = {
    "TLS": "SSL",
    "MUTUAL": "SSL",
    "ELSEWHERE": "SSL",
    "SECRET": "SASL_SSL",
    "OPEN": "SASL_PLAINTEXT",
}
"""Name of a listener -> its protocol. MUTUAL asks for certificates; that of ELSEWHERE is another
host's."""

PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"


@dataclass(frozen=True)
class Files:
    """PEM files."""

    authority: Path
    other_authority: Path
    broker: Path
    elsewhere: Path
    client: Path
    client_key: Path


def make_files(folder: Path) -> Files:
    """Make an authority, and certificates of a broker, of another host and of a client."""
    authority, other = trustme.CA(), trustme.CA()
    folder.mkdir()
    found = Files(*(folder / f"{name}.pem" for name in Files.__dataclass_fields__))
    authority.cert_pem.write_to_path(str(found.authority))
    other.cert_pem.write_to_path(str(found.other_authority))
    _keystore(authority.issue_cert(HOST), found.broker)
    _keystore(authority.issue_cert("elsewhere.example"), found.elsewhere)
    client = authority.issue_cert("worker@example.org")
    client.cert_chain_pems[0].write_to_path(str(found.client))
    client.private_key_pem.write_to_path(str(found.client_key))
    return found


def _keystore(certificate: trustme.LeafCert, path: Path) -> None:
    """Write key and certificate as Java reads them: the key in PKCS 8."""
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    written = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(written + certificate.cert_chain_pems[0].bytes())


@dataclass(frozen=True)
class Secured:
    """A broker and what it takes to reach it."""

    broker: Broker
    files: Files
    ports: dict[str, int]

    def address(self, listener: str) -> str:
        return f"{HOST}:{self.ports[listener]}"

    def security(self, listener: str, **changed: object) -> Security:
        """What a client needs at a listener, but for what is changed."""
        protocol = LISTENERS[listener]
        found: dict = {"protocol": protocol}
        if protocol.startswith("SASL"):
            found |= {"mechanism": "SCRAM-SHA-256", "username": USER, "password": PASSWORD}
        if protocol.endswith("SSL"):
            found |= {"ca_file": self.files.authority}
        if listener == "MUTUAL":
            found |= {"cert_file": self.files.client, "key_file": self.files.client_key}
        return Security(**(found | changed))


def start(folder: Path) -> Secured:
    """Start it."""
    files = make_files(folder / "pem")
    ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
    lines = [
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={files.broker}",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={files.authority}",
        "listener.name.mutual.ssl.client.auth=required",
        "listener.name.elsewhere.ssl.keystore.type=PEM",
        f"listener.name.elsewhere.ssl.keystore.location={files.elsewhere}",
    ]
    plain = f'{PLAIN_MODULE} required user_{USER}="{PASSWORD}";'
    for name in ("secret", "open"):
        prefix = f"listener.name.{name}"
        lines.append(f"{prefix}.sasl.enabled.mechanisms=PLAIN,{','.join(SCRAM)}")
        lines.append(f"{prefix}.plain.sasl.jaas.config={plain}")
        lines += [
            f"{prefix}.{kind.lower()}.sasl.jaas.config={SCRAM_MODULE} required;" for kind in SCRAM
        ]
    listeners = {name: (ports[name], protocol) for name, protocol in LISTENERS.items()}
    broker = Broker(folder / "broker", extra="\n".join(lines), listeners=listeners)
    users = [
        f"--add-scram={kind}=[name={USER},password={PASSWORD},iterations=4096]" for kind in SCRAM
    ]
    broker.format(*users)
    broker.start()
    return Secured(broker, files, ports)
