"""What a worker exposes after a failure, fed to the alerts: which of them fire."""

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from service.adapters.prometheus import ERRORS, PrometheusMetrics
from service.engine import errors
from tests.deploy.files import RULES
from tests.deploy.test_rules import promtool
from tests.engine.world import CONFIG, World, rows, run, until

RETRIES = 5
FOR_GOOD = [each for each in ERRORS if each not in ("TransientError", "Fenced")]


def series(name, **labels):
    """A series as a Prometheus would keep it."""
    labels = {"job": "rcf", "instance": "w1:8080"} | labels
    return name + "{" + ", ".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def exposed(metrics):
    """Series -> value, of what tells of partitions."""
    return {
        series(sample.name, **sample.labels): sample.value
        for family in text_string_to_metric_families(metrics.text()[0].decode())
        for sample in family.samples
        if sample.name.startswith("rcf_partition")
    }


def lived(error, times):
    """What a worker exposes before and after a partition fails so many times."""
    metrics = PrometheusMetrics(CollectorRegistry(), lambda: 0.0)
    world, found = World(metrics=metrics), []
    failures = series("rcf_partition_failures_total", error=type(error).__name__)

    async def failing(transaction):
        raise error

    async def body():
        world.log.commit = failing
        async with world.engine() as engine:
            await engine.create_stream(CONFIG)
            found.append(exposed(metrics))
            await engine.append(CONFIG.name, rows((1, 2)))
            await until(lambda: exposed(metrics).get(failures, 0) >= times)
            found.append(exposed(metrics))

    run(body)
    return found


def check_firing(folder, before, after, alert):
    """Let promtool find that this alert fires ten minutes later, and no other."""
    fed = [
        {"series": each, "values": f"{before.get(each, '_')}x5 {value}x20"}
        for each, value in after.items()
    ]
    fed.append({"series": series("up"), "values": "1x25"})
    firing = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": "12m",
        "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}],
    }
    test = {"interval": "1m", "input_series": fed, "promql_expr_test": [firing]}
    path = folder / "test.yml"
    whole = {"rule_files": list(map(str, RULES)), "evaluation_interval": "1m", "tests": [test]}
    path.write_text(yaml.safe_dump(whole))
    promtool("test", "rules", path)


@pytest.mark.parametrize("name", [*FOR_GOOD, "ValueError"])
def test_a_partition_that_failed_for_good_is_told_of(name, tmp_path):
    kind = getattr(errors, name, ValueError)
    error = ValueError("a defect") if kind is ValueError else kind("s", 0, 0, "broken")
    before, after = lived(error, 1)
    assert after[series("rcf_partitions_failed")] == 1
    check_firing(tmp_path, before, after, "RcfPartitionFailed")


def test_a_partition_that_tries_again_is_told_of_as_that(tmp_path):
    before, after = lived(errors.TransientError("no answer"), RETRIES)
    assert after[series("rcf_partitions_failed")] == 0
    check_firing(tmp_path, before, after, "RcfPartitionRetries")
