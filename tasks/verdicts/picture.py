"""Draws one picture of a profile's run: rates, latencies, instances, concurrency and throttles on one time axis.

The first scale below the panels shows real seconds, the second one minutes of AWS time. The stages' names have a strip
of their own and the legends are above their panels, so neither covers data. matplotlib is imported only when a picture
is drawn, with its Agg canvas and without pyplot: no global state changes, and no display is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.run.escaping import one_line, terminal_text
from tasks.scaling.choice import ScalingPlan
from tasks.verdicts.picture_labels import place_beside, place_centred, row_count
from tasks.verdicts.profile_observation import DisturbedInterval, Interval, MetricPoint, ProfileObservation
from tasks.verdicts.scale_out import desired_count_in
from tasks.verdicts.verdicts import Verdict, verdict_counts

WIDTH_INCHES, HEIGHT_INCHES, DPI = 12.0, 11.0, 110
AXIS_POINTS = 72 * (WIDTH_INCHES - 1.6)
"""The minimum length of the time axis: the figure's width without the panels' labels on both sides."""
LABEL_POINTS, ROW_POINTS = 9.0, 13.0
PANEL_POINTS = 120.0
"""The minimum height of the instances' panel."""
BLUE, ORANGE, GREEN, RED, GREY, PURPLE = "#1f6fb4", "#e07b00", "#2a8c3c", "#c62828", "#8a8a8a", "#7b4fa3"
SHADES = {"ramp": "#fff3d6", "peak": "#ffe3b8", "spike": "#ffd0c2"}


def draw_profile(
    plan: ScalingPlan,
    observation: ProfileObservation,
    verdicts: Sequence[Verdict],
    folder: Path,
    disturbed: Sequence[DisturbedInterval] = (),
) -> Path:
    """Write `profile.png` and `profile.svg` into a folder and return the path of `profile.png`.

    Every panel shades the `disturbed` intervals grey.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    names = _stage_labels(plan, observation)
    heights = (0.22 * row_count(names), 3, 3, 2.2, 2.4)
    strip, rates, latencies, instances, last = figure.subplots(5, 1, sharex=True, height_ratios=heights)
    for axes in (strip, rates, latencies, instances, last):
        _dress(axes, observation)
        _shade(axes, disturbed, "disturbed" if axes is rates else "")
    _draw_strip(strip, observation, names)
    _draw_rates(rates, observation)
    _draw_latencies(latencies, plan, observation)
    _draw_instances(instances, observation)
    _draw_last(last, plan, observation)
    for axes in (axes for axes in (rates, latencies, instances, last) if axes.get_legend_handles_labels()[0]):
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=7, fontsize=8, frameon=False, borderaxespad=0.1)
    _add_scales(last, observation)
    figure.suptitle(title(plan, observation, verdicts), fontsize=12, ha="left", x=0.01)
    take_texts_literally(figure)
    path = folder / "profile.png"
    figure.savefig(path)
    figure.savefig(folder / "profile.svg")
    return path


def take_texts_literally(figure: Any) -> None:
    """Draw every text as it is: two dollar signs are no formula, and no control character reaches the SVG."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(terminal_text(text.get_text()))


def title(plan: ScalingPlan, observation: ProfileObservation, verdicts: Sequence[Verdict]) -> str:
    """Return the picture's title of two lines: the target with its verdicts, then rates, counts and time scale."""
    counts, traffic = observation.counts, plan.traffic
    way = "through the alias" if observation.through == "function" else "directly at the endpoint"
    rates = f"{traffic.baseline_rps:g} → {traffic.peak_rps:g} → {traffic.spike_rps:g} requests/s"
    sums = f"{counts.sent:,} sent = {counts.answered:,} answered + {counts.failed:,} failed"
    target = f"target {plan.value('target_value'):g} invocations/instance/minute"
    first = f"{observation.target}, {way}: {verdict_counts(verdicts)}"
    return f"{first}\n{rates}; {sums}; {target}; time scale {observation.time_scale:g}"


def stage_name(plan: ScalingPlan, name: str) -> str:
    """Return the name that a stage is shown with: a rise that takes no time is a step, not a ramp."""
    return "step" if name == "ramp" and plan.traffic.ramp_seconds == 0 else name


