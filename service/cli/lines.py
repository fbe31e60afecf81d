"""Results as lines for people: the same columns wherever one is shown."""

from __future__ import annotations

import json
from typing import Any

HEAD = f"{'time':24}  {'at':>12}  {'series':20}  {'score':>9}  {'threshold':>9}  grade"


def line(result: dict[str, Any]) -> str:
    """One result, or incident, in the columns of HEAD; `at` is what `rcf replay --at` takes."""
    at = f"{result['partition']}:{result['offset']}"
    if "incident" in result:
        return f"{result['timestamp']:24}  {at:>12}  {_incident(result)}"
    numbers = f"{_number(result['score'])}  {_number(result['threshold'])}"
    said = f"{result['grade']:.2f}  ANOMALY" if result["anomaly"] else _status(result)
    return f"{result['timestamp']:24}  {at:>12}  {short(result['key'], 20):20}  {numbers}  {said}"


def series_of(result: dict[str, Any]) -> list[str]:
    """The series that a result, or an incident, speaks of."""
    if "incident" in result:
        return [each["key"] for each in result["series"]]
    return [result["key"]]


def _incident(event: dict[str, Any]) -> str:
    worst = ", ".join(short(each["key"], 20) or "(no key)" for each in event["series"][:3])
    more = event["series_count"] - len(event["series"][:3])
    others = f" and {more} more" if more > 0 else ""
    said = f"INCIDENT {event['event']} ({event['because']}) {event['incident']}"
    counted = f"{event['anomalies']} anomalous records, severity {event['severity']:.2f}"
    return f"{said}: {worst}{others}; {counted} since {event['started']}"


def parsed(value: bytes) -> dict[str, Any]:
    """A result as readers get it."""
    found: dict[str, Any] = json.loads(value)
    return found


def short(text: str, width: int) -> str:
    """The text on one line, cut where it is wider."""
    plain = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return plain if len(plain) <= width else plain[: width - 1] + "…"


def _number(value: float | None) -> str:
    return f"{'' if value is None else f'{value:.2f}':>9}"


def _status(result: dict[str, Any]) -> str:
    if result["status"] in ("scored", "imputed"):
        return f"{result['grade']:.2f}"
    error = result.get("error")
    held_back = result.get("held_back")
    if held_back:
        said = f"{result['grade']:.2f}  held back by {held_back['rule']!r}: {held_back['reason']}"
        return short(said, 120)
    said = f"{result['status']}: {error['reason']}" if error else str(result["status"])
    return short(said, 120)
