"""Chooses the endpoint's five scaling numbers: minimum, maximum, target value and the two cooldowns.

`tasks.scaling.endpoint_sizing` computes the values; this module adds formula, inputs with their sources, predictions
and cost. It holds pure functions. All seconds are AWS time; all rates are in real time.
"""

from __future__ import annotations

import math

from tasks.scaling.choice import Choice, Input, Prediction, Stage
from tasks.scaling.endpoint_sizing import EndpointSizing, Span, clip
from tasks.scaling.prices import Prices
from tasks.scaling.rules import (
    COOLDOWN,
    IN_PERIODS,
    IN_THRESHOLD,
    LOAD_TESTING,
    OUT_PERIODS,
    PERIOD_SECONDS,
    TARGET_TRACKING,
    Limits,
)

_COUNT = "DescribeEndpoint CurrentInstanceCount"


def endpoint_choices(sizing: EndpointSizing, prices: Prices, limits: Limits) -> tuple[Choice, ...]:
    """Return the five choices. The account's quota and a shared machine's capacity limit the maximum."""
    most = sizing.most_instances(limits)
    maximum = sizing.maximum if most is None else max(1, min(sizing.maximum, most))
    minimum = min(sizing.minimum, maximum)
    return (
        _minimum(sizing, prices, minimum, maximum),
        _maximum(sizing, limits, maximum),
        _target(sizing, prices, minimum, maximum),
        _scale_out_cooldown(sizing, maximum),
        _scale_in_cooldown(sizing, minimum, maximum),
    )


def _minimum(sizing: EndpointSizing, prices: Prices, minimum: int, maximum: int) -> Choice:
    traffic, rules = sizing.traffic, sizing.rules
    formula = "max(chosen fewest, ⌈baseline / safe rps⌉"
    slope = traffic.ramp_rps_per_second
    ramp = "peak / MAX_RPS (a step)" if math.isinf(slope) else "ramp rps/s × hold / (MAX_RPS − safe rps)"
    formula += f", ⌈{ramp}⌉)" if rules.absorbs_ramp else "); the minimum does not absorb the ramp"
    inputs = (
        Input.chosen("fewest instances", rules.fewest_instances, "instances", "ScalingRules.fewest_instances"),
        Input.chosen("baseline", traffic.baseline_rps, "requests/s", "traffic statement"),
        Input.derived("safe rps", sizing.safe_rps, "requests/s", "MAX_RPS × safety"),
        Input.measured("MAX_RPS", sizing.measured.max_rps_per_instance, "requests/s"),
        Input.chosen("rise", traffic.peak_rps - traffic.baseline_rps, "requests/s", "traffic statement"),
        Input.chosen("ramp", traffic.ramp_seconds, "s", "traffic statement"),
        Input.derived("hold", sizing.hold_seconds, "s", "the longer of scale-out lag and cooldown + minute + start-up"),
    )
    value, low, high = sizing.instances_at(traffic.baseline_rps, maximum)
    return Choice(
        name="min_instances",
        value=minimum,
        unit="instances",
        formula=formula,
        inputs=inputs,
        predicted=_instances("instances_at_baseline", "baseline", value, low, high),
        also=(_instances("instances_after_return", "return", value, low, high),),
        monthly_cost_usd=prices.instances(minimum),
        reason=_why_minimum(sizing, minimum),
    )


def _maximum(sizing: EndpointSizing, limits: Limits, maximum: int) -> Choice:
    traffic = sizing.traffic
    value = clip(sizing.for_rate(traffic.spike_rps), sizing.minimum, maximum)
    low = sizing.instances_at(traffic.peak_rps, maximum)[1]
    quota = "unknown" if limits.instances is None else f"{limits.instances}"
    machine = () if limits.machine_rps is None else (_machine(limits.machine_rps),)
    inputs = (
        Input.chosen("peak", traffic.peak_rps, "requests/s", "traffic statement"),
        Input.derived("safe rps", sizing.safe_rps, "requests/s", "MAX_RPS × safety"),
        Input.chosen("spike", traffic.spike_rps, "requests/s", "traffic statement"),
        Input.measured("MAX_RPS", sizing.measured.max_rps_per_instance, "requests/s"),
        *machine,
    )
    return Choice(
        name="max_instances",
        value=maximum,
        unit="instances",
        formula="max(min, ⌈peak / safe rps⌉, ⌈spike / MAX_RPS⌉)"
        + (", at most ⌊this machine / safe rps⌋" if machine else ""),
        inputs=inputs,
        predicted=_instances("instances_at_spike", "spike", value, min(low, value), maximum),
        monthly_cost_usd=0.0,
        reason="the instances carry the peak at the target value and the spike at MAX_RPS; more would only cost "
        f"(the account's quota: {quota})",
    )