# --- Panels -----------------------------------------------------------------------------------------------------------


def _draw_rates(axes: Any, observation: ProfileObservation) -> None:
    edges = list(range(len(observation.seconds) + 1))
    axes.plot(*_asked(observation.stages), color=GREY, lw=1, ls="--", label="asked for")
    for column, (name, colour) in enumerate((("offered (drawn)", BLUE), ("answered", GREEN), ("failed", RED))):
        axes.stairs(
            [row[column] for row in observation.seconds], edges, color=colour, lw=1.8 - 0.3 * column, label=name
        )
    axes.set_ylabel("requests/s")
    axes.set_ylim(
        0,
        1.1
        * max([*(row[0] for row in observation.seconds), *(stage.asked_rps or 0 for stage in observation.stages), 1]),
    )


def _draw_latencies(axes: Any, plan: ScalingPlan, observation: ProfileObservation) -> None:
    for name, colour, marker in (("p50_ms", BLUE, "."), ("p95_ms", ORANGE, "o"), ("p99_ms", RED, "s")):
        _draw_percentile(axes, observation, name, colour, marker)
    slo = plan.traffic.slo_p95_ms
    axes.axhline(slo, color=GREY, ls="--", lw=1, label=f"SLO of p95: {slo:g} ms")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "25" else "")
    axes.set_ylabel("latency of the answered, ms,\nfrom the intended start")


def _draw_percentile(axes: Any, observation: ProfileObservation, name: str, colour: str, marker: str) -> None:
    """Draw a percentile's points, and a bar for each stage. Without enough samples the legend does not name it."""
    points = [
        ((row.begin + row.end) / 2, value) for row in observation.intervals if (value := getattr(row, name)) is not None
    ]
    bars = [stage for stage in observation.stages if getattr(stage, name) is not None]
    label = name.removesuffix("_ms")
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, marker=marker, ms=4, lw=1.3, label=label)
    for number, stage in enumerate(bars if name != "p50_ms" else []):
        text = f"{label} of a stage" if number == 0 else None
        axes.hlines(getattr(stage, name), stage.begin, stage.end, color=colour, lw=3, alpha=0.25, label=text)


def _draw_instances(axes: Any, observation: ProfileObservation) -> None:
    times = [poll.at for poll in observation.instances]
    counts = [[poll.desired for poll in observation.instances], [poll.current for poll in observation.instances]]
    axes.step(times, counts[0], where="post", color=ORANGE, lw=1.4, ls="--", label="desired")
    axes.step(times, counts[1], where="post", color=BLUE, lw=2, label="in service")
    labels = [
        (_activity_label(each.description, desired_count_in(each)), _points(observation, each.at))
        for each in observation.activities
    ]
    placed = place_beside(labels, axis_points=AXIS_POINTS, size=LABEL_POINTS)
    room = min(0.6, (ROW_POINTS * row_count(placed) + 4) / PANEL_POINTS)
    axes.set_ylim(0, max([*counts[0], *counts[1], 1]) / (1 - room) + 0.1)
    axes.yaxis.get_major_locator().set_params(integer=True)
    for label in placed:
        at, offset = (_fraction(label.left), 1.0), (0, -ROW_POINTS * (label.row + 1))
        axes.annotate(label.text, at, offset, "axes fraction", "offset points", fontsize=LABEL_POINTS, color=PURPLE)
    axes.set_ylabel("instances\n(purple: activities)")


def _draw_last(axes: Any, plan: ScalingPlan, observation: ProfileObservation) -> None:
    """Draw the function's executions and throttles, or the endpoint's 4xx answers when requests went directly to it."""
    if observation.through == "endpoint":
        _draw_refused(axes, observation.series.get("endpoint_4xx", ()), "4xx a minute")
        return
    axes.plot(
        *_steps(observation.series.get("concurrency", ())),
        color=BLUE,
        lw=1.6,
        label="executions at once, most in a minute",
    )
    for name, colour in (("reserved_concurrency", RED), ("provisioned_concurrency", GREEN)):
        if value := plan.value(name):
            axes.axhline(value, color=colour, ls="--", lw=1, label=f"{name.split('_')[0]} {value:g}")
    axes.set_ylabel("Lambda executions")
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    _draw_refused(axes.twinx(), observation.series.get("throttles", ()), "throttles a minute")


