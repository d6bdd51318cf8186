"""What all dashboards are made of: queries over the catalog's metrics, panels, variables, links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as dash
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from observer.metrics import Metric, catalog

TAG: Final = "observer"
GREEN, ORANGE, RED, GREY, BLUE = "green", "orange", "red", "#8e8e8e", "blue"
SOURCE: Final = common_models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_MODEL_PAGE: Final = "${page}/model?model=${__field.labels.model:percentencode}"

Part = Literal["", "_bucket", "_count", "_sum"]


def of(metric: Metric, matchers: str = "", part: Part = "") -> str:
    """A metric of the catalog as PromQL, with label matchers; raises `ValueError` for a label it has not."""
    for one in filter(None, matchers.split(",")):
        label = one.split("=")[0].rstrip("!")
        if label not in metric.labels:
            raise ValueError(f"{metric.name} has no label {label}")
    return f"{metric.name}{part}{{{matchers}}}" if matchers else f"{metric.name}{part}"


def gained(metric: Metric, matchers: str = "", span: str = "$__rate_interval") -> str:
    """What a counter of rare things has gained; unlike `increase` it sees the first, with which it begins."""
    found = of(metric, matchers)
    return f"(({found} - {found} offset {span}) >= 0 or {found})"


def query(expr: str, legend: str = "", *, now: bool = False, rows: bool = False) -> prometheus.Dataquery:
    """A query over time, or with `now` at its end; with `rows` as a table."""
    built = prometheus.Dataquery().datasource(SOURCE).expr(expr).legend_format(legend or "__auto")
    if rows:
        built = built.format(PromQueryFormat.TABLE)
    return built.instant() if now or rows else built.range()


def steps(*pairs: tuple[float | None, str]) -> dash.ThresholdsConfig:
    """Colours from a value on; the first has none."""
    found = [models.Threshold(value=value, color=color) for value, color in pairs]
    return dash.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


def words(**meaning: tuple[str, str]) -> models.ValueMap:
    """Text and colour of single values: `_1` is -1, `v1` is 1."""
    options = {}
    for position, (key, (text, color)) in enumerate(meaning.items()):
        value = f"-{key[1:]}" if key.startswith("_") else key[1:]
        options[value] = models.ValueMappingResult(text=text, color=color, index=position)
    return models.ValueMap(options=options)


STATUS: Final = words(v1=("drift", RED), v0=("stable", GREEN), _1=("too few", GREY), _2=("failed", ORANGE))


def _letters(queries: Sequence[prometheus.Dataquery]) -> list[Any]:
    return [one.ref_id(chr(ord("A") + position)) for position, one in enumerate(queries)]


def over_time(
    title: str,
    *queries: prometheus.Dataquery,
    about: str = "",
    unit: str = "short",
    width: int = 12,
    height: int = 8,
    least: float | None = None,
    most: float | None = None,
    to_page: bool = False,
) -> timeseries.Panel:
    """Lines over time; with `to_page` each leads to its model on the service's own page."""
    legend = (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
    )
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .targets(_letters(queries))
        .unit(unit)
        .span(width)
        .height(height)
        .line_width(1)
        .fill_opacity(8)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    )
    if to_page:
        own = dash.DashboardLink("Open on the service's page").url(_MODEL_PAGE).target_blank(True)
        panel = panel.data_links([own])
    if least is not None:
        panel = panel.min(least)
    return panel if most is None else panel.max(most)


def dashed(panel: timeseries.Panel, legend: str, color: str = RED) -> timeseries.Panel:
    """Draw the series whose legend matches as a dashed line: a threshold."""
    return panel.override_by_regexp(
        legend,
        [
            models.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 6]}),
            models.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
            models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color}),
        ],
    )


def number(
    title: str,
    one: prometheus.Dataquery,
    *,
    about: str = "",
    unit: str = "short",
    width: int = 4,
    colors: dash.ThresholdsConfig | None = None,
    meaning: models.ValueMap | None = None,
    none: str = "none",
) -> stat.Panel:
    """One number, or one for each series."""
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .targets(_letters([one]))
        .unit(unit)
        .span(width)
        .height(4)
        .no_value(none)
        .thresholds(colors or steps((None, BLUE)))
    )
    return panel if meaning is None else panel.mappings([meaning])


