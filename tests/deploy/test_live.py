"""Every panel and every alert on a real Prometheus that scrapes real workers under load."""

import math
import re

import pytest

from tests.deploy import live
from tests.deploy.files import DASHBOARDS, SELECTOR, alerts, dashboard, queries, rules
from tests.deploy.test_rules import complaints
from tests.kafka.broker import free_ports
from tests.left_out import need_prometheus

BOARDS = [dashboard(path) for path in DASHBOARDS]
VARIABLES = {"$job": "rcf", "$instance": ".+", "$__rate_interval": "1m", "$__range": "1m"}


def without_variables(expression):
    """PromQL as a dashboard would send it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def without_data(answers, named):
    """Those of (name, PromQL) for which Prometheus has no number."""
    return [name for name, text in named if not any(map(math.isfinite, answers.values(text)))]


@pytest.mark.slow
def test_every_panel_and_alert_has_data(kafka, tmp_path):
    need_prometheus()
    stream, ports = f"s-{kafka.application}", free_ports(2)
    with (
        live.worker(kafka, "worker-1", ports[0], tmp_path) as one,
        live.worker(kafka, "demo", ports[1], tmp_path) as demo,
    ):
        live.until_answers(one, "/readyz")
        live.until_answers(demo, "/readyz")
        targets = [f"127.0.0.1:{port}" for port in ports]
        with live.prometheus(tmp_path, targets) as client:
            live.until_answers(client, "/-/ready")
            answers = live.Answers(client)
            live.until_scraped(answers, len(targets))
            live.load(one, stream)
            look_at_figures(answers)
            look_at_panels(answers)
            look_at_rules(answers)
            look_at_the_rest(answers, stream)
        assert complaints(one.get("/metrics").text) == []


#: What has happened under the load, and must not be 0.
HAPPENED = (
    "rcf_records_in_total",
    "rcf_records_anomalous_total",
    "rcf_records_dead_total",
    "rcf_answer_seconds_count",
    "rcf_partitions",
    "rcf_rebalances_total",
    'rcf_transactions_total{outcome="committed"}',
    "rcf_snapshot_seconds_count",
    "rcf_restore_seconds_count",
    "rcf_series",
)


def look_at_figures(answers):
    assert [name for name in HAPPENED if answers.values(f"sum({name}) > 0") == []] == []


def look_at_panels(answers):
    panels = [
        (where, without_variables(text)) for board in BOARDS for where, text in queries(board)
    ]
    assert len(panels) > 40 and without_data(answers, panels) == []


def look_at_rules(answers):
    records = [(rule["record"], rule["record"]) for rule in rules() if "record" in rule]
    assert len(records) > 5 and without_data(answers, records) == []
    for alert in alerts():
        answers.values(alert["expr"])  # as a whole it is silent, if all is well
        parts = [metric + matchers for metric, matchers, _ in SELECTOR.findall(alert["expr"])]
        assert parts and without_data(answers, zip(parts, parts, strict=True)) == []
    assert {rule["health"] for rule in answers.rules()} == {"ok"}


def look_at_the_rest(answers, stream):
    """Variables, annotations, and the series that exemplars name."""
    for board in BOARDS:
        for variable in board["templating"]["list"][1:]:
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
            assert answers.labels(without_variables(found[1]), found[2]), variable["name"]
        for note in board["annotations"]["list"]:
            answers.values(without_variables(note["expr"]))
    found = answers.exemplars("rcf_records_anomalous_total")
    assert any(each["stream"] == stream and each["series"].startswith("series-") for each in found)
