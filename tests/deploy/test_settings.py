"""Image, compose file and manifests set what the service has; what they leave out has a reason."""

import json
import re
import tomllib

import pytest
import typer
import yaml

from service import settings
from service.cli.app import app
from tests.deploy.files import (
    DOCKERFILE,
    MANIFESTS,
    PROMETHEUS,
    ROOT,
    compose,
    image_settings,
    manifests,
    rules,
)

#: Beside the settings: where compiled kernels are kept.
OTHERS = {"RCF_CACHE_DIR"}

ONE_BROKER = "for brokers behind TLS or passwords; the compose file's are on this machine"
TASTE = "a bound of HTTP whose default holds for most"

#: Seconds that a stop takes beside what its timeout holds for.
SPARE_S = 10

#: Settings that neither the image, nor the compose file, nor the manifests set, and why.
LEFT_OUT = {
    "RCF_ALLOWED_HOSTS": "for a service on loopback; these listen on every interface",
    "RCF_TOKEN": "a secret, which the manifest may have; the compose file's ports are on loopback",
    "RCF_TOKEN_FILE": "a secret, as above",
    "RCF_KAFKA_SECURITY": ONE_BROKER,
    "RCF_KAFKA_SASL_MECHANISM": ONE_BROKER,
    "RCF_KAFKA_USERNAME": ONE_BROKER,
    "RCF_KAFKA_PASSWORD": ONE_BROKER,
    "RCF_KAFKA_PASSWORD_FILE": ONE_BROKER,
    "RCF_KAFKA_CA_FILE": ONE_BROKER,
    "RCF_KAFKA_CERT_FILE": ONE_BROKER,
    "RCF_KAFKA_KEY_FILE": ONE_BROKER,
    "RCF_BODY_LIMIT_BYTES": TASTE,
    "RCF_BODY_LIMIT_RECORDS": TASTE,
    "RCF_RESULT_TIMEOUT_S": TASTE,
    "RCF_MAX_SUBSCRIBERS": TASTE,
    "RCF_HEARTBEAT_INTERVAL_S": TASTE,
}


def workers():
    """Name -> the compose file's services that run our image."""
    services = compose()["services"].items()
    return {name: each for name, each in services if each["image"].startswith("rcf-stream")}


def environments():
    """Where -> what is set there."""
    found = {name: each["environment"] for name, each in workers().items()}
    found["ConfigMap"] = next(each["data"] for each in manifests() if each["kind"] == "ConfigMap")
    found["image"] = image_settings()
    return found


def pod():
    """What the StatefulSet makes."""
    (found,) = [each for each in manifests() if each["kind"] == "StatefulSet"]
    return found["spec"]["template"]["spec"]


def scraped():
    """host:port of what Prometheus has in a list, and of what it looks for in DNS."""
    (job,) = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    listed = {target for each in job["static_configs"] for target in each["targets"]}
    looked_for = job["dns_sd_configs"]
    return listed, {f"{name}:{each['port']}" for each in looked_for for name in each["names"]}


def known():
    return {row.variable for row in settings.table()}


@pytest.mark.parametrize("where", environments())
def test_what_is_set_there_is(where, monkeypatch):
    chosen = {k: v for k, v in environments()[where].items() if k.startswith("RCF_")}
    assert chosen.keys() <= known() | OTHERS
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    settings.load()  # every value is of its setting's kind and range


def test_every_setting_is_set_somewhere_or_left_out_for_a_reason():
    somewhere = {name for each in environments().values() for name in each}
    assert known() - somewhere == LEFT_OUT.keys()


def test_what_is_started_is_a_command():
    commands = typer.main.get_command(app).commands
    containers = pod()["containers"]
    assert len(containers) == 1
    stage = DOCKERFILE.read_text("utf-8").rpartition("\nFROM ")[2]
    entry, command = (
        json.loads(re.search(rf"^{word} (\[.*\])$", stage, re.M)[1])
        for word in ("ENTRYPOINT", "CMD")
    )
    assert entry == ["rcf"]
    started = [command, *(container["args"] for container in containers)]
    started += [each["command"] for each in workers().values() if "command" in each]
    assert all(arguments[0] in commands for arguments in started)


def test_a_stop_fits_into_the_grace():
    """The timeout holds for open requests and again for the partitions; then the log is closed."""
    graces = {name: int(each["stop_grace_period"][:-1]) for name, each in workers().items()}
    graces["ConfigMap"] = pod()["terminationGracePeriodSeconds"]
    for where, grace_s in graces.items():
        assert 2 * float(environments()[where]["RCF_SHUTDOWN_TIMEOUT_S"]) + SPARE_S <= grace_s


