"""`rcf replay`: one record scored again from the snapshot before it. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from service import opening
from service.cli.errors import FAILED, OK
from service.cli.lines import HEAD, line, parsed, short
from service.cli.looking import choose, entry_of, looking, position, run
from service.engine.records import StreamPartition
from service.engine.replay import Replayed, differences
from service.settings import Settings

PREVIEW = 300
"""Characters of a record's value that are shown."""


def replay(
    stream: str,
    at: str,
    *,
    say: Callable[[str], None],
    as_json: bool,
    data_dir: Path | None,
    kafka_bootstrap: str | None,
    snapshots: str | None,
) -> int:
    """Replay and print; return the exit code, FAILED when the result differs.

    Raises:
        CommandError: It cannot be replayed; says why.
    """
    chosen = choose(data_dir=data_dir, kafka_bootstrap=kafka_bootstrap, snapshots=snapshots)
    found = run(_replay(chosen, stream, at))
    say(json.dumps(_facts(found)) if as_json else _words(found))
    return FAILED if found.identical is False else OK


async def _replay(chosen: Settings, stream: str, at: str) -> Replayed:
    async with looking(chosen) as view:
        partition, offset = position(at, await entry_of(view, stream))
        replayer = opening.replayer(chosen, view)
        return await replayer.replay(StreamPartition(stream, partition), offset)


def _words(found: Replayed) -> str:
    result = parsed(found.result)
    before = [line(parsed(each)) for each in found.before]
    return "\n".join(
        [
            _beginning(found),
            *(f"passed over: {reason}" for reason in found.passed_over),
            f"the record: key {found.record.key!r}, value {_preview(found)}",
            f"what was judged: {result['values']}",
            "",
            HEAD,
            *before,
            line(result) + "   <- this one",
            "",
            _verdict(found),
        ]
    )


def _beginning(found: Replayed) -> str:
    if found.pointer is None:
        start = "the stream's beginning"
    else:
        start = f"snapshot {found.pointer.manifest}"
    made = f", made by {found.fingerprint}" if found.pointer is not None else ""
    return (
        f"replayed {found.partition} from {start} at offset {found.begin}{made}: "
        f"{found.repeated} records"
    )


def _verdict(found: Replayed) -> str:
    if found.published is None:
        why = "is kept no longer" if found.settled else "is not committed yet"
        return f"not compared: the published result {why}"
    if found.identical:
        return "identical: the published result has the same bits"
    lines = [
        f"  {name}: published {published!r}, replayed {replayed!r}"
        for name, (published, replayed) in differences(found.published, found.result).items()
    ]
    return "\n".join(["DIFFERENT from the published result:", *lines, _possible_reason(found)])


def _possible_reason(found: Replayed) -> str:
    here = opening.fingerprint()
    if found.fingerprint != here:
        return f"the snapshot was made by {found.fingerprint}; this is {here}: the last digit may"
    return "the same state and records must give the same bits: this is a defect, or altered data"


def _preview(found: Replayed) -> str:
    return short(found.record.value.decode("utf-8", "backslashreplace"), PREVIEW)


def _facts(found: Replayed) -> dict[str, object]:
    pointer = found.pointer
    return {
        "stream": found.partition.stream,
        "partition": found.partition.partition,
        "offset": found.record.offset,
        "key": found.record.key,
        "value": found.record.value.decode("utf-8", "backslashreplace"),
        "snapshot": None if pointer is None else pointer.manifest,
        "begin": found.begin,
        "repeated": found.repeated,
        "passed_over": list(found.passed_over),
        "result": parsed(found.result),
        "published": None if found.published is None else parsed(found.published),
        "identical": found.identical,
        "before": [parsed(each) for each in found.before],
    }
