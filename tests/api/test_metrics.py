"""Metrics: the rules of `promtool check metrics` restated, and what the engine's reports become."""

import asyncio
import re
from importlib.metadata import version

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from service.adapters.prometheus import EXEMPLAR_CHARACTERS, PrometheusMetrics
from service.api.context import Context
from service.api.counting import Counting
from service.engine.records import DeadLetter, Result, StreamPartition
from service.engine.series import MAX_KEY
from tests.api.test_records import post

BASE_UNITS = ("seconds", "bytes", "records", "ratio")
FOREIGN_UNITS = ("_ms", "_milliseconds", "_minutes", "_kb", "_mb", "_percent", "_micros")
ALLOWED_LABELS = {"partition", "error", "outcome", "le", "route", "method", "status", "version"}
INFORMATION = {"rcf_build_info"}
"""What is told by a label, beside the constant 1, as Prometheus tells of itself."""


def families(metrics):
    text, _ = metrics.text()
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def value(metrics, name, **labels):
    text, _ = metrics.text()
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def processed(metrics, partition, *, anomaly=None, **counts):
    metrics.processed(partition, **counts, anomaly=anomaly, dead_letter=None)


@pytest.fixture
def metrics():
    return PrometheusMetrics(CollectorRegistry(), lambda: 100.0)


def test_names_units_and_help(metrics):
    metrics.failed(StreamPartition("s", 0), "StateLost", for_good=True)
    for name, family in families(metrics).items():
        if name.startswith("process_"):
            continue
        assert re.fullmatch(r"rcf_[a-z][a-z0-9_]*", name)
        assert family.documentation.endswith(".")
        assert not any(unit in name for unit in FOREIGN_UNITS)
        assert not name.endswith(("_total_total", "_count", "_sum", "_bucket", "_created"))
        assert name.endswith("_info") == (name in INFORMATION)
        if family.type == "histogram":
            assert name.endswith(BASE_UNITS)
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert set(sample.labels) <= ALLOWED_LABELS
            assert not sample.name.endswith("_created")


def test_reports_become_numbers(metrics):
    a, b = StreamPartition("a", 0), StreamPartition("b", 0)
    metrics.appended(10, 500, 0.01)
    metrics.refused(3)
    metrics.taken(a)
    metrics.taken(b)
    metrics.rebalanced()
    processed(metrics, a, records=10, scored=8, anomalous=2, dead=1)
    processed(metrics, b, records=5, scored=5, anomalous=0, dead=0)
    metrics.transacted("committed")
    metrics.transacted("unknown")
    metrics.answered(0.02)
    metrics.timed(batch_s=0.02, score_s=0.01, commit_s=0.005)
    metrics.lag(a, 7)
    metrics.lag(b, 5)
    metrics.series(a, 100)
    metrics.series(b, 11)
    metrics.snapshot_written(a, size=1000, series=100, seconds=0.1)
    metrics.snapshot_failed(b)
    metrics.restored(a, replayed=9, seconds=0.1)
    metrics.compiled(1.5)
    metrics.started(2.5)
    expected = {
        "rcf_records_in_total": 10,
        "rcf_bytes_in_total": 500,
        "rcf_records_refused_total": 3,
        "rcf_series": 111,
        "rcf_snapshot_bytes": 1000,
        "rcf_snapshot_age_seconds": 0,
        "rcf_records_replayed_total": 9,
        "rcf_jit_seconds": 1.5,
        "rcf_start_seconds": 2.5,
        "rcf_batch_seconds_count": 1,
        "rcf_answer_seconds_count": 1,
        "rcf_partitions": 2,
        "rcf_rebalances_total": 1,
        "rcf_snapshot_failures_total": 1,
    }
    assert {name: value(metrics, name) for name in expected} == expected
    of_partition = {
        "rcf_records_processed_total": 15,
        "rcf_records_scored_total": 13,
        "rcf_records_anomalous_total": 2,
        "rcf_records_dead_total": 1,
        "rcf_consumer_lag_records": 12,
    }
    assert {name: value(metrics, name, partition="0") for name in of_partition} == of_partition
    outcomes = {"committed": 1, "unknown": 1, "fenced": 0}
    for outcome, count in outcomes.items():
        assert value(metrics, "rcf_transactions_total", outcome=outcome) == count


def test_a_partition_let_go_counts_no_more():
    now_s = [100.0]
    metrics = PrometheusMetrics(CollectorRegistry(), lambda: now_s[0])
    partition = StreamPartition("a", 1)
    metrics.taken(partition)
    metrics.lag(partition, 7)
    metrics.series(partition, 4)
    metrics.halted(partition, True)
    metrics.failed(partition, "StateLost", for_good=True)
    metrics.snapshot_written(partition, size=1000, series=4, seconds=0.1)
    now_s[0] = 160.0
    assert value(metrics, "rcf_snapshot_age_seconds") == 60
    assert value(metrics, "rcf_partitions_failed") == 1
    metrics.released(partition)
    assert value(metrics, "rcf_consumer_lag_records", partition="1") == 0
    gauges = ("series", "partitions", "snapshot_bytes", "snapshot_age_seconds")
    gauges += ("partitions_halted", "partitions_failed")
    assert {name: value(metrics, f"rcf_{name}") for name in gauges} == dict.fromkeys(gauges, 0)


OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def exemplars(metrics, name):
    text, kind = metrics.text(OPEN_METRICS)
    assert kind.startswith("application/openmetrics-text")
    return [
        sample.exemplar.labels
        for family in openmetrics.text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == name and sample.exemplar
    ]


def test_exemplars_say_which_series(metrics):
    partition = StreamPartition("pumps", 2)
    anomaly = Result(41, 0, "pump-7", True, b"{}")
    letter = DeadLetter(42, 0, None, b"?", "values", "no number")
    counts = {"records": 9, "scored": 8, "anomalous": 1, "dead": 1}
    metrics.processed(partition, **counts, anomaly=anomaly, dead_letter=letter)
    counts = {"records": 9, "scored": 9, "anomalous": 0, "dead": 0}
    metrics.processed(partition, **counts, anomaly=None, dead_letter=None)
    place = {"stream": "pumps", "partition": "2"}
    assert exemplars(metrics, "rcf_records_anomalous_total") == [
        place | {"series": "pump-7", "offset": "41"}
    ]
    assert exemplars(metrics, "rcf_records_dead_total") == [place | {"series": "", "offset": "42"}]


def test_long_names_fit_into_an_exemplar(metrics):
    partition = StreamPartition("s" * 249, 255)
    anomaly = Result(2**62, 0, "k" * MAX_KEY, True, b"{}")
    processed(metrics, partition, records=1, scored=1, anomalous=1, dead=0, anomaly=anomaly)
    (labels,) = exemplars(metrics, "rcf_records_anomalous_total")
    assert sum(map(len, (*labels, *labels.values()))) == EXEMPLAR_CHARACTERS
    assert labels["stream"].endswith("s…") and labels["series"].endswith("k…")


def test_the_number_of_series_grows_with_partitions_not_with_streams(metrics):
    for index in range(50):
        partition = StreamPartition(f"stream-{index}", index % 2)
        metrics.lag(partition, index)
        processed(metrics, partition, records=1, scored=1, anomalous=0, dead=0)
    assert len(families(metrics)["rcf_consumer_lag_records"].samples) == 2


def test_the_endpoint_counts_what_was_posted(client, server, stream):
    before = value(server.metrics, "rcf_records_in_total")
    post(client, stream, {"records": [{"values": [1]}] * 7})
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert f"rcf_records_in_total {before + 7}" in answer.text


def test_requests_are_counted_by_route_not_by_path(client, server, stream):
    def count(route, method, status):
        labels = {"route": route, "method": method, "status": str(status)}
        return value(server.metrics, "rcf_http_requests_total", **labels) or 0

    of_stream = "/v1/streams/{stream}"
    answers = [
        ("PUT", f"/v1/streams/{stream}", (of_stream, "PUT", 201)),
        ("GET", f"/v1/streams/{stream}", (of_stream, "GET", 200)),
        ("HEAD", f"/v1/streams/{stream}", (of_stream, "GET", 200)),
        ("GET", "/v1/streams/nowhere", (of_stream, "GET", 404)),
        ("PATCH", f"/v1/streams/{stream}", (of_stream, "PATCH", 405)),
        ("PROPFIND", f"/v1/streams/{stream}", (of_stream, "other", 405)),
        ("GET", "/v1/streams?page=2", ("/v1/streams", "GET", 422)),
        ("GET", f"/nowhere/{stream}", ("other", "GET", 404)),
        ("GET", "/page/live.js", ("/page/{path:path}", "GET", 200)),
    ]
    for method, path, labels in answers:
        before = count(*labels)
        assert client.request(method, path).status_code == labels[2]
        assert count(*labels) == before + 1
    refused = ("other", "DELETE", 403)
    before = count(*refused)
    client.delete(f"/v1/streams/{stream}", headers={"Origin": "https://evil.example"})
    assert count(*refused) == before + 1


def test_what_nobody_caught_counts_as_500():
    async def broken(scope, receive, send):
        raise ZeroDivisionError

    counted = []
    context = Context(count_request=lambda *answer: counted.append(answer))
    scope = {"type": "http", "method": "GET"}
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Counting(broken, context)(scope, None, None))
    assert counted == [("other", "GET", 500)]


def test_the_version_is_told(metrics):
    assert value(metrics, "rcf_build_info", version=version("rcf-stream")) == 1
