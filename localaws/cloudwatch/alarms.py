"""CloudWatch alarms that are evaluated from the real metrics.

An alarm is evaluated every emulated minute, or every ten emulated seconds if its period is 10 to 30 seconds. It starts
as INSUFFICIENT_DATA, changes with the data, gives its reason and keeps its history. An action that is a scaling policy
is carried out in every evaluation while the alarm stays in its state, as on AWS. Other actions are not emulated; the
history records that.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import moto.cloudwatch.models as moto_models

from localaws.clock import Clock
from localaws.cloudwatch.states import FURTHER_BACK, INSUFFICIENT, OK, OPERATORS, counted, decide
from localaws.histograms import Histogram
from localaws.metrics import MetricName, Metrics
from localaws.periodic import EVALUATE, PeriodicWork

HISTORY_ITEMS = 1_000
FIRST_REASON = "Unchecked: Initial alarm creation"
SCALING_POLICY = ":scalingPolicy:"
KEPT = ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp", "state_transitioned_timestamp")
OPTIONAL = (
    *("metric_data_queries", "datapoints_to_alarm", "extended_statistic", "ok_actions", "insufficient_data_actions"),
    *("unit", "actions_enabled", "treat_missing_data", "evaluate_low_sample_count_percentile"),
    *("threshold_metric_id", "rule", "description"),
)


@dataclass(frozen=True)
class HistoryItem:
    """One line of an alarm's history; `timestamp` in emulated time, without a time zone, as moto wants it."""

    alarm_name: str
    timestamp: datetime
    history_item_type: str
    history_summary: str
    history_data: str
    alarm_type: str = "MetricAlarm"


@dataclass(frozen=True)
class Firing:
    """An evaluation that asks for an action. `value`: the metric in the last period that had data, None if none had."""

    alarm_name: str
    state: str
    value: float | None
    threshold: float
    moment: int


Action = Callable[[str, Firing], bool]  # the action's ARN; False: there is no such policy any more


class Alarm(moto_models.Alarm):
    """moto's record with a state of its own making; moto's serializer finds `AlarmName` by the name of the class."""

    state_transitioned_timestamp: datetime
    items: deque[HistoryItem]

    def __init__(self, *, former: "Alarm | None", now: float, **fields: Any) -> None:
        """Make an alarm that has not been evaluated, or one with the state and history of the `former` of its name."""
        super().__init__(**{**dict.fromkeys(OPTIONAL), "dimensions": [], "alarm_actions": [], **fields})
        self.items = former.items if former else deque(maxlen=HISTORY_ITEMS)
        self.state_value, self.state_reason = INSUFFICIENT, FIRST_REASON
        self.stamp(now)
        for name in KEPT if former else ():
            setattr(self, name, getattr(former, name))
        done = "updated" if former else "created"
        self.remember(now, "ConfigurationUpdate", f'Alarm "{self.name}" {done}', {"type": done.capitalize()[:-1]})

    @property
    def metric(self) -> MetricName:
        """What the alarm watches."""
        dimensions = frozenset((each.name or "", each.value or "") for each in self.dimensions)
        return MetricName(self.namespace, self.metric_name, dimensions)

    def stamp(self, now: float) -> None:
        """Have a state that was set by hand be of now, in emulated time."""
        self.state_updated_timestamp = self.state_transitioned_timestamp = naive(now)

    def turn(self, state: str, reason: str, data: Mapping[str, Any], now: float) -> None:
        """Take a new state, with its reason."""
        before, self.state_value = self.state_value, state
        self.state_reason, self.state_reason_data = reason, json.dumps(data)
        self.stamp(now)
        changed = {"oldState": {"stateValue": before}, "newState": {"stateValue": state, "stateReason": reason}}
        self.remember(now, "StateUpdate", f"Alarm updated from {before} to {state}", changed)

    def actions(self) -> list[str]:
        """Return the actions of the present state."""
        if not self.actions_enabled:
            return []
        of_state = {"OK": self.ok_actions, "ALARM": self.alarm_actions, INSUFFICIENT: self.insufficient_data_actions}
        return list(of_state[self.state_value] or [])

    def remember(self, now: float, kind: str, summary: str, data: Mapping[str, Any]) -> None:
        """Add a line to the history."""
        self.items.append(HistoryItem(self.name, naive(now), kind, summary, json.dumps({"version": "1.0", **data})))