def _target(sizing: EndpointSizing, prices: Prices, minimum: int, maximum: int) -> Choice:
    traffic, measured = sizing.traffic, sizing.measured
    average = sizing.mean_instances(maximum)
    value, low, high = sizing.instances_at(traffic.peak_rps, maximum)
    inputs = (
        Input.measured("MAX_RPS", measured.max_rps_per_instance, "requests/s"),
        Input.documented("start safety", sizing.rules.safety_factor, "", f"start with 0.5: {LOAD_TESTING}"),
        Input.chosen("peak", traffic.peak_rps, "requests/s", "traffic statement"),
        Input.chosen("spike", traffic.spike_rps, "requests/s", "traffic statement"),
        Input.documented("minute", PERIOD_SECONDS, "s", f"the metric is per minute: {LOAD_TESTING}"),
        Input.chosen(
            "time scale", measured.time_scale, "", "a minute of AWS time lasts 60 / scale seconds; 1 on real AWS"
        ),
    )
    p95 = measured.service_p95_ms.value
    return Choice(
        name="target_value",
        value=round(sizing.target, 3),
        unit="invocations/instance/minute",
        formula="MAX_RPS × min(start safety, peak / spike) × minute / time scale"
        if sizing.rules.bears_spike
        else "MAX_RPS × start safety × minute / time scale",
        inputs=inputs,
        predicted=_instances("instances_at_peak", "peak", value, low, high),
        also=(
            Prediction(
                "endpoint_p95_at_peak",
                "p95 of the endpoint at peak",
                p95,
                "ms",
                0.0,
                traffic.slo_p95_ms,
                "peak",
                "LoadReport.p95_ms of the peak's stage, directly at the endpoint",
                noise=measured.noise_ms,
            ),
            Prediction(
                "errors_at_peak",
                "requests that fail at peak",
                0.0,
                "share",
                0.0,
                traffic.max_error_rate,
                "peak",
                "LoadReport.failures / requests of the peak's stage, throttles left out",
            ),
        ),
        monthly_cost_usd=prices.instances(average - minimum),
        reason=f"each instance is meant to carry {sizing.safety:.0%} of its MAX_RPS: an added instance serves only "
        f"{sizing.lag.value:.0f} s later, and a spike comes sooner; {average:.2f} instances on average",
    )


def _scale_out_cooldown(sizing: EndpointSizing, maximum: int) -> Choice:
    startup, to_peak = sizing.measured.instance_startup_seconds, _to_peak(sizing, maximum)
    return Choice(
        name="scale_out_cooldown",
        value=sizing.scale_out_cooldown,
        unit="s",
        formula="start-up + one minute, in whole minutes",
        inputs=(
            Input.measured("start-up", startup, "s"),
            Input.documented("minute", PERIOD_SECONDS, "s", f"the metric's period: {TARGET_TRACKING}"),
        ),
        predicted=to_peak,
        also=tuple(
            _seconds(f"lag_{name}", what, "ramp", span, seen, sizing.noise_seconds)
            for name, what, span, seen in (
                (
                    "metric",
                    "load above the target → first minute above it is over",
                    sizing.metric,
                    "CloudWatch's first sum",
                ),
                (
                    "decision",
                    "first minute above the target → scaling activity",
                    sizing.decision,
                    "DescribeScalingActivities StartTime",
                ),
                ("startup", "activity → instance in service", sizing.startup, _COUNT),
                ("total", "load above the target → first added instance in service", sizing.lag, _COUNT),
            )
            if to_peak.high  # otherwise no instance is added between baseline and peak
        ),
        monthly_cost_usd=0.0,
        reason="a shorter cooldown would start the same instances twice, because the metric does not show them yet; a "
        "longer one would delay the next scale-out of a load that still grows (AWS's default is 300 s)",
    )


