"""One picture of a profile's run: rates, latencies, instances, concurrency and throttles on one time axis.

The lower axis is real seconds, the upper one AWS's minutes. matplotlib is imported when a picture is drawn, with its
Agg canvas and without pyplot: nothing global changes, and no display is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.observed import desired_by
from tasks.profile_records import Point, Seen, Stretch
from tasks.scaling_choice import ScalingPlan
from tasks.verdicts import Verdict, failed

WIDTH_INCHES, HEIGHT_INCHES, DPI = 12.0, 11.0, 110
BLUE, ORANGE, GREEN, RED, GREY, PURPLE = "#1f6fb4", "#e07b00", "#2a8c3c", "#c62828", "#8a8a8a", "#7b4fa3"
SHADES = {"ramp": "#fff3d6", "peak": "#ffe3b8", "spike": "#ffd0c2"}


def draw(plan: ScalingPlan, seen: Seen, verdicts: Sequence[Verdict], folder: Path) -> Path:
    """Write `profile.png` and `profile.svg` into a folder; return the first one's path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    rates, latencies, instances, executions = figure.subplots(4, 1, sharex=True, height_ratios=(3, 3, 2.2, 2.4))
    _draw_rates(rates, seen)
    _draw_latencies(latencies, plan, seen)
    _draw_instances(instances, seen)
    _draw_executions(executions, plan, seen)
    end = max(stage.end for stage in seen.stages)
    for axes in (rates, latencies, instances, executions):
        _dress(axes, seen, end)
    _name_stages(rates, seen)
    _add_aws_minutes(rates, seen)
    executions.set_xlabel(
        f"seconds; a minute of AWS's lasts {60 / seen.time_scale:g} s (time scale {seen.time_scale:g})"
    )
    figure.suptitle(_title(plan, seen, verdicts), fontsize=12, ha="left", x=0.01)
    path = folder / "profile.png"
    figure.savefig(path)
    figure.savefig(folder / "profile.svg")
    return path


def _draw_rates(axes: Any, seen: Seen) -> None:
    edges = list(range(len(seen.seconds) + 1))
    axes.plot(*_asked(seen.stages), color=GREY, lw=1, ls="--", label="asked for")
    for column, (name, colour) in enumerate((("offered (drawn)", BLUE), ("served", GREEN), ("failed", RED))):
        axes.stairs([row[column] for row in seen.seconds], edges, color=colour, lw=1.8 - 0.3 * column, label=name)
    axes.set_ylabel("requests/s")
    axes.set_ylim(0, 1.25 * max([*(row[0] for row in seen.seconds), 1]))
    axes.legend(loc="upper right", ncols=4, fontsize=8)


def _draw_latencies(axes: Any, plan: ScalingPlan, seen: Seen) -> None:
    for name, colour, marker in (("p50_ms", BLUE, "."), ("p95_ms", ORANGE, "o"), ("p99_ms", RED, "s")):
        told = [(row, value) for row in seen.intervals if (value := getattr(row, name)) is not None]
        middle, values = [(row.begin + row.end) / 2 for row, _ in told], [value for _, value in told]
        axes.plot(middle, values, color=colour, marker=marker, ms=4, lw=1.3, label=name.removesuffix("_ms"))
    for stage in seen.stages:
        for name, colour in (("p95_ms", ORANGE), ("p99_ms", RED)):
            value = getattr(stage, name)
            if value is not None:
                axes.hlines(value, stage.begin, stage.end, color=colour, lw=3, alpha=0.25)
    axes.axhline(
        plan.traffic.slo_p95_ms, color=GREY, ls="--", lw=1, label=f"SLO of p95: {plan.traffic.slo_p95_ms:g} ms"
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "25" else "")
    axes.set_ylabel("latency, ms, from the\nintended start (bars: stages)")
    axes.legend(loc="upper right", ncols=4, fontsize=8)