def rows(
    title: str,
    *named: tuple[str, prometheus.Dataquery],
    about: str = "",
    width: int = 24,
    height: int = 9,
    hidden: Sequence[str] = (),
    units: dict[str, str] | None = None,
    meanings: dict[str, models.ValueMap] | None = None,
    link: tuple[str, str, str] | None = None,
) -> table.Panel:
    """A table: the labels, and a column for each named query.

    Parameters
    ----------
    link : tuple, optional
        Column, title and address of a link in each of its cells.
    """
    letters = _letters([one for _, one in named])
    renamed = {f"Value #{chr(ord('A') + at)}": name for at, (name, _) in enumerate(named)}
    if len(named) == 1:
        renamed["Value"] = named[0][0]
    panel = (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .targets(letters)
        .span(width)
        .height(height)
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": dict.fromkeys(("Time", "__name__", "instance", "job", *hidden), True),
                    "renameByName": renamed,
                },
            )
        )
    )
    for column, unit in (units or {}).items():
        panel = panel.override_by_name(column, [models.DynamicConfigValue(id_val="unit", value=unit)])
    for column, meaning in (meanings or {}).items():
        panel = panel.override_by_name(
            column,
            [
                models.DynamicConfigValue(id_val="mappings", value=[meaning]),
                models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
            ],
        )
    if link is not None:
        column, told, url = link
        found = [{"title": told, "url": url, "targetBlank": False}]
        panel = panel.override_by_name(column, [models.DynamicConfigValue(id_val="links", value=found)])
    return panel


def heat(
    title: str, one: prometheus.Dataquery, *, about: str = "", most: float | None = None
) -> heatmap.Panel:
    """A row a series, time across, colour the value."""
    colors = (
        heatmap.HeatmapColorOptions()
        .mode(heatmap_models.HeatmapColorMode.SCHEME)
        .scheme("YlOrRd")
        .fill("dark-orange")
        .scale(heatmap_models.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
        .min(0)
        .reverse(False)
    )
    if most is not None:
        colors = colors.max(most)
    return (
        heatmap.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .targets(_letters([one.max_data_points(200)]))
        .calculate(False)
        .color(colors)
        .cell_gap(1)
        .span(24)
        .height(14)
    )


def row(title: str) -> dash.Row:
    """A heading."""
    return dash.Row(title)


def variable(
    name: str, label: str, metric: Metric, matchers: str = "", *, every: str = ""
) -> dash.QueryVariable:
    """A variable whose values are those of a label; with `every` also "All", which is that expression."""
    found = f"label_values({of(metric, matchers)}, {name})"
    built = (
        dash.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": found, "refId": "values", "qryType": 1})
        .definition(found)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    if every:
        everything = models.VariableOption(selected=True, text="All", value="$__all")
        return built.include_all(True).all_value(every).multi(every == ".*").current(everything)
    return built


MODEL: Final = ("model", "Model", catalog.WINDOW_END)


def board(name: str, title: str, about: str, *variables: Any, model: bool = False) -> dash.Dashboard:
    """An empty dashboard with what all of them have.

    Parameters
    ----------
    model : bool
        It is about the one model that the variable `model` names.
    """
    source = dash.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    page = (
        dash.TextBoxVariable("page")
        .label("Service's page")
        .description("Address of the service's own page, which the links lead to.")
        .default_value("http://localhost:9464")
    )
    address = "${page}/model?model=${model:percentencode}" if model else "${page}/"
    built = (
        dash.Dashboard(title)
        .uid(f"observer-{name}")
        .description(about)
        .tags([TAG])
        .editable()
        .refresh("1m")
        .time("now-24h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(source)
    )
    if model:
        built = built.with_variable(variable(*MODEL))
    for one in variables:
        built = built.with_variable(one)
    built = built.with_variable(page)
    others = (
        dash.DashboardLink("Observer")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    own = dash.DashboardLink("The service's page").type(models.DashboardLinkType.LINK).url(address)
    built = built.link(others).link(own.icon("external link").target_blank(True))
    where = 'model="$model"' if model else ""
    for annotation in _annotations(where):
        built = built.annotation(annotation)
    return built


def _annotations(where: str) -> list[dash.AnnotationQuery]:
    tier = ",".join(filter(None, (where, 'tier=~"page|ticket"')))
    return [
        _annotation(
            "Pages and tickets",
            f"sum by (model, version, tier) ({gained(catalog.FINDINGS, tier, '1m')}) > 0",
            RED,
            "{{tier}}: {{model}} {{version}}",
        ),
        _annotation(
            "Actions that ended",
            f"sum by (model, action, state) ({gained(catalog.ACTIONS_ENDED, where, '1m')}) > 0",
            BLUE,
            "{{action}} of {{model}}: {{state}}",
        ),
    ]


def _annotation(name: str, expr: str, color: str, text: str) -> dash.AnnotationQuery:
    return (
        dash.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(color)
        .expr(expr)
        .title_format(text)
        .step("60s")
    )