def test_no_failed_partition_leads_to_a_restart():
    """/readyz fails while one partition does, so nothing that kills may ask it."""
    (container,) = pod()["containers"]
    probes = {name: each["httpGet"]["path"] for name, each in container.items() if "Probe" in name}
    assert probes == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }


def test_ports_agree():
    port = image_settings()["RCF_PORT"]
    published = [each["ports"][0] for each in workers().values() if "ports" in each]
    assert len(published) == 2 and all(each.endswith(f":{port}") for each in published)
    assert f"\nEXPOSE {port}\n" in DOCKERFILE.read_text("utf-8")
    listed, found = scraped()
    assert listed | found == {f"{name}:{port}" for name in workers()}
    service = next(each for each in manifests() if each["kind"] == "Service")
    assert [each["port"] for each in service["spec"]["ports"]] == [int(port)]


def test_a_worker_that_stops_counts_as_down():
    """A stopped container leaves DNS; only what is in a list stays a target, with `up` at 0."""
    listed, _ = scraped()
    always = {name for name, each in workers().items() if "profiles" not in each}
    assert {target.partition(":")[0] for target in listed} == always


def test_rules_match_the_job_that_is_scraped():
    (job,) = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    named = {name for rule in rules() for name in re.findall(r'\bjob="(\w+)"', rule["expr"])}
    assert named == {job["job_name"]}
    texts = [path.read_text("utf-8") for path in MANIFESTS]
    assert all(f'job="{name}"' in "".join(texts) for name in named)  # who scrapes pods is told


def test_only_this_machine_reaches_the_ports():
    published = [port for each in compose()["services"].values() for port in each.get("ports", [])]
    assert len(published) == 5 and all(port.startswith("127.0.0.1:") for port in published)


def test_versions_are_pinned_and_agree():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    text = DOCKERFILE.read_text("utf-8")
    assert f'org.opencontainers.image.version="{version}"' in text
    images = {each["image"] for each in compose()["services"].values()}
    images |= {re.search(r"^ARG BASE=(.*)$", text, re.M)[1]}
    assert all(re.search(r":v?\d+\.\d+\.\d+", image) for image in images)
    assert all(each["image"] == f"rcf-stream:{version}" for each in workers().values())
    (container,) = pod()["containers"]
    assert container["image"] == f"rcf-stream:{version}"
    tried = re.search(
        r"<kafka.version>(.*)</kafka.version>", (ROOT / "tests/kafka/pom.xml").read_text("utf-8")
    )[1]
    assert compose()["services"]["kafka"]["image"] == f"apache/kafka:{tried}"


def test_workers_wait_for_what_they_need_and_run_without_rights():
    services = compose()["services"]
    for each in services.values():
        assert "test" in each["healthcheck"]
        for need in each.get("depends_on", {}).values():
            assert need["condition"] == "service_healthy"
        assert each["cap_drop"] == ["ALL"] and each["security_opt"] == ["no-new-privileges:true"]
    assert len(workers()) == 3
    for name, each in workers().items():
        assert each["read_only"] is True and "kafka" in each["depends_on"]
        assert each.get("profiles", []) == (["demo"] if name == "demo" else [])
    stage = DOCKERFILE.read_text("utf-8").rpartition("\nFROM ")[2]
    assert "\nUSER 10001:10001\n" in stage


def test_the_scaler_scales_what_there_is():
    """KEDA's schema comes with KEDA alone; the fields that it needs, by its documentation."""
    found = {each["kind"]: each for each in manifests()}
    scaled, config = found["ScaledObject"]["spec"], found["ConfigMap"]["data"]
    assert found["ScaledObject"]["apiVersion"] == "keda.sh/v1alpha1"
    target = scaled["scaleTargetRef"]
    stateful = found["StatefulSet"]
    assert (target["kind"], target["name"]) == ("StatefulSet", stateful["metadata"]["name"])
    assert "replicas" not in stateful["spec"]  # or each `kubectl apply` would undo the scaler
    assert scaled["maxReplicaCount"] <= int(config["RCF_PARTITIONS"])
    (trigger,) = scaled["triggers"]
    assert trigger["type"] == "kafka"
    asked = trigger["metadata"]
    assert asked["consumerGroup"] == config["RCF_KAFKA_APPLICATION"]
    assert asked["bootstrapServers"] == config["RCF_KAFKA_BOOTSTRAP"]
    assert int(asked["lagThreshold"]) > 0
    assert all(isinstance(value, str) for value in asked.values())
