"""`rcf tail`: results as they are committed, from Kafka's topics or a running service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from service import opening
from service.cli import http
from service.cli.errors import USAGE, CommandError
from service.cli.lines import HEAD, line, parsed, series_of
from service.cli.looking import choose, entry_of, opened, run
from service.cli.serve import url as address
from service.engine.outcome import incident_events
from service.engine.records import ResultFilter
from service.settings import Settings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which results are shown, and how.

    Attributes:
        from_beginning: first everything that is kept.
        last: first the newest so many; None for none.
        series: of this key alone.
        limit: so many results, then the end; None for ever.
        as_json: as they were published, one a line.
    """

    stream: str
    anomalies: bool = False
    from_beginning: bool = False
    last: int | None = None
    series: str | None = None
    limit: int | None = None
    as_json: bool = False


def tail(
    wanted: Wanted, *, say: Say, warn: Say, url: str | None, kafka_bootstrap: str | None
) -> None:
    """Print results until there were enough, or for ever.

    Raises:
        CommandError: Neither brokers nor a service answer, there is no such stream, or more is
            wanted first than can be.
    """
    if wanted.from_beginning and wanted.last is not None:
        allowed = "not beside --from-beginning, which shows all that is kept"
        raise CommandError(f"--last = {wanted.last} is not allowed; allowed: {allowed}", USAGE)
    chosen = choose(kafka_bootstrap=kafka_bootstrap if url is None else None)
    shown = _Shown(wanted, say, warn)
    if url is None and chosen.kafka_bootstrap is not None:
        run(_from_kafka(chosen, wanted, shown))
        return
    _from_service(service_at(url), wanted, shown, warn)


def service_at(url: str | None) -> str:
    """The address given, or the one that RCF_HOST and RCF_PORT say."""
    chosen = choose()
    return address(chosen.host, chosen.port) if url is None else url


class _Shown:
    """Prints what is wanted, and counts it."""

    def __init__(self, wanted: Wanted, say: Say, warn: Say) -> None:
        self._wanted = wanted
        self._say, self._warn = say, warn
        self._count = 0

    def take_newest(self, results: Sequence[bytes], *, complete: bool) -> bool:
        """Print the newest results and what they did to incidents; see `take`."""
        if not complete and len(results) < (self._wanted.last or 0):
            self._warn(
                f"the newest offsets of each partition hold {len(results)}; those before them were "
                "not looked through"
            )
        return any(
            self.take(value) for result in results for value in (result, *incident_events(result))
        )

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


def _from_service(url: str, wanted: Wanted, shown: _Shown, warn: Say) -> None:
    after = ""
    if wanted.from_beginning:
        after = http.beginning(url, wanted.stream)
    elif wanted.last is not None:
        found = http.newest(
            url, wanted.stream, wanted.last, anomalies=wanted.anomalies, key=wanted.series
        )
        if shown.take_newest([bytes(each) for each in found.results], complete=found.complete):
            return
        after = found.next
    results = http.follow(url, wanted.stream, anomalies=wanted.anomalies, after=after, warn=warn)
    for result in results:
        if shown.take(result):
            return


async def _from_kafka(chosen: Settings, wanted: Wanted, shown: _Shown) -> None:
    view = opening.kafka_view(chosen)
    try:
        await opened(view, chosen)
        partitions = (await entry_of(view, wanted.stream)).config.partitions
        after = ""
        if wanted.from_beginning:
            after = ",".join(["0"] * partitions)
        elif wanted.last is not None:
            where = ResultFilter(wanted.series, anomalies=wanted.anomalies)
            found = await view.newest(wanted.stream, wanted.last, where)
            if shown.take_newest(found.results, complete=found.complete):
                return
            after = found.next
        results = view.follow(wanted.stream, anomalies=wanted.anomalies, after=after)
        async with aclosing(results):
            async for result in results:
                # The topic of anomalies holds incidents beside them, that of scores inside.
                inside = [] if wanted.anomalies else incident_events(result)
                if any(shown.take(value) for value in (result, *inside)):
                    return
    finally:
        await asyncio.shield(view.close())
