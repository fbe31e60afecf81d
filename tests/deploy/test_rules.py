"""Recording rules and alerts: checked by Prometheus' own tool, each alert tried, each explained."""

import re
import subprocess

import pytest
import yaml
from prometheus_client import CollectorRegistry

from service.adapters.prometheus import PrometheusMetrics
from service.engine.records import StreamPartition
from tests.deploy.files import DEPLOY, PROMETHEUS, RULE_TESTS, RULES, SELECTOR, alerts, rules
from tests.left_out import need_prometheus


def promtool(*arguments, allowed=(0,), **options):
    need_prometheus()
    done = subprocess.run(
        ["promtool", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **options,
    )
    said = done.stdout + done.stderr
    assert done.returncode in allowed, said
    return said


def exposed():
    """The metrics of a worker to which something has happened."""
    metrics = PrometheusMetrics(CollectorRegistry(), lambda: 0.0)
    partition = StreamPartition("s", 0)
    metrics.lag(partition, 1)
    metrics.requested("/v1/streams", "GET", 200)
    metrics.processed(
        partition, records=1, scored=1, anomalous=0, dead=0, anomaly=None, dead_letter=None
    )
    return metrics.text()[0].decode()


def test_the_rules_are_sound():
    promtool("check", "rules", *RULES)
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


def complaints(text):
    """What promtool objects to in our metrics; those of the process have names of their own."""
    said = promtool("check", "metrics", allowed=(0, 3), input=text)
    return [line for line in said.splitlines() if line.startswith("rcf_")]


def test_the_metrics_follow_prometheus_conventions():
    assert complaints(exposed()) == []


def test_a_metric_against_the_conventions_is_seen():
    assert complaints("# TYPE rcf_wait_ms gauge\nrcf_wait_ms 1\n")


def test_each_alert_fires_when_it_should_and_not_before():
    promtool("test", "rules", RULE_TESTS)


def test_each_alert_is_tried():
    tests = yaml.safe_load(RULE_TESTS.read_text("utf-8"))["tests"]
    assert [test["name"] for test in tests] == [alert["alert"] for alert in alerts()]
    for test in tests:
        silent, firing = test["alert_rule_test"]
        assert silent["exp_alerts"] == [] and len(firing["exp_alerts"]) == 1
        assert {silent["alertname"], firing["alertname"]} == {test["name"]}


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_each_alert_says_what_is_wrong_and_what_to_do(alert):
    assert alert["labels"]["severity"] in ("page", "ticket", "notice")
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook"}
    assert all(note.endswith(".") for note in (notes["summary"], notes["description"]))
    file, _, anchor = notes["runbook"].partition("#")
    chapters = re.findall(r"^## (\w+)$", (DEPLOY / file).read_text("utf-8"), re.M)
    assert alert["alert"] in chapters and anchor == alert["alert"].lower()


def test_the_runbook_has_a_chapter_for_each_alert_and_no_other():
    text = (DEPLOY / "RUNBOOK.md").read_text("utf-8")
    assert re.findall(r"^## (\w+)$", text, re.M) == [alert["alert"] for alert in alerts()]


def test_rules_name_only_metrics_that_there_are():
    there = set(re.findall(r"^(\w+)", exposed(), re.M)) | {rule.get("record") for rule in rules()}
    there |= {"up"}
    for rule in rules():
        named = {match[1] for match in SELECTOR.finditer(rule["expr"])}
        assert named and named <= there, (rule, named - there)
