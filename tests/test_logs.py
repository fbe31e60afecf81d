"""What the log leaves out."""

from __future__ import annotations

import logging

from service.logs import Seldom


def record(name: str, at_s: float, *arguments: object) -> logging.LogRecord:
    found = logging.LogRecord(name, logging.ERROR, "", 0, "no way to %s", arguments, None)
    found.created = at_s
    return found


def test_the_kafka_client_repeats_itself_seldom_and_nobody_else_is_cut_short():
    seldom = Seldom("aiokafka", 10.0)
    said = [seldom.filter(record("aiokafka.conn", at_s, at_s)) for at_s in (1, 2, 10.9, 11, 12)]
    assert said == [True, False, False, True, False]
    assert all(seldom.filter(record("service.engine", at_s)) for at_s in (1, 1, 1))
    assert all(seldom.filter(record("aiokafkaesque", at_s)) for at_s in (1, 1))
