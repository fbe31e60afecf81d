"""One message of each kind, as documents show them."""

from __future__ import annotations

from typing import Any

import msgspec

from service.engine.config import StreamConfig, model_digest
from service.engine.incidents import IncidentEvent, InvolvedFeature, InvolvedSeries
from service.engine.outcome import FeatureReason, Outcome
from service.messages.headers import (
    ANOMALY,
    CE_ID,
    CE_SOURCE,
    CE_SPECVERSION,
    CE_TYPE,
    CONTENT_TYPE,
    ERROR_CLASS,
    ERROR_FIELD,
    ERROR_MESSAGE,
    ERROR_OFFSET,
    ERROR_PARTITION,
    ERROR_TOPIC,
    INCIDENT_TYPE,
    JSON,
    RESULT_TYPE,
    SPECVERSION,
)

CONFIG = StreamConfig(name="rooms", features=("celsius",))
RECORD: dict[str, Any] = {
    "values": [21.5],
    "key": "room-1",
    "timestamp": "2026-01-31T12:00:00Z",
}
RESULT: dict[str, Any] = msgspec.to_builtins(
    Outcome(
        stream=CONFIG.name,
        key="room-1",
        partition=0,
        offset=4711,
        timestamp="2026-01-31T12:00:00.000Z",
        values=[21.5],
        status="scored",
        score=4.2,
        threshold=2.5,
        grade=0.75,
        confidence=0.9991,
        anomaly=True,
        model=model_digest(CONFIG),
        attribution=[FeatureReason("celsius", 30.1, 1.3, "high", 28.8, 0)],
    )
)
RESULT_HEADERS = {
    CE_ID: "rooms/0/4711",
    CE_SPECVERSION: SPECVERSION,
    CE_TYPE: RESULT_TYPE,
    CE_SOURCE: "/streams/rooms",
    CONTENT_TYPE: JSON,
    ANOMALY: "true",
}
INCIDENT: dict[str, Any] = msgspec.to_builtins(
    IncidentEvent(
        incident="rooms/0/4711",
        event="open",
        because="anomaly",
        number=1,
        stream=CONFIG.name,
        partition=0,
        offset=4711,
        timestamp="2026-01-31T12:00:00.000Z",
        started="2026-01-31T12:00:00.000Z",
        last="2026-01-31T12:00:00.000Z",
        severity=0.56,
        anomalies=1,
        series_count=1,
        series=[
            InvolvedSeries(
                "room-1", 0.56, 1, "2026-01-31T12:00:00.000Z", "2026-01-31T12:00:00.000Z"
            )
        ],
        features=[InvolvedFeature("celsius", 1.0)],
    )
)
INCIDENT_HEADERS = {
    CE_ID: "rooms/0/4711#1",
    CE_SPECVERSION: SPECVERSION,
    CE_TYPE: INCIDENT_TYPE,
    CE_SOURCE: "/streams/rooms",
    CONTENT_TYPE: JSON,
}
DEAD_LETTER_HEADERS = {
    ERROR_TOPIC: "rooms",
    ERROR_PARTITION: "0",
    ERROR_OFFSET: "4712",
    ERROR_CLASS: "InvalidRecord",
    ERROR_MESSAGE: "not a finite number",
    ERROR_FIELD: "values.celsius",
}
