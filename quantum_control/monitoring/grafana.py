"""Dashboards for Grafana, made with its own typed builder."""

from __future__ import annotations

import json
from collections.abc import Iterator

from quantum_control.core.errors import ConfigError
from quantum_control.monitoring.kinds import KINDS
from quantum_control.monitoring.panels import OVERVIEW, Draw, Page, Panel, Query, of

try:
    from grafana_foundation_sdk.builders import (
        common,
        dashboard,
        prometheus,
        stat,
        table,
        timeseries,
    )
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common as options
    from grafana_foundation_sdk.models import dashboard as model
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat
except ImportError as error:
    raise ConfigError(
        "grafana-foundation-sdk is missing; install it with: pip install 'quantum-control[grafana]'"
    ) from error

PAGES: tuple[Page, ...] = (OVERVIEW, *KINDS.values())
"""All dashboards."""

TAG = "quantum_control"

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

HEIGHTS = {Draw.CURVES: 8, Draw.NUMBER: 4, Draw.TABLE: 9}
"""Of panels, in Grafana's rows."""

RESOURCES = "quantum_control_resource_info"
"""The series that says which resources there are, and of which type."""

LETTERS = "ABCDEFGHIJ"
"""Names of the queries of a panel."""

ANNOTATIONS = (
    ("Changes of size", "blue", f"changes({of('size')}[1m]) > 0"),
    (
        "Roll-backs to the original",
        "red",
        f"increase({of('roll_backs_total')}[1m]) > 0",
    ),
    (
        "Switches of model",
        "purple",
        # Of those that were there before, under another model.
        f"({of('resource_info')} unless ({of('resource_info')} offset 1m))"
        f" and on(instance, resource) ({of('resource_info')} offset 1m)",
    ),
)
"""What is marked on the curves: name, colour, expression. Grafana asks for annotations every minute, so
that each is seen once."""


def build(page: Page) -> str:
    """JSON of a dashboard."""
    board = (
        dashboard.Dashboard(page.title)
        .uid(page.uid)
        .description(page.text)
        .tags([TAG])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("10s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            dashboard.DashboardLink("quantum_control")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
        )
    )
    for variable in _variables(page):
        board.with_variable(variable)
    for name, colour, expression in ANNOTATIONS:
        board.annotation(
            dashboard.AnnotationQuery()
            .name(name)
            .datasource(SOURCE)
            .icon_color(colour)
            .expr(expression)
            .enable(True)
        )
    for title, panels in page.rows:
        board.with_row(dashboard.Row(title))
        for panel in panels:
            board.with_panel(_drawn(panel))
    return json.dumps(board.build(), cls=JSONEncoder, indent=2) + "\n"


def _variables(page: Page) -> Iterator[dashboard.DatasourceVariable | dashboard.QueryVariable]:
    """Yield what is picked at the top: the data source, the exporters and the resources."""
    yield dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    types = [f'type=~"{"|".join(page.types)}"'] if page.types else []
    for name, label, labels in (
        ("instance", "Exporter", types),
        ("resource", "Resource", [*types, 'instance=~"$instance"']),
    ):
        yield (
            dashboard.QueryVariable(name)
            .label(label)
            .datasource(SOURCE)
            .query(f"label_values({RESOURCES}{{{','.join(labels)}}}, {name})")
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(model.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .current(model.VariableOption(selected=True, text="All", value="$__all"))
        )


def _drawn(panel: Panel) -> timeseries.Panel | stat.Panel | table.Panel:
    drawn: timeseries.Panel | stat.Panel | table.Panel
    if panel.draw is Draw.CURVES:
        drawn = _curves()
    elif panel.draw is Draw.NUMBER:
        last = common.ReduceDataOptions().calcs(["lastNotNull"])
        drawn = stat.Panel().reduce_options(last).graph_mode(options.BigValueGraphMode.AREA)
    else:
        drawn = _table(panel)
    drawn = (
        drawn.title(panel.title)
        .description(panel.text)
        .datasource(SOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(HEIGHTS[panel.draw])
    )
    for letter, query in zip(LETTERS[: len(panel.queries)], panel.queries, strict=True):
        drawn.with_target(_asked(query, letter, instant=panel.draw is Draw.TABLE))
    return drawn


def _curves() -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(True)
    legend.placement(options.LegendPlacement.BOTTOM).display_mode(options.LegendDisplayMode.LIST)
    tooltip = common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI)
    return (
        timeseries.Panel()
        .legend(legend)
        .tooltip(tooltip.sort(options.SortOrder.DESCENDING))
        .line_interpolation(options.LineInterpolation.STEP_AFTER)
        .show_points(options.VisibilityMode.NEVER)
    )


def _table(panel: Panel) -> table.Panel:
    """Show a line for each resource: the queries side by side, the labels of the last as columns."""
    names = {
        f"Value #{letter}": query.legend
        for letter, query in zip(LETTERS[: len(panel.queries)], panel.queries, strict=True)
    }
    hidden = dict.fromkeys(("Time", "__name__", "job", f"Value #{'ABCDEFGHIJ'[len(names) - 1]}"), True)
    return (
        table.Panel()
        .with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            model.DataTransformerConfig(
                id_val="organize", options={"renameByName": names, "excludeByName": hidden}
            )
        )
    )


def _asked(query: Query, letter: str, *, instant: bool) -> prometheus.Dataquery:
    asked = prometheus.Dataquery().expr(query.expression).ref_id(letter).datasource(SOURCE)
    if instant:
        return asked.instant().format(PromQueryFormat.TABLE)
    return asked.range().legend_format(query.legend or "__auto")
