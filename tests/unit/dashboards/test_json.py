"""The committed JSON: as the builder makes it, over metrics that there are, linked to each other."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

import dashboards
from dashboards.parts import of
from observer.dashboards import texts
from observer.metrics import catalog

KNOWN = {metric.name: metric for section in catalog.SECTIONS.values() for metric in section}
BOARDS = {name: json.loads(text) for name, text in texts().items()}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board: dict[str, Any]) -> list[str]:
    found = [target["expr"] for panel in panels(board) for target in panel["targets"]]
    return found + [one["expr"] for one in board["annotations"]["list"]]


def test_committed_json_is_what_the_builder_makes() -> None:
    assert texts() == dashboards.texts(), "run: python -m dashboards"


def test_every_metric_of_a_query_is_in_the_catalog_with_the_labels_asked_for() -> None:
    for board in BOARDS.values():
        for expr in queries(board):
            used = re.findall(
                r"\b((?:observer|process)_\w+?)(?:_bucket|_count|_sum)?\b(?:\{([^}]*)\})?", expr
            )
            assert used, expr
            for name, matchers in used:
                assert name in KNOWN, f"{name} of {expr}"
                asked = {re.split(r"[=!]", one)[0] for one in matchers.split(",") if one}
                assert asked <= set(KNOWN[name].labels), expr


def test_nearly_every_metric_is_shown_somewhere() -> None:
    text = "\n".join(expr for board in BOARDS.values() for expr in queries(board))
    missing = {name for name in KNOWN if not re.search(rf"\b{name}\b|\b{name}_", text)}
    # What a panel shows in another form, or the service's page shows better.
    assert len(missing) < len(KNOWN) / 10, sorted(missing)


def test_a_label_that_a_metric_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="observer_ledger_rows has no label model"):
        of(catalog.LEDGER_ROWS, 'model="$model"')


def test_dashboards_and_panels_can_be_told_apart() -> None:
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS) == 6
    for board in BOARDS.values():
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(set(numbers)) == len(numbers)
        titles = [(panel["title"], panel["type"]) for panel in panels(board)]
        assert len(set(titles)) == len(titles)


def test_no_panel_lies_on_another_or_leaves_the_grid() -> None:
    for name, board in BOARDS.items():
        boxes = [(panel["title"], panel["gridPos"]) for panel in board["panels"]]
        for title, box in boxes:
            assert box.get("x", 0) + box["w"] <= 24, (name, title)
        for (one, a), (other, b) in combinations(boxes, 2):
            apart = (
                a.get("x", 0) + a["w"] <= b.get("x", 0)
                or b.get("x", 0) + b["w"] <= a.get("x", 0)
                or a.get("y", 0) + a["h"] <= b.get("y", 0)
                or b.get("y", 0) + b["h"] <= a.get("y", 0)
            )
            assert apart, (name, one, other)


def test_every_variable_in_use_is_declared() -> None:
    own = re.compile(r"\$\{?([a-z]\w*)")
    for name, board in BOARDS.items():
        declared = {one["name"] for one in board["templating"]["list"]}
        assert {"datasource", "page"} <= declared
        used = {word for expr in queries(board) for word in own.findall(expr)}
        used |= {word for panel in panels(board) for word in own.findall(panel["title"])}
        used |= {word for link in board["links"] for word in own.findall(link.get("url", ""))}
        assert used <= declared, name


def test_all_are_linked_to_each_other_and_to_the_services_page_and_annotated() -> None:
    for board in BOARDS.values():
        assert board["tags"] == ["observer"]
        others, page = board["links"]
        assert (others["type"], others["tags"], others["includeVars"]) == ("dashboards", ["observer"], True)
        assert page["url"].startswith("${page}/")
        assert [one["name"] for one in board["annotations"]["list"]] == [
            "Pages and tickets",
            "Actions that ended",
        ]
    (link,) = re.findall(r"/d/observer-model\?[^\"]*", texts()["fleet.json"])
    assert link.startswith("/d/observer-model?var-model=")
    assert BOARDS["model.json"]["uid"] == "observer-model"


def test_the_schema_is_the_classic_one() -> None:
    for board in BOARDS.values():
        assert board["schemaVersion"] == 42
        assert isinstance(board["panels"], list)
