"""`rcf dlq`: look at dead letters, and append them to the input once more."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from service.cli.errors import USAGE, CommandError
from service.cli.lines import short
from service.cli.looking import choose, entry_of, looking, position, run
from service.engine.ports import LogView
from service.engine.records import DeadLetter, Position, StreamEntry, StreamPartition
from service.engine.times import format_ms
from service.settings import Settings

CHUNK = 1000
"""Dead letters read and appended at once."""

Letters = dict[Position, DeadLetter]
Say = Callable[[str], None]


def show(
    stream: str,
    *,
    say: Say,
    as_json: bool,
    limit: int,
    data_dir: Path | None,
    kafka_bootstrap: str | None,
) -> None:
    """Print a stream's dead letters, the oldest first.

    Raises:
        CommandError: The log cannot be read, or has no such stream.
    """
    chosen = choose(data_dir=data_dir, kafka_bootstrap=kafka_bootstrap)
    _, letters = run(_all_of(chosen, stream))
    shown = list(letters.items())[:limit]
    if as_json:
        for place, letter in shown:
            say(json.dumps(_facts(stream, place, letter)))
        return
    _table(shown, say)
    rest = f"; {len(shown)} shown, see --limit" if len(shown) < len(letters) else ""
    say(f"{_count(len(letters))} of stream {stream}{rest}")


def requeue(
    stream: str,
    places: Sequence[str],
    *,
    everything: bool,
    say: Say,
    confirm: Callable[[str], bool] | None,
    as_json: bool,
    data_dir: Path | None,
    kafka_bootstrap: str | None,
) -> None:
    """Append dead letters to the input once more, and tell where each stands.

    Args:
        stream: Its name.
        places: PARTITION:OFFSET of each record, as `show` prints it.
        everything: All of them instead.
        say: Prints a line.
        confirm: Asks a person; None when the answer is known.
        as_json: One JSON object a line instead of words.
        data_dir: Flag.
        kafka_bootstrap: Flag.

    Raises:
        CommandError: One is no dead letter, nobody confirms, or the log cannot be written.
    """
    if everything == bool(places):
        raise CommandError("name dead letters as PARTITION:OFFSET, or --all of them", USAGE)
    chosen = choose(data_dir=data_dir, kafka_bootstrap=kafka_bootstrap)
    entry, letters = run(_all_of(chosen, stream))
    picked = letters if everything else _picked(entry, letters, places)
    if not picked:
        say(f"stream {stream} has no dead letters")
        return
    if confirm is not None:
        _table(list(picked.items()), say)
        if not confirm(f"append {_count(len(picked))} to stream {stream} once more?"):
            raise CommandError("nothing was appended")
    done: list[tuple[Position, Position]] = []
    try:
        run(_append(chosen, stream, picked, done))
    finally:
        for old, new in done:
            say(_moved(stream, old, new, as_json=as_json))
    if not as_json:
        say(
            f"{_count(len(done))} appended to stream {stream}; they stay listed as dead letters too"
        )


async def _all_of(chosen: Settings, stream: str) -> tuple[StreamEntry, Letters]:
    async with looking(chosen) as view:
        entry = await entry_of(view, stream)
        return entry, {
            Position(number, letter.offset): letter
            for number in range(entry.config.partitions)
            for letter in await _read(view, StreamPartition(stream, number))
        }


async def _read(view: LogView, partition: StreamPartition) -> list[DeadLetter]:
    return await view.read_dead_letters(partition, 0, 2**40)


def _picked(entry: StreamEntry, letters: Letters, places: Iterable[str]) -> Letters:
    stream = entry.config.name
    picked: Letters = {}
    for text in places:
        place = position(text, entry)
        if place not in letters:
            raise CommandError(
                f"{text} is no dead letter of stream {stream}; `rcf dlq list {stream}` shows them",
                USAGE,
            )
        picked[place] = letters[place]
    return picked


async def _append(
    chosen: Settings, stream: str, picked: Letters, done: list[tuple[Position, Position]]
) -> None:
    """Append what was picked; `done` grows as it goes."""
    async with looking(chosen) as view:
        for number in sorted({place.partition for place in picked}):
            places = sorted(place for place in picked if place.partition == number)
            for first in range(0, len(places), CHUNK):
                some = places[first : first + CHUNK]
                letters = [picked[place] for place in some]
                new = await view.requeue(StreamPartition(stream, number), letters)
                done.extend(zip(some, new, strict=True))


def _table(letters: Sequence[tuple[Position, DeadLetter]], say: Say) -> None:
    if letters:
        say(f"{'at':>12}  {'time':24}  {'key':16}  {'reason':50}  value")
    for place, letter in letters:
        at = f"{place.partition}:{place.offset}"
        reason = f"{letter.field or 'record'}: {letter.reason}"
        say(
            f"{at:>12}  {format_ms(letter.timestamp_ms):24}  {short(letter.key or '', 16):16}  "
            f"{short(reason, 50):50}  {short(_text(letter.value), 60)}"
        )


def _facts(stream: str, place: Position, letter: DeadLetter) -> dict[str, object]:
    return {
        "stream": stream,
        "partition": place.partition,
        "offset": place.offset,
        "timestamp": format_ms(letter.timestamp_ms),
        "key": letter.key,
        "field": letter.field,
        "reason": letter.reason,
        "value": _text(letter.value),
        "value_base64": b64encode(letter.value).decode(),
    }


def _moved(stream: str, old: Position, new: Position, *, as_json: bool) -> str:
    if as_json:
        facts = {"stream": stream, "partition": old.partition, "offset": old.offset}
        return json.dumps(facts | {"new_offset": new.offset})
    return f"{old.partition}:{old.offset} -> {new.partition}:{new.offset}"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _count(letters: int) -> str:
    return f"{letters} dead letter{'' if letters == 1 else 's'}"