def _draw_refused(axes: Any, points: Sequence[MetricPoint], name: str) -> None:
    if not points:
        axes.annotate(
            "CloudWatch counted none", (0.995, 0.9), xycoords="axes fraction", ha="right", fontsize=8, color=RED
        )
    axes.bar(
        [point.at for point in points],
        [point.value for point in points],
        width=[point.until - point.at for point in points],
        align="edge",
        color=RED,
        alpha=0.45,
    )
    axes.set_ylabel(name, color=RED)
    axes.set_ylim(0, max([*(point.value for point in points), 1.0]) * 1.6)
    axes.yaxis.get_major_locator().set_params(integer=True)


# --- What all panels share --------------------------------------------------------------------------------------------


def _dress(axes: Any, observation: ProfileObservation) -> None:
    for stage in observation.stages:
        if stage.name in SHADES:
            axes.axvspan(stage.begin, stage.end, color=SHADES[stage.name], zorder=0, lw=0)
    for activity in observation.activities:
        axes.axvline(activity.at, color=PURPLE, lw=1, ls=":", alpha=0.9)
    axes.set_xlim(0, _end(observation))
    axes.grid(axis="y", alpha=0.3)
    axes.spines["top"].set_visible(False)


def _shade(axes: Any, disturbed: Sequence[DisturbedInterval], name: str) -> None:
    for number, stretch in enumerate(disturbed):
        label = name if name and number == 0 else None
        axes.axvspan(stretch.begin, stretch.end, color=GREY, alpha=0.35, zorder=0.5, lw=0, label=label)


def _stage_labels(plan: ScalingPlan, observation: ProfileObservation) -> Any:
    labels = [
        (stage_name(plan, each.name), _points(observation, each.begin), _points(observation, each.end))
        for each in observation.stages
    ]
    return place_centred(labels, axis_points=AXIS_POINTS, size=LABEL_POINTS)


def _draw_strip(axes: Any, observation: ProfileObservation, names: Any) -> None:
    """Write the stages' names above the panels, in as many rows as they need."""
    rows = row_count(names)
    for label in names:
        at = (_fraction(label.left), 1 - (label.row + 0.5) / rows)
        box = {"boxstyle": "square,pad=0.05", "fc": "white", "ec": "none", "alpha": 0.6}
        style = {"fontsize": LABEL_POINTS, "color": "#444444", "bbox": box}
        axes.annotate(label.text, at, xycoords="axes fraction", va="center", **style)
    for stage in observation.stages[1:]:
        axes.axvline(stage.begin, color=GREY, lw=0.8, zorder=1)
    axes.set_yticks([])
    axes.spines[["left", "right", "bottom"]].set_visible(False)
    axes.tick_params(bottom=False)


def _add_scales(axes: Any, observation: ProfileObservation) -> None:
    scale = observation.time_scale / 60
    axes.set_xlabel("seconds")
    lower = axes.secondary_xaxis(-0.3, functions=(lambda seconds: seconds * scale, lambda minutes: minutes / scale))
    lower.set_xlabel(f"minutes of AWS time; one lasts {1 / scale:.2g} s (time scale {observation.time_scale:g})")


def _activity_label(description: str, wanted: int | None) -> str:
    return f"→ {wanted}" if wanted is not None else one_line(description)[:24]


def _end(observation: ProfileObservation) -> float:
    return max(stage.end for stage in observation.stages)


def _points(observation: ProfileObservation, moment: float) -> float:
    """Return a moment's position on the time axis, in points."""
    return moment / _end(observation) * AXIS_POINTS


def _fraction(points: float) -> float:
    return points / AXIS_POINTS


def _asked(stages: Sequence[Interval]) -> tuple[list[float], list[float]]:
    times = [moment for stage in stages for moment in (stage.begin, stage.end)]
    return times, [stage.asked_rps or 0.0 for stage in stages for _ in range(2)]


def _steps(points: Sequence[MetricPoint]) -> tuple[list[float], list[float]]:
    times = [moment for point in points for moment in (point.at, point.until)]
    return times, [point.value for point in points for _ in range(2)]
