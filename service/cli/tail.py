"""`rcf tail`: results as they are committed, from Kafka's topics or a running service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from service import opening
from service.cli import http
from service.cli.lines import HEAD, line, parsed, series_of
from service.cli.looking import choose, entry_of, opened, run
from service.cli.serve import url as address
from service.engine.outcome import incident_events
from service.settings import Settings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which results are shown, and how.

    Attributes:
        series: of this key alone.
        limit: so many results, then the end; None for ever.
        as_json: as they were published, one a line.
    """

    stream: str
    anomalies: bool = False
    from_beginning: bool = False
    series: str | None = None
    limit: int | None = None
    as_json: bool = False


def tail(
    wanted: Wanted, *, say: Say, warn: Say, url: str | None, kafka_bootstrap: str | None
) -> None:
    """Print results until there were enough, or for ever.

    Raises:
        CommandError: Neither brokers nor a service answer, or there is no such stream.
    """
    chosen = choose(kafka_bootstrap=kafka_bootstrap if url is None else None)
    shown = _Shown(wanted, say)
    if url is None and chosen.kafka_bootstrap is not None:
        run(_from_kafka(chosen, wanted, shown))
        return
    results = http.follow(
        service_at(url),
        wanted.stream,
        anomalies=wanted.anomalies,
        from_beginning=wanted.from_beginning,
        warn=warn,
    )
    for result in results:
        if shown.take(result):
            return


def service_at(url: str | None) -> str:
    """The address given, or the one that RCF_HOST and RCF_PORT say."""
    chosen = choose()
    return address(chosen.host, chosen.port) if url is None else url


class _Shown:
    """Prints what is wanted, and counts it."""

    def __init__(self, wanted: Wanted, say: Say) -> None:
        self._wanted = wanted
        self._say = say
        self._count = 0

    def take(self, value: bytes) -> bool:
        """Print a result if it is wanted; tell whether that was the last one."""
        wanted, result = self._wanted, parsed(value)
        incident = "incident" in result
        if wanted.series is not None and wanted.series not in series_of(result):
            return False
        if incident and wanted.as_json and not wanted.anomalies:
            return False  # it stands inside of the result before it
        if wanted.as_json:
            self._say(value.decode())
        else:
            if self._count == 0:
                self._say(HEAD)
            self._say(line(result))
        self._count += not incident
        return self._count == wanted.limit


async def _from_kafka(chosen: Settings, wanted: Wanted, shown: _Shown) -> None:
    view = opening.kafka_view(chosen)
    try:
        await opened(view, chosen)
        await entry_of(view, wanted.stream)
        results = view.follow(
            wanted.stream, anomalies=wanted.anomalies, from_beginning=wanted.from_beginning
        )
        async with aclosing(results):
            async for result in results:
                # The topic of anomalies holds incidents beside them, that of scores inside.
                inside = [] if wanted.anomalies else incident_events(result)
                if any(shown.take(value) for value in (result, *inside)):
                    return
    finally:
        await asyncio.shield(view.close())
