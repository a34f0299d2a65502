"""Records of an endpoint whose model was trained anew, judged, promoted, and whose requests were looked at."""

from tasks.drift.report import ClassShare, DriftReport, DriftTest
from tasks.gate.gate import GateRecord
from tasks.promotion.agreement import Agreement
from tasks.promotion.canary import Canary
from tasks.promotion.promote import Promotion
from tasks.retraining.record import Retraining
from tasks.serving.releases import Release, Releases

AT = "2026-11-28T03:00:00+00:00"
OWN = Release("", "", "version 1 of kennel-dogs", "dogs-1a2b3c4d", "s3://b/1", "", "s3://b/t1", AT, "deployed")
NEW = Release("arn:p/2", "p", "version 2 of kennel-dogs", "dogs-9z8y7x6w", "s3://b/2", "i", "s3://b/t2", AT, "better")
RETRAINING = Retraining(AT, "promoted", "better: shown", "dogs-9z8y7x6w", "d", "c", "t")
RELEASES = Releases((OWN, NEW))
PROMOTION = Promotion(NEW, "config-2", "1 of 3 instances first", "promoted", "better", AT, is_rollback=False)
CANARY = Canary("classify", "1", "2", 0.1, 400, 39, 0, 59, 44, 0, "live", "no alarm rang", AT)
AGREEMENT = Agreement("version 1", "version 2", 240, 41, 38, 0.8, 0.98, 0.6, "agree")
DECISION = GateRecord(
    champion="s3://b/1",
    challenger="s3://b/2",
    evaluation_set="e",
    photos=252,
    verdict="better",
    only_champion=3,
    only_challenger=21,
    champion_accuracy=0.8,
    challenger_accuracy=0.8714,
    low=0.0352,
    high=0.1081,
    p_value=0.00014,
    log_loss=-0.2,
    power=0.35,
    photos_needed=700,
    rules=("class x: 0.01 lost, at most 0.05",),
    broken=(),
    asked="better",
    may_be_promoted=True,
    champion_ms=11.0,
    challenger_ms=12.5,
)
DRIFT = DriftReport(
    endpoint="kennel-dogs-1a2b3c4d",
    since="2026-11-27T03:00:00+00:00",
    until=AT,
    requests=900,
    photos=300,
    unusable=0,
    reference_photos=252,
    level=0.05,
    tests=(DriftTest("photos", 0.02, 0.001, has_changed=True), DriftTest("classes", 1.2, 0.5, has_changed=False)),
    classes=(ClassShare("x", 0.5, 0.7), ClassShare("y", 0.5, 0.3)),
)
