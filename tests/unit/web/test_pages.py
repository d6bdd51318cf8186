"""The pages without a browser: what they say, who may see them, and what foreign texts do to them."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest

from tests.unit.stores.results import HOUR, START, window
from tests.unit.web.past import fill, site, standing

HOSTILE = "\"><script>alert(1)</script>'&{{ 7*7 }}/../\u202eüñ\n"
PATHS = ("/", "/findings", "/slo", "/references", "/actions", "/rollouts")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    with site(tmp_path_factory.mktemp("history"), token="act") as one:  # noqa: S106 - of this test only
        fill(one.writer, "calm")
        fill(one.writer, "churn", "page")
        fill(one.writer, "demand", "ticket")
        fill(one.writer, "drifting", "drift")
        fill(one.writer, HOSTILE, "page", column=HOSTILE)
        one.writer.objective(standing(), START + 24 * HOUR)
        one.writer.objective(standing(HOSTILE, HOSTILE, -0.2), START + 24 * HOUR)
        assert one.writer.flush(30)
        yield one


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def all_pages(seen) -> list[str]:
    found = seen.get("/api/v1/findings", params={"limit": 1000}).json()
    models = {one["model"] for one in seen.get("/api/v1/models").json()}
    ids = {one["finding"]["window"]["model"] + one["finding"]["tier"]: one["id"] for one in found}
    return [
        *PATHS,
        *(f"/model?{urlencode({'model': model})}" for model in models),
        *(f"/model?{urlencode({'model': model, 'segment': 'country=DE'})}" for model in models),
        *(f"/finding?id={identity}" for identity in ids.values()),
        *(f"/findings?{urlencode({'model': model, 'tier': 'page'})}" for model in models),
    ]


def test_the_first_view_says_what_is_wrong_where_since_when_and_why(seen):
    page = Tags(seen.get("/").text)
    text = " ".join(page.text.split())
    assert "2 models are paging, 1 has a ticket, 1 drifts without an alarm; 1 well." in text
    assert "age: values rose in rank" in text
    assert "5 Jan 2026 00:00" in text
    order = [text.index(f"{word} ") for word in ("Paging", "Ticket", "Drift", "Stable")]
    assert order == sorted(order)
    assert "age differs from the reference" in text


def test_every_page_answers_and_no_foreign_text_becomes_a_tag(seen):
    pages = all_pages(seen)
    assert len(pages) > 20
    for path in pages:
        answer = seen.get(path)
        assert answer.status_code == 200, path
        page = Tags(answer.text)
        assert "49" not in page.text.split("alert(1)")[-1][:20]
        for tag, attributes in page.tags:
            assert not any(name.startswith("on") or name == "style" for name in attributes), (path, tag)
            if tag == "script":
                assert (attributes["src"] or "").startswith("/static/"), path
            for name in ("href", "src", "action"):
                assert (attributes.get(name) or "/").startswith(("/", "#")), (path, tag, attributes)
        assert sum(tag == "script" for tag, _ in page.tags) <= 3


def test_the_policy_allows_only_what_the_service_serves(seen):
    policy = seen.get("/").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_a_model_shows_its_parts(seen):
    text = seen.get("/model?model=churn").text
    charts = ("Evidence that inputs changed", "Evidence that quality changed", "AUC", "Drift by column")
    for part in (*charts, "Columns", "Segments", "country=DE", "Objectives", "Close the incident"):
        assert part in text, part
    assert "Close the incident" not in seen.get("/model?model=calm").text


def test_a_finding_says_why(seen):
    paged = next(
        one for one in seen.get("/api/v1/findings", params={"tier": "page", "model": "churn"}).json()
    )
    text = seen.get(f"/finding?id={paged['id']}").text
    words = ("age: values rose in rank", "Causes, strongest first", "What detectors said")
    pictures = ("The window against its reference", "distribution of age", "How large the shift is")
    for part in (*words, *pictures, "Evidence over time"):
        assert part in text, part
    said = " ".join(Tags(text).text.split())
    ranked = said.split("What changed in the window, most evidence first")[1].split("Evidence: the mean")[0]
    assert 0 < ranked.index("age") < ranked.index("plan")
    assert "Quality: error rate 10 % → 23.4 %, +13.40 ± 1.10 points" in said
    assert "By country: changed mix +0.00, within segments +13.40" in said
    assert "country=FR50 % → 30 %– → 8 %−1.00" in said
    segments = said.split("Segments, most evidence first")[1].split("Pairs of columns")[0]
    assert "named" in segments
    assert "age: values rose in rank" in segments
    assert "plan and agecorrelation-0.10.31" in said
    assert (
        "observer explain churn --at 2026-01-06T" in said or "observer explain churn --at 2026-01-05T" in said
    )


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/finding?id=none", 404, "no finding"),
        ("/model?model=none", 404, "no model"),
        ("/model", 400, "model is missing"),
        ("/findings?tier=loud", 400, "accepted: page, ticket, info"),
        ("/?x=1", 400, "no parameter"),
    ],
)
def test_what_cannot_be_shown_is_said(seen, path, status, told):
    answer = seen.get(path)
    assert answer.status_code == status
    assert told in answer.text


def test_a_page_is_sent_again_only_when_it_changed(tmp_path):
    with site(tmp_path) as one:
        fill(one.writer)
        assert one.writer.flush()
        mark = one.get("/").headers["ETag"]
        assert one.get("/", headers={"If-None-Match": mark}).status_code == 304
        one.writer.window(window(30, status="drift"))
        assert one.writer.flush()
        answer = one.get("/", headers={"If-None-Match": mark})
        assert answer.status_code == 200
        assert "Drift" in answer.text


def test_an_empty_service_says_what_to_do(tmp_path):
    with site(tmp_path) as one:
        for path in PATHS:
            assert one.get(path).status_code == 200
        assert "No model has been seen yet." in one.get("/").text


def test_a_history_that_is_away_is_told_on_every_page(tmp_path):
    with site(tmp_path, problem="history cannot be kept: the disk is full") as one:
        assert "the disk is full" in one.get("/").text
        one.database.close()
        (tmp_path / "history.sqlite").unlink()
        (tmp_path / "history.sqlite").mkdir()
        answer = one.get("/")
        assert answer.status_code == 503
        assert "cannot be read now" in answer.text
        assert one.get("/api/v1/models").status_code == 503
        assert one.get("/healthz").status_code == 200


def test_reading_with_a_token(tmp_path):
    with site(tmp_path, read_token="look", token="act") as one:  # noqa: S106 - of this test only
        fill(one.writer)
        assert one.writer.flush()
        answer = one.get("/model?model=churn")
        assert (answer.status_code, answer.headers["Location"]) == (
            303,
            "/login?next=%2Fmodel%3Fmodel%3Dchurn",
        )
        assert one.get("/api/v1/models").status_code == 401
        for token in ("look", "act"):
            bearer = {"Authorization": f"Bearer {token}"}
            assert one.get("/api/v1/models", headers=bearer).status_code == 200
            assert one.get("/", headers=bearer).status_code == 200
        for wrong in ("", "look ", "Look", "é"):
            assert one.client.post("/login", data={"token": wrong}).status_code == 401
        assert one.get("/").status_code == 303
        answer = one.client.post("/login?next=/model%3Fmodel%3Dchurn", data={"token": "look"})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/model?model=churn")
        cookie = answer.headers["Set-Cookie"]
        assert "look" not in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert one.get("/").status_code == 200  # the client keeps the cookie
        for target in ("//evil", "https://evil", "/\\evil"):
            answer = one.client.post("/login", params={"next": target}, data={"token": "look"})
            assert answer.headers["Location"] == "/"


def test_an_objective_without_events_or_budget_is_not_well(tmp_path):
    """Nothing burns now, but that says nothing good."""
    with site(tmp_path) as one:
        known = replace(standing(name="known"), exhaustion=None)
        quiet = replace(known, name="quiet", good=0, total=0, remaining=None, burn=(), alerts=())
        spent = replace(known, name="spent", remaining=-0.5, alerts=())
        for at in (known, quiet, spent):
            one.writer.objective(at, START)
        assert one.writer.flush(30)
        rows = {cells[1]: (cells[2], cells[-1]) for cells in table(one.get("/slo").text)}
    assert rows == {"known": ("Well", "lasts"), "quiet": ("No events", "–"), "spent": ("Spent", "spent")}


def test_since_when_an_objective_burns_is_told(tmp_path):
    with site(tmp_path) as one:
        fill(one.writer, "churn")
        one.writer.objective(standing(remaining=-0.1), START + 24 * HOUR)
        assert one.writer.flush(30)
        fleet, objectives = Tags(one.get("/").text).text, Tags(one.get("/slo").text).text
        [row] = one.get("/api/v1/slo", params={"model": "churn"}).json()
    assert "good: budget overspent by 10 %" in fleet
    assert "since 5 Jan 2026 02:00" in " ".join(fleet.split())
    assert "since 5 Jan 2026 02:00" in " ".join(objectives.split())
    assert row["since"] == START + 2 * HOUR


def table(text: str) -> list[list[str]]:
    """First words of each cell of a page's table, by row."""
    body = text.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = [[Tags(cell).text for cell in row.split("<td")[1:]] for row in body.split("<tr>")[1:]]
    return [[cell.partition(">")[2].partition("correct")[0].strip() for cell in row] for row in rows]
