"""`rcf dev` and `rcf serve`: settings, socket, server, and the words on the terminal."""

import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import typer

from service import logs, settings, wiring
from service.cli.errors import OK, USAGE, CommandError
from service.engine.errors import DataDirectoryInUse, EngineError, SnapshotsRefused
from service.settings import Settings, SettingsError


def run(
    *,
    dev: bool,
    host: str | None = None,
    port: int | None = None,
    data_dir: Path | None = None,
    log_level: str | None = None,
    auto_create: bool | None = None,
    demo: bool | None = None,
    kafka_bootstrap: str | None = None,
    snapshots: str | None = None,
) -> None:
    """Serve until the process is told to stop.

    Args:
        dev: Whether unset choices fall as for `rcf dev`.
        host: Flag; None, here and below, leaves the environment or the default.
        port: Flag.
        data_dir: Flag.
        log_level: Flag.
        auto_create: Flag.
        demo: Flag.
        kafka_bootstrap: Flag.
        snapshots: Flag.

    Raises:
        CommandError: A setting is wrong, the port or the data directory is taken, the store of
            snapshots does not answer, or the start failed.
    """
    try:
        chosen = settings.load(
            host=host,
            port=port,
            data_dir=data_dir,
            log_level=log_level,
            auto_create=auto_create,
            demo=demo,
            kafka_bootstrap=kafka_bootstrap,
            snapshots=snapshots,
        )
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from error
    chosen = chosen.for_command(dev=dev)
    logs.configure(_level(chosen, dev), chosen.log_format)
    _prepare(chosen.data_dir)
    listening = listen(chosen.host, chosen.port)
    address = url(chosen.host, listening.getsockname()[1])
    typer.echo(f"rcf-stream starts on {address}, {_places(chosen)}")
    try:
        was_ready = wiring.serve(
            chosen, listening, on_phase=_say, on_ready=lambda s: _welcome(address, s, chosen)
        )
    except DataDirectoryInUse as error:
        raise CommandError(f"{error} (--data-dir or RCF_DATA_DIR)") from error
    except SnapshotsRefused as error:
        raise CommandError(f"{error} (--snapshots or RCF_SNAPSHOTS)") from error
    except (EngineError, SettingsError) as error:
        raise CommandError(f"the start failed: {error}") from error
    if not was_ready:
        _leave("stopped before it was ready")
    typer.echo("stopped; everything accepted is kept")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        CommandError: The address is taken, unknown or not permitted; says what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise CommandError(
            f"cannot listen on {host}:{port}: {error.strerror}; another process may use the port: "
            "stop it, or choose another with --port or RCF_PORT (0 takes a free one)"
        ) from error
    return listening


def url(host: str, port: int) -> str:
    """The address to type into a browser on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104  a comparison
    return f"http://[{shown}]:{port}" if ":" in shown.strip("[]") else f"http://{shown}:{port}"


def _level(chosen: Settings, dev: bool) -> str:
    """A terminal that shows the welcome has no use for every start and stop of a partition."""
    if dev and "log_level" not in chosen.model_fields_set:
        return "warning"
    return chosen.log_level


def _places(chosen: Settings) -> str:
    """Where records and snapshots are kept."""
    data_dir = str(chosen.data_dir.resolve())
    if not chosen.kafka_bootstrap:
        return f"data in {data_dir}" + (
            f", snapshots in {chosen.snapshots}" if chosen.snapshots else ""
        )
    return f"Kafka at {chosen.kafka_bootstrap}, snapshots in {chosen.snapshots or data_dir}"


def _prepare(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):  # of no name, for workers may share the place
            pass
    except OSError as error:
        raise CommandError(
            f"cannot write to the data directory {data_dir}: {error.strerror}; "
            "choose another with --data-dir or RCF_DATA_DIR"
        ) from error


def _say(text: str) -> None:
    typer.echo(text)
    sys.stdout.flush()


def _leave(text: str) -> NoReturn:
    """End the process at once: kernels may still be compiled, which nothing interrupts."""
    _say(text)
    os._exit(OK)


def _welcome(address: str, seconds: float, chosen: Settings) -> None:
    lines = [
        f"ready after {seconds:.1f} s",
        "",
        f"  page     {address}/",
        f"  API      {address}/docs",
        f"  state    {address}/readyz   {address}/metrics",
        "",
        "Post a first record:" if chosen.auto_create else "Make a stream, then post a record:",
    ]
    if not chosen.auto_create:
        lines.append(f"  curl -X PUT {address}/v1/streams/mine -d '{{\"features\": 1}}'")
    lines.append(f"  curl {address}/v1/streams/mine/records -d '{{\"values\": [21.5]}}'")
    if chosen.demo:
        lines += [
            "Watch anomalies as they are found (the first within a minute):",
            f"  curl -N '{address}/v1/streams/demo/events?anomalies=true'",
        ]
    lines += ["", "Ctrl-C stops."]
    _say("\n".join(lines))
