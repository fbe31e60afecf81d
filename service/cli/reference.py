"""`rcf reference`: tables that documentation shows, made from the code they describe."""

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry

from service import settings
from service.adapters.prometheus import PrometheusMetrics
from service.api.app import create_app
from service.api.context import Context
from service.api.problems import KINDS


def table(what: str) -> str:
    """A Markdown table of "settings", "endpoints", "problems" or "metrics"."""
    makers = {
        "settings": _settings,
        "endpoints": _endpoints,
        "problems": _problems,
        "metrics": _metrics,
    }
    return makers[what]()


def _settings() -> str:
    rows = [
        (f"`{row.variable}`", row.kind, f"`{row.default}`", row.description)
        for row in settings.table()
    ]
    return _markdown(("variable", "value", "default", "meaning"), rows)


def _endpoints() -> str:
    paths = create_app(Context()).openapi()["paths"]
    rows = [
        (f"`{method.upper()} {path}`", operation["description"].splitlines()[0])
        for path, operations in paths.items()
        for method, operation in operations.items()
    ]
    return _markdown(("endpoint", "what it does"), rows)


def _problems() -> str:
    rows = [
        (str(kind.status), f"`{kind.slug}`", kind.title, kind.advice) for kind in KINDS.values()
    ]
    return _markdown(("status", "type `urn:rcf:problem:…`", "title", "what to do"), rows)


def _metrics() -> str:
    registry = CollectorRegistry()
    PrometheusMetrics(registry, lambda: 0.0)
    rows = [
        (f"`{_exposed(family.name, family.type)}`", family.type, family.documentation)
        for family in registry.collect()
        if family.name.startswith("rcf_")
    ]
    return _markdown(("metric", "kind", "meaning"), rows)


def _exposed(name: str, kind: str) -> str:
    return f"{name}_total" if kind == "counter" else name


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