def _draw_instances(axes: Any, seen: Seen) -> None:
    looks = seen.instances
    times = [look.at for look in looks]
    desired = [look.desired for look in looks]
    current = [look.current for look in looks]
    axes.step(times, desired, where="post", color=ORANGE, lw=1.4, ls="--", label="desired")
    axes.step(times, current, where="post", color=BLUE, lw=2, label="in service")
    top = max([*desired, *current, 1])
    axes.set_ylim(0, top + 1.4)
    axes.yaxis.get_major_locator().set_params(integer=True)
    for activity in seen.activities:
        wanted = desired_by(activity)
        axes.annotate(
            f"→ {wanted}" if wanted is not None else activity.description[:24],
            (activity.at, top + 0.15),
            xytext=(2, 6),
            textcoords="offset points",
            fontsize=9,
            color=PURPLE,
        )
    axes.set_ylabel("instances\n(purple: activities)")
    axes.legend(loc="upper right", ncols=2, fontsize=8)


def _draw_executions(axes: Any, plan: ScalingPlan, seen: Seen) -> None:
    concurrency = seen.series.get("concurrency", ())
    axes.plot(*_steps(concurrency), color=BLUE, lw=1.6, label="executions at once (max. of a minute)")
    if seen.through == "function":
        for name, colour in (("reserved_concurrency", RED), ("provisioned_concurrency", GREEN)):
            axes.axhline(
                plan.value(name), color=colour, ls="--", lw=1, label=f"{name.split('_')[0]} {plan.value(name):g}"
            )
    refused = seen.series.get("throttles" if seen.through == "function" else "endpoint_4xx", ())
    counts = axes.twinx()
    counts.bar(
        [point.at for point in refused],
        [point.value for point in refused],
        width=[point.until - point.at for point in refused],
        align="edge",
        color=RED,
        alpha=0.45,
    )
    counts.set_ylabel("throttles a minute" if seen.through == "function" else "4xx a minute", color=RED)
    counts.set_ylim(0, max([*(point.value for point in refused), 1.0]) * 1.6)
    counts.yaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("Lambda executions")
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    axes.legend(loc="upper right", ncols=3, fontsize=8)


def _dress(axes: Any, seen: Seen, end: float) -> None:
    for stage in seen.stages:
        if stage.name in SHADES:
            axes.axvspan(stage.begin, stage.end, color=SHADES[stage.name], zorder=0, lw=0)
    for activity in seen.activities:
        axes.axvline(activity.at, color=PURPLE, lw=1, ls=":", alpha=0.9)
    axes.set_xlim(0, end)
    axes.grid(axis="y", alpha=0.3)
    axes.spines["top"].set_visible(False)


def _name_stages(axes: Any, seen: Seen) -> None:
    for stage in seen.stages:
        at = ((stage.begin + stage.end) / 2, 0.84)  # under the legend
        axes.annotate(stage.name, at, xycoords=("data", "axes fraction"), ha="center", fontsize=9, color="#444444")


def _add_aws_minutes(axes: Any, seen: Seen) -> None:
    scale = seen.time_scale / 60
    upper = axes.secondary_xaxis("top", functions=(lambda seconds: seconds * scale, lambda minutes: minutes / scale))
    upper.set_xlabel("AWS's minutes", fontsize=9)


def _asked(stages: Sequence[Stretch]) -> tuple[list[float], list[float]]:
    times = [moment for stage in stages for moment in (stage.begin, stage.end)]
    return times, [stage.asked_rps or 0.0 for stage in stages for _ in range(2)]


def _steps(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    times = [moment for point in points for moment in (point.at, point.until)]
    return times, [point.value for point in points for _ in range(2)]


def _title(plan: ScalingPlan, seen: Seen, verdicts: Sequence[Verdict]) -> str:
    lost = failed(verdicts)
    state = f"{len(verdicts)} verdicts passed" if not lost else f"{len(lost)} of {len(verdicts)} verdicts did not pass"
    counts, traffic = seen.counts, plan.traffic
    way = "through the alias" if seen.through == "function" else "directly at the endpoint"
    rates = f"{traffic.baseline_rps:g} → {traffic.peak_rps:g} → {traffic.spike_rps:g} requests/s"
    sums = f"{counts.sent} sent = {counts.answered} answered + {counts.failed} failed"
    target = f"target {plan.value('target_value'):g} invocations/instance/minute"
    return f"{seen.target}, {way}: {state}\n{rates}; {sums}; {target}; time scale {seen.time_scale:g}"
