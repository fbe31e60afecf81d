"""Every setting of the service: one frozen model, read once from `RCF_…` variables and flags.

A flag of the command line wins over the environment, the environment over the default. Only
`service.wiring` and the command line read this module; everything below is handed plain values.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "RCF_"
#: Settings that commands have a flag for.
FLAGS = frozenset(
    ("host", "port", "data_dir", "log_level", "auto_create", "demo", "kafka_bootstrap", "snapshots")
)
_CREDENTIALS = re.compile(r"://.*@|://[^/]*:.*", re.DOTALL)
"""What of a URL may be credentials: secrets of object stores hold slashes, too."""
_VISIBLE = re.compile(r"[!-~]+")


def _place(text: str) -> str:
    """Refuse what is neither a directory nor s3://bucket/prefix."""
    if "://" not in text:
        if not text.strip():
            raise ValueError("a directory or s3://bucket/prefix")
        return text
    if _CREDENTIALS.search(text):
        raise ValueError(
            "a URL without credentials (no @, and no : in the bucket's name): those belong into "
            "the environment"
        )
    parts = urlsplit(text)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("a directory or s3://bucket/prefix")
    return text


class Settings(BaseSettings):
    """What an operator may change. Each field states its unit and range."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on. 0.0.0.0 means every interface: anyone who reaches "
        "the port may then read and write, unless RCF_TOKEN is set.",
    )
    port: int = Field(
        8080, ge=0, le=65535, description="TCP port to listen on; 0 takes any free one."
    )
    allowed_hosts: str | None = Field(
        None,
        pattern=r"^[^\s,:/]+(,[^\s,:/]+)*$",
        description="Names with commas between them, such as that of a proxy in front, by which "
        "requests may ask for a service that listens on loopback: there it answers to localhost, "
        "127.0.0.1, [::1] and these alone, lest a web page get in by a name of its own.",
    )
    token: SecretStr | None = Field(
        None,
        description="What requests must show, as `Authorization: Bearer …`: all but those for "
        "/healthz, /readyz and what is the same everywhere, the files of the page and of /docs. "
        "The commands that ask a service show it. Better kept in a file.",
    )
    token_file: Path | None = Field(
        None, description="File whose first line is what requests must show."
    )
    data_dir: Path = Field(
        Path(".rcf"),
        description="Directory of the log and the snapshots, made when absent; relative to the "
        "directory the command starts in.",
    )
    auto_create: bool | None = Field(
        None,
        description="Create an unknown stream on its first record, with one feature per value. "
        "Unset: yes for `rcf dev`, no for `rcf serve`.",
    )
    demo: bool | None = Field(
        None,
        description="Feed the streams `demo` and `host`. Unset: yes for `rcf dev`, no for "
        "`rcf serve`.",
    )
    partitions: int = Field(
        4, ge=1, le=256, description="Partitions of a stream that does not say how many."
    )
    max_series: int = Field(
        1000,
        ge=1,
        le=10**6,
        description="Series that a partition holds at most, of a stream that does not say how "
        "many. With the partitions it bounds memory: `rcf size` says how much.",
    )
    scoring_threads: int = Field(
        2, ge=1, le=256, description="Worker threads that score partitions at the same time."
    )
    snapshot_interval_s: float = Field(
        60.0, gt=0, le=86_400, description="Seconds between snapshots of a changed partition."
    )
    max_pending_records: int = Field(
        200_000,
        ge=1,
        le=100_000_000,
        description="Appended but unscored records of a partition above which an append is "
        "refused with 429.",
    )
    body_limit_bytes: int = Field(
        10_000_000,
        ge=1_000,
        le=1_000_000_000,
        description="Bytes of the largest request body; more is refused with 413 while reading.",
    )
    body_limit_records: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="Records of the largest request body; more are refused with 413.",
    )
    result_timeout_s: float = Field(
        10.0,
        gt=0,
        le=600,
        description="Seconds that an append waits for its results before it answers 504 with "
        "the receipt.",
    )
    max_subscribers: int = Field(
        1_000, ge=1, le=100_000, description="Event streams open at the same time; more get 503."
    )
    heartbeat_interval_s: float = Field(
        15.0, gt=0, le=300, description="Seconds of silence after which an event stream is pinged."
    )
    shutdown_timeout_s: float = Field(
        5.0,
        gt=0,
        le=300,
        description="Seconds that open requests get to end at shutdown, and after them once more "
        "the partitions to settle and save what they hold: a stop may take twice as long.",
    )
    snapshots: Annotated[str, AfterValidator(_place)] | None = Field(
        None,
        description="Where snapshots are kept: a directory, or s3://bucket/prefix of an "
        "S3-compatible store; each log has a folder of its own there. Unset: `snapshots` in the "
        "data directory. With Kafka, every worker must see the same place. Credentials and "
        "endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, "
        "AWS_ENDPOINT_URL.",
    )
    kafka_bootstrap: str | None = Field(
        None,
        min_length=1,
        description="host:port,… of Kafka brokers; records, results and streams then live in "
        "topics, and workers share the partitions. Unset: the log is a file in the data directory.",
    )
    kafka_application: str = Field(
        "rcf",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="Name of the consumer group, and beginning of transactional ids and of the "
        "control topic's name. Workers of one application share its streams.",
    )
    kafka_replication: int = Field(
        0,
        ge=0,
        le=100,
        description="Copies of each topic made here; 0 means three, or as many as there are "
        "brokers.",
    )
    kafka_session_s: float = Field(
        10.0,
        ge=1,
        le=300,
        description="Seconds of silence after which another worker takes a worker's partitions "
        "over.",
    )
    kafka_commit_interval_s: float = Field(
        0.1,
        ge=0,
        le=10,
        description="Seconds between the transactions of a partition, unless more records wait "
        "than fit into one; the first after a rest begins at once.",
    )
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to the brokers."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="How to prove a user name and a password."
    )
    kafka_username: str | None = Field(None, description="User name for SASL.")
    kafka_password: SecretStr | None = Field(
        None, description="Password for SASL. Better kept in a file."
    )
    kafka_password_file: Path | None = Field(
        None, description="File whose first line is the password for SASL."
    )
    kafka_ca_file: Path | None = Field(
        None, description="PEM file of authorities to believe. Unset: those of the system."
    )
    kafka_cert_file: Path | None = Field(
        None, description="PEM file of our own certificate, where brokers ask for one."
    )
    kafka_key_file: Path | None = Field(None, description="PEM file of the certificate's key.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description="Least severe log line that is written. Unset, `rcf dev` writes warnings only.",
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Log lines for people, or one JSON object per line."
    )

    def other_hosts(self) -> tuple[str, ...]:
        """The names in `allowed_hosts`."""
        return () if self.allowed_hosts is None else tuple(self.allowed_hosts.split(","))

    def for_command(self, *, dev: bool) -> "Settings":
        """The same settings with unset choices fallen as for `rcf dev` or `rcf serve`."""
        unset = {name: dev for name in ("auto_create", "demo") if getattr(self, name) is None}
        return self.model_copy(update=unset)

    def password(self) -> str | None:
        """The password for SASL, from where it is kept.

        Raises:
            SettingsError: Its file cannot be read.
        """
        return self._secret("kafka_password")

    def shown_token(self) -> str | None:
        """What requests must show, from where it is kept; None where they need not.

        Raises:
            SettingsError: Its file cannot be read, or no header can hold it.
        """
        found = self._secret("token")
        if found is not None and not _VISIBLE.fullmatch(found):
            name = f"{PREFIX}TOKEN" if self.token_file is None else f"{PREFIX}TOKEN_FILE"
            allowed = "letters, digits and signs of ASCII, at least one, and no blank"
            raise SettingsError(f"{name}: must be {allowed}")
        return found

    def _secret(self, name: str) -> str | None:
        kept: SecretStr | None = getattr(self, name)
        file: Path | None = getattr(self, f"{name}_file")
        if file is None:
            return None if kept is None else kept.get_secret_value()
        try:
            return file.read_text("utf-8").partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise SettingsError(f"{PREFIX}{name.upper()}_FILE = {file}: {reason}") from error


class SettingsError(Exception):
    """A setting has a value outside its range; the message names it and what is allowed."""


def load(**flags: object) -> Settings:
    """Read the settings; a flag that is not None wins over its environment variable.

    Raises:
        SettingsError: A value is malformed or out of range.
    """
    given: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    try:
        found = Settings(**given)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error
    _check_security(found)
    return found


def _check_security(chosen: Settings) -> None:
    """Refuse what would be left out silently, or fail at the first connection.

    Raises:
        SettingsError: Names the setting that is missing or has no use.
    """
    protocol = chosen.kafka_security
    uses = {
        "SASL": ("kafka_username", "kafka_password", "kafka_password_file"),
        "SSL": ("kafka_ca_file", "kafka_cert_file", "kafka_key_file"),
    }
    for part, names in uses.items():
        for name in names:
            if part not in protocol.split("_") and getattr(chosen, name) is not None:
                raise SettingsError(
                    f"{PREFIX}{name.upper()} has no use with {PREFIX}KAFKA_SECURITY = {protocol}; "
                    f"allowed beside it: {' or '.join(_protocols_with(part))}"
                )
    if chosen.kafka_key_file is not None and chosen.kafka_cert_file is None:
        raise SettingsError(f"{PREFIX}KAFKA_KEY_FILE needs {PREFIX}KAFKA_CERT_FILE beside it")
    secrets = (chosen.kafka_password, chosen.kafka_password_file)
    for name in ("kafka_password", "token"):
        if getattr(chosen, name) is not None and getattr(chosen, f"{name}_file") is not None:
            shown = f"{PREFIX}{name.upper()}"
            raise SettingsError(f"{shown} and {shown}_FILE are both set; allowed: one")
    if protocol.startswith("SASL") and (chosen.kafka_username is None or secrets.count(None) == 2):
        raise SettingsError(
            f"{PREFIX}KAFKA_SECURITY = {protocol} needs {PREFIX}KAFKA_USERNAME and "
            f"{PREFIX}KAFKA_PASSWORD_FILE (or {PREFIX}KAFKA_PASSWORD)"
        )


def _protocols_with(part: str) -> list[str]:
    known = get_args(Settings.model_fields["kafka_security"].annotation)
    return [name for name in known if part in name.split("_")]


def _explain(error: ValidationError) -> str:
    lines = []
    for detail in error.errors():
        name = str(detail["loc"][0]) if detail["loc"] else "settings"
        message = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        flag = f" (--{name.replace('_', '-')})" if name in FLAGS else ""
        described = Settings.model_fields[name].description if name in Settings.model_fields else ""
        lines.append(
            f"{PREFIX}{name.upper()}{flag} = {_shown(detail['input'])}: "
            f"must be {message}. {described}"
        )
    return "\n".join(lines)


def _shown(value: object) -> str:
    """A value as an error may show it: not with the credentials of a URL."""
    return _CREDENTIALS.sub(lambda found: "://…@" if "@" in found[0] else "://…", repr(value))


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting as documentation shows it."""

    variable: str
    kind: str
    default: str
    description: str


def table() -> Iterator[SettingRow]:
    """Every setting in the order of the model."""
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default is None else str(field.default)
        yield SettingRow(
            f"{PREFIX}{name.upper()}",
            _kind(field.annotation, field.metadata),
            default,
            field.description or "",
        )


def _kind(annotation: Any, metadata: list[Any]) -> str:
    names = {str: "text", SecretStr: "text", int: "integer", float: "number", Path: "path"}
    parts = (annotation, *(getattr(part, "__origin__", part) for part in get_args(annotation)))
    kinds = {kind for kind in parts if kind in names}
    if "Literal" in str(annotation):
        return " or ".join(annotation.__args__)
    if len(kinds) == 1:
        limits = [_limit(rule) for rule in metadata]
        return " ".join([names[kinds.pop()], *(limit for limit in limits if limit)])
    return "true or false"


def _limit(rule: Any) -> str:
    for attribute, symbol in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤")):
        if hasattr(rule, attribute):
            return f"{symbol} {getattr(rule, attribute)}"
    return ""