def _scale_in_cooldown(sizing: EndpointSizing, minimum: int, maximum: int) -> Choice:
    cooldown = sizing.scale_in_cooldown
    begin, end = sizing.instances_at(sizing.traffic.spike_rps, maximum)[0], minimum
    span = sizing.scale_in(begin, end)
    below = f"{IN_PERIODS} minutes below {IN_THRESHOLD:.0%} of the target"
    return Choice(
        name="scale_in_cooldown",
        value=cooldown,
        unit="s",
        formula="longest scale-out (two minutes of metric, decision, start-up), in whole minutes",
        inputs=(
            Input.documented("metric", 2 * PERIOD_SECONDS, "s", f"the minute of the rise, then one more: {COOLDOWN}"),
            Input.derived(
                "decision", sizing.decision.high, "s", f"{OUT_PERIODS} minutes above the target: {TARGET_TRACKING}"
            ),
            Input.measured("start-up", sizing.measured.instance_startup_seconds, "s"),
        ),
        predicted=_seconds(
            "seconds_to_baseline_instances",
            f"return → {end} instance{'' if end == 1 else 's'} ({below})",
            "return",
            span,
            _COUNT,
            sizing.noise_seconds,
        ),
        monthly_cost_usd=0.0,
        reason="an instance that was removed too soon is back before the next one is removed (AWS's default is 300 s)",
    )


def _to_peak(sizing: EndpointSizing, maximum: int) -> Prediction:
    """Predict when the peak's instances serve. The last one is requested once the load exceeds the others' target."""
    traffic = sizing.traffic
    start = sizing.instances_at(traffic.baseline_rps, maximum)[0]
    peak = sizing.instances_at(traffic.peak_rps, maximum)[0]
    what = f"rise → {peak} instances in service"
    seen = f"{_COUNT} against the profile's first request above the baseline"
    if peak <= start:
        return _seconds("seconds_to_peak_instances", what, "ramp", Span(0.0, 0.0, 0.0), seen, sizing.noise_seconds)
    slope = traffic.ramp_rps_per_second
    until = 0.0 if math.isinf(slope) else max(0.0, ((peak - 1) * sizing.safe_rps - traffic.baseline_rps) / slope)
    steps = sizing.scale_out_steps(start, traffic.peak_rps, maximum)
    between = sizing.scale_out_cooldown + PERIOD_SECONDS
    high = traffic.ramp_seconds + steps * sizing.lag.high + between
    value = min(high, until + sizing.lag.value + (steps - 1) * (sizing.startup.value + between))
    span = Span(value, sizing.lag.low, high)
    return _seconds("seconds_to_peak_instances", what, "ramp", span, seen, sizing.noise_seconds)


def _why_minimum(sizing: EndpointSizing, minimum: int) -> str:
    traffic = sizing.traffic
    base = sizing.for_rate(traffic.baseline_rps)
    if minimum > max(base, sizing.rules.fewest_instances):
        return (
            f"the baseline needs {base}; {minimum} also carry the load that the ramp adds in "
            f"{sizing.hold_seconds:.0f} s, until the next instance serves"
        )
    return (
        f"these instances carry the baseline of {traffic.baseline_rps:g} requests/s at the target value, and the ramp "
        "until the next instance serves"
    )


def _instances(name: str, stage: Stage, value: int, low: int, high: int) -> Prediction:
    seen = f"{_COUNT} when the stage ends"
    return Prediction(name, name.replace("_", " "), value, "instances", low, high, stage, seen)


def _seconds(name: str, what: str, stage: Stage, span: Span, seen: str, noise: float) -> Prediction:
    value, low, high = (round(each, 1) for each in (span.value, span.low, span.high))
    return Prediction(name, what, value, "s", low, high, stage, seen, round(noise, 1))


def _machine(rps: float) -> Input:
    return Input("this machine", rps, "requests/s", "measured", "all instances of the embedded AWS share this machine")