class Alarms:
    """Evaluates the alarms of one account and region."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._scale: Action | None = None
        self._alarms: Mapping[str, Alarm] | None = None

    def scale_by(self, action: Action) -> None:
        """Have `action` carry out what alarms ask of scaling policies."""
        self._scale = action

    def watch(self, alarms: Mapping[str, Alarm], periodic: PeriodicWork) -> None:
        """Evaluate these alarms from the next period on."""
        if self._alarms is None:
            periodic.add(self.evaluate, order=EVALUATE)
        self._alarms = alarms

    def evaluate(self, moment: int) -> None:
        """Evaluate the alarms whose turn it is at `moment`, on the periods that ended by then."""
        for alarm in list((self._alarms or {}).values()):
            if moment % min(60, max(10, alarm.period)) == 0:
                self._evaluate(alarm, moment)

    def _evaluate(self, alarm: Alarm, moment: int) -> None:
        values = self._values(alarm, moment)
        breaches, _ = OPERATORS[alarm.comparison_operator]
        state = decide(
            [None if value is None else breaches(value, alarm.threshold) for value in values],
            periods=alarm.evaluation_periods,
            to_alarm=to_alarm(alarm),
            missing=alarm.treat_missing_data or "missing",
            state=alarm.state_value,
        )
        has_changed = state != alarm.state_value
        if has_changed:
            data = reason_data(alarm, values, moment)
            alarm.turn(state, reason(alarm, values, state, moment), data, self._clock.now())
        self._act(alarm, values, moment, has_changed=has_changed)

    def _values(self, alarm: Alarm, moment: int) -> list[float | None]:
        """Return the statistic in each period of the evaluation range, oldest first."""
        starts = range(moment - (alarm.evaluation_periods + FURTHER_BACK) * alarm.period, moment, alarm.period)
        return [self._value(alarm, start) for start in starts]

    def _value(self, alarm: Alarm, start: int) -> float | None:
        end = start + alarm.period
        found = self._metrics.window(alarm.metric, start, end, alarm.unit)
        if found is None or not alarm.extended_statistic:
            return None if found is None else found.value(alarm.statistic)
        shape = Histogram()
        for series in self._metrics.of(alarm.metric, alarm.unit):
            for part in series.histograms(start, end, alarm.period).values():
                shape.merge(part)
        return shape.percentile(float(alarm.extended_statistic.removeprefix("p")), found.minimum, found.maximum)

    def _act(self, alarm: Alarm, values: list[float | None], moment: int, *, has_changed: bool) -> None:
        latest = counted(values, 1)
        firing = Firing(alarm.name, alarm.state_value, latest[0] if latest else None, alarm.threshold, moment)
        for arn in alarm.actions():
            is_policy = SCALING_POLICY in arn and self._scale is not None
            if is_policy:
                is_done = self._scale is not None and self._scale(arn, firing)
            if has_changed:
                why = "there is no such policy" if is_policy else "not emulated by localaws"
                said = "Successfully executed" if is_policy and is_done else "Failed to execute"
                summary = f"{said} action {arn}" + ("" if is_policy and is_done else f": {why}")
                alarm.remember(self._clock.now(), "Action", summary, {"actionState": said.partition(" ")[0]})


def to_alarm(alarm: Any) -> int:
    """Return M of M out of N."""
    return int(alarm.datapoints_to_alarm or alarm.evaluation_periods)


def reason(alarm: Alarm, values: list[float | None], state: str, moment: int) -> str:
    """Return AWS's sentence for a new state."""
    real = counted(values, alarm.evaluation_periods)
    if state == INSUFFICIENT:
        return f"Insufficient Data: {_some(alarm.evaluation_periods, 'datapoint')} unknown."
    if not real:
        treated = "[Breaching]" if alarm.treat_missing_data == "breaching" else "[NonBreaching]"
        number = alarm.evaluation_periods
        periods = f"{number} period{'s' if number > 1 else ''}"
        return (
            f"Threshold Crossed: no datapoints were received for {periods} and "
            f"{number} missing datapoint{'s were' if number > 1 else ' was'} treated as {treated}."
        )
    breaches, words = OPERATORS[alarm.comparison_operator]
    turn = "ALARM -> OK" if state == OK else "OK -> ALARM"
    shown = [value for value in real if breaches(value, alarm.threshold) == (state != OK)] or real
    verb = "were" if len(shown) > 1 else "was"
    stamps = _stamped(values, shown, alarm.period, moment)
    least = to_alarm(alarm) if state != OK else alarm.evaluation_periods - to_alarm(alarm) + 1
    return (
        f"Threshold Crossed: {len(shown)} out of the last {len(real)} datapoints [{', '.join(stamps)}] {verb} "
        f"{'not ' if state == OK else ''}{words} the threshold ({alarm.threshold}) "
        f"(minimum {least} datapoint{'s' if least > 1 else ''} for {turn} transition)."
    )


def reason_data(alarm: Alarm, values: list[float | None], moment: int) -> dict[str, Any]:
    """Return the machine's form of the reason."""
    return {
        "version": "1.0",
        "queryDate": _iso(moment),
        "startDate": _iso(moment - alarm.evaluation_periods * alarm.period),
        "statistic": alarm.extended_statistic or alarm.statistic,
        "period": alarm.period,
        "recentDatapoints": counted(values, alarm.evaluation_periods),
        "threshold": alarm.threshold,
    }


def naive(second: float) -> datetime:
    """Return a Unix time as moto keeps times: UTC without a time zone."""
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None)


def _stamped(values: list[float | None], shown: list[float], period: int, moment: int) -> list[str]:
    """Return the data points that are shown with their times, newest first, as AWS writes them."""
    left, stamped = list(shown), []
    for back, value in enumerate(reversed(values), start=1):
        if left and value == left[-1]:
            stamped.append(f"{left.pop()} ({naive(moment - back * period):%d/%m/%y %H:%M:%S})")
    return stamped


def _some(number: int, noun: str) -> str:
    return f"{number} {noun}{'s were' if number > 1 else ' was'}"


def _iso(second: int) -> str:
    return f"{naive(second):%Y-%m-%dT%H:%M:%S}.000+0000"
