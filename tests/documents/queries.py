"""Checks queries of Prometheus, of alerts and of a dashboard of Grafana, against the metrics that the server has."""

import json
import os
import re

import promql_parser

from blocks import Mistake

# The metrics that the server exports, each with its type and labels, from the table that the crate `status` compares with them.
with open(os.path.join(os.path.dirname(__file__), "../../docs/status.md"), encoding="utf-8") as _status:
    METRICS = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(
            r"^\| `((?:mod_wsgi|http_server)_\w+)` \| (gauge|counter|histogram) \| ([^|]*) \|", _status.read(), re.MULTILINE
        )
    }
# What Prometheus adds to each series, and what histograms have.
COMMON = {"instance", "job", "le"}
# Units of Grafana that make sense of these metrics.
UNITS = {"none", "reqps", "percentunit", "s", "Bps", "bytes", "short"}


def check(where, query):
    """Raises for a query that Prometheus refuses, or that names a metric or a label which is not there."""
    # Grafana replaces these before Prometheus sees them.
    query = query.replace("$__rate_interval", "5m").strip()
    try:
        promql_parser.parse(query)
    except ValueError as error:
        raise Mistake(f"{where}: {query}: {error}") from error
    known = set(COMMON)
    for function, name in re.findall(r"(?:(\w+)\()?\b((?:mod_wsgi|http_server)_\w+)", query):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        kind, labels = METRICS.get(name) or METRICS.get(base) or (None, set())
        if kind is None or (kind == "histogram") != (name != base):
            raise Mistake(f"{where}: there is no metric {name}")
        if (function in ("rate", "increase")) != (kind != "gauge"):
            raise Mistake(f"{where}: {name} is a {kind}, and {function or 'nothing'}() is applied to it: {query}")
        known |= labels
    for name in used_labels(query) - known:
        raise Mistake(f"{where}: none of the metrics has a label {name}: {query}")


def used_labels(query):
    """Returns the labels that a query groups by or selects."""
    grouped = {name.strip() for names in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", query) for name in names.split(",")}
    return grouped | set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', query))


def result_labels(query):
    """Returns the labels that the result of a query may have."""
    groups = re.findall(r"\bby\s*\(([^)]*)\)", query)
    if groups:
        return {name.strip() for names in groups for name in names.split(",")}
    if re.search(r"\b(sum|max|min|avg|count)\s*\(", query):
        return set()
    return COMMON.union(*(METRICS[name][1] for name in re.findall(r"\b(?:mod_wsgi|http_server)_\w+", query) if name in METRICS))


def structure(where, value):
    """Checks each query in a structure: alerts, or a part of a dashboard."""
    if isinstance(value, dict):
        query = value.get("expr")
        if isinstance(query, str):
            check(where, query)
            shown = json.dumps({**value, "expr": ""})
            for name in re.findall(r"\{\{ *(?:\$labels\.)?(\w+) *\}\}", shown):
                if name not in result_labels(query):
                    raise Mistake(f"{where}: the result has no label {name}: {query}")
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            structure(where, each)


def dashboard(path):
    """Checks a dashboard: queries, variables, units, and that panels do not cover each other."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    content = json.loads(text)
    structure(path, content)
    variables = {each["name"] for each in content["templating"]["list"]}
    for name in set(re.findall(r"\$\{?(\w+)", text)) - variables - {"__rate_interval", "__all"}:
        raise Mistake(f"{path}: there is no variable {name}")
    for variable in content["templating"]["list"]:
        query = variable["query"]["query"] if isinstance(variable["query"], dict) else ""
        if query:
            inner = re.fullmatch(r"label_values\((.*), *(\w+)\)", query)
            if not inner or inner[2] not in result_labels(inner[1]):
                raise Mistake(f"{path}: the variable {variable['name']} cannot be had by {query}")
            check(path, inner[1])
    ids, places = set(), {}
    for panel in content["panels"]:
        title = panel["title"]
        if panel["id"] in ids:
            raise Mistake(f"{path}: two panels have the id {panel['id']}")
        ids.add(panel["id"])
        area = panel["gridPos"]
        for place in ((x, y) for x in range(area["x"], area["x"] + area["w"]) for y in range(area["y"], area["y"] + area["h"])):
            if places.setdefault(place, title) is not title or place[0] >= 24:
                raise Mistake(f"{path}: {title} covers {places[place]}, or goes beyond the right edge")
        if panel["type"] != "row" and panel["fieldConfig"]["defaults"].get("unit") not in UNITS:
            raise Mistake(f"{path}: {title} has no unit")
