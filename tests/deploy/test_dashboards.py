"""Dashboards: the rules of grafana/dashboard-linter, restated.

Each rule is a function from a dashboard to what it objects to, so that the rules themselves can be
tried on a dashboard that breaks them.
"""

import copy
import re

import pytest
import yaml

from tests.deploy.files import (
    DASHBOARDS,
    DEPLOY,
    ROOT,
    SELECTOR,
    compose,
    dashboard,
    panels,
    queries,
)

DATASOURCE = {"type": "prometheus", "uid": "$datasource"}
UNITS = {"short", "ops", "Bps", "bytes", "s", "percentunit"}
QUERY = re.compile(r"label_values\(([\w:]+(?:\{[^}]*\})?), (\w+)\)")


def variables(board):
    return {each["name"]: each for each in board["templating"]["list"]}


def selectors(board):
    return [(where, each) for where, text in queries(board) for each in SELECTOR.finditer(text)]


def template_datasource(board):
    found = variables(board).get("datasource", {})
    wanted = {"type": "datasource", "query": "prometheus", "label": "Data source"}
    return [name for name, value in wanted.items() if found.get(name) != value]


def _template(board, name):
    found = variables(board).get(name, {})
    wanted = {
        "type": "query",
        "label": name.capitalize(),
        "datasource": DATASOURCE,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
    }
    return [key for key, value in wanted.items() if found.get(key) != value]


def template_job(board):
    return _template(board, "job")


def template_instance(board):
    return _template(board, "instance")


def _query_variables(board):
    return [each for each in board["templating"]["list"] if each["type"] == "query"]


def template_label_promql(board):
    return [
        each["name"] for each in _query_variables(board) if not QUERY.fullmatch(each["definition"])
    ]


def template_on_time_change_reload(board):
    return [each["name"] for each in _query_variables(board) if each["refresh"] != 2]


def panel_datasource(board):
    return [
        panel["title"]
        for panel in panels(board)
        for asked in (panel, *panel["targets"])
        if asked.get("datasource") != DATASOURCE
    ]


def panel_title_description(board):
    return [panel["id"] for panel in panels(board) if not (panel["title"] and panel["description"])]


def panel_units(board):
    return [
        panel["title"]
        for panel in panels(board)
        if panel["fieldConfig"]["defaults"].get("unit") not in UNITS
    ]


def panel_no_targets(board):
    return [panel["title"] for panel in panels(board) if not panel["targets"]]


def target_logql(board):
    """No logs here: no target asks anything else than Prometheus."""
    return [
        panel["title"]
        for panel in panels(board)
        for target in panel["targets"]
        if target["datasource"]["type"] != "prometheus"
    ]


def target_logql_auto(board):
    return [where for where, text in queries(board) if "$__auto" in text]


def target_promql(board):
    """That it is PromQL, `test_live` asks a Prometheus; here, that there is a metric at all."""
    return [
        where
        for where, text in queries(board)
        if not SELECTOR.search(text) or text.count("(") != text.count(")")
    ]


def target_rate_interval(board):
    return [
        where
        for where, each in selectors(board)
        if each[3] not in (None, "[$__rate_interval]", "[$__range]")
        or (each[3] == "[$__range]" and "increase(" not in each.string)
    ]


def target_job(board):
    return [where for where, each in selectors(board) if 'job=~"$job"' not in (each[2] or "")]


def target_instance(board):
    wanted = 'instance=~"$instance"'
    return [where for where, each in selectors(board) if wanted not in (each[2] or "")]


def target_counter_agg(board):
    return [
        where
        for where, each in selectors(board)
        if each[1].endswith(("_total", "_count", "_bucket"))
        and not re.search(r"(rate|increase)\($", each.string[: each.start()])
    ]


def uneditable(board):
    return [] if board["editable"] is False else ["editable"]


RULES = (
    template_datasource,
    template_job,
    template_instance,
    template_label_promql,
    template_on_time_change_reload,
    panel_datasource,
    panel_title_description,
    panel_units,
    panel_no_targets,
    target_logql,
    target_logql_auto,
    target_promql,
    target_rate_interval,
    target_job,
    target_instance,
    target_counter_agg,
    uneditable,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_the_linters_rules(path, rule):
    assert rule(dashboard(path)) == []


def _panel(board):
    return panels(board)[0]


def _query(board, text):
    _panel(board)["targets"][0]["expr"] = text


#: For each rule a change of a sound dashboard that it must see.
BREAKS = {
    template_datasource: lambda board: board["templating"]["list"].pop(0),
    template_job: lambda board: variables(board)["job"].update(multi=False),
    template_instance: lambda board: variables(board)["instance"].update(allValue=".*"),
    template_label_promql: lambda board: variables(board)["job"].update(definition="job"),
    template_on_time_change_reload: lambda board: variables(board)["job"].update(refresh=1),
    panel_datasource: lambda board: _panel(board).update(datasource="Prometheus"),
    panel_title_description: lambda board: _panel(board).update(description=""),
    panel_units: lambda board: _panel(board)["fieldConfig"]["defaults"].pop("unit"),
    panel_no_targets: lambda board: _panel(board).update(targets=[]),
    target_logql: lambda board: _panel(board)["targets"][0].update(datasource={"type": "loki"}),
    target_logql_auto: lambda board: _query(board, "rate(rcf_series[$__auto])"),
    target_promql: lambda board: _query(board, "sum(rcf_series{}"),
    target_rate_interval: lambda board: _query(board, "rate(rcf_records_in_total{}[5m])"),
    target_job: lambda board: _query(board, 'rcf_series{instance=~"$instance"}'),
    target_instance: lambda board: _query(board, 'rcf_series{job=~"$job"}'),
    target_counter_agg: lambda board: _query(board, "sum(rcf_records_in_total{})"),
    uneditable: lambda board: board.update(editable=True),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_broken_rule_is_seen(rule):
    board = copy.deepcopy(dashboard(DASHBOARDS[0]))
    BREAKS[rule](board)
    assert rule(board) != []


def test_ids_and_places_do_not_collide():
    boards = [dashboard(path) for path in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len(boards) == 2
    for board in boards:
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        taken = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
            taken |= cells


def test_what_is_provisioned_is_where_grafana_looks():
    grafana = compose()["services"]["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"] if volume[0] == ".")
    places = {inside: path for path, inside in mounts.items()}
    provisioning = places[grafana["environment"]["GF_PATHS_PROVISIONING"]]
    assert (ROOT / provisioning).resolve() == DEPLOY / "grafana/provisioning"
    (source,) = _provisioned("datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert all(
        variables(dashboard(path))["datasource"]["current"]["value"] == source["uid"]
        for path in DASHBOARDS
    )
    (provider,) = _provisioned("dashboards/rcf.yml")["providers"]
    folder = places[provider["options"]["path"]]
    assert (ROOT / folder).resolve() == DASHBOARDS[0].parent
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.rpartition("/")[2] in {path.name for path in DASHBOARDS}


def _provisioned(name):
    return yaml.safe_load((DEPLOY / "grafana/provisioning" / name).read_text("utf-8"))
