"""Scenes that make each kind of kennel's resources by kennel's own code, and that take seconds, for lost answers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tasks.account.bucket import ensure_bucket
from tasks.account.lifecycle import captured_rule, put_rule
from tasks.account.objects import put_object, send_file
from tasks.account.prices import choose_hosting_instance, choose_notebook_instance, choose_training_instance
from tasks.account.role_policies import RoleSpec, endpoint_role, training_role
from tasks.account.roles import ensure_log_group, ensure_role
from tasks.ec2.launch import launch
from tasks.ec2.plan import plan_instance
from tasks.ec2.prices import choose_instances
from tasks.ec2.profile import ensure_instance_profile
from tasks.ec2.terminate import end_instances
from tasks.model.code import build_lambda_zip, stage_training_code
from tasks.notebook.instance import ensure_notebook, start_notebook, stop_notebook
from tasks.notebook.records import NotebookPlan
from tasks.notebook.role import notebook_role
from tasks.promotion.guards import Guard, ensure_guards, remove_guards
from tasks.registry.packages import APPROVED, settle
from tasks.registry.register import register_model
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, Hyperparameters
from tasks.run.settings import Settings
from tasks.sagemaker.job import create_job, find_job
from tasks.sagemaker.job_plan import TrainingPlan
from tasks.serving.autoscaling import AutoscalingPlan, ensure_autoscaling, suspend_scaling
from tasks.serving.concurrency import ConcurrencyPlan, ensure_concurrency
from tasks.serving.endpoint import ensure_endpoint
from tasks.serving.endpoint_plan import EndpointPlan, guard_prefix
from tasks.serving.function import FunctionPlan, ensure_function, function_log_group
from tasks.serving.instances import set_instance_count
from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, IMAGE, pack
from tests.tasks.ec2.instances import default_access, default_network
from tests.tasks.registry.trained_runs import trained_run

DATA = f"datasets/{'a' * 64}"
TWO_PARTS = bytes(9 * 2**20)
ROLE = RoleSpec("kennel-scene", "lambda.amazonaws.com", (), "A role for a scene")


def account(url: str, folder: Path) -> Aws:
    """Return the account of a server, whose calls are sent twice at most."""
    return Aws(
        Settings(
            endpoint_url=url,
            region="us-east-1",
            ssh_from="127.0.0.1/32",
            max_attempts=2,
            home=folder / "home",
            runs=folder / "runs",
        )
    )


def storage(run: Run) -> None:
    """Make the bucket with a rule, an object, an object in parts, and an upload that was never completed."""
    bucket = ensure_bucket(run)
    put_rule(run.aws, bucket, captured_rule(run.id, 7))
    put_object(run.aws, bucket, f"{DATA}/manifest.json", b"{}", content_type="application/json", only_if_new=True)
    path = run.folder / "weights"
    path.write_bytes(TWO_PARTS)
    send_file(run.aws, path, bucket, f"runs/{run.id}/weights", "send")
    run.aws.client("s3").create_multipart_upload(Bucket=bucket, Key=f"runs/{run.id}/incomplete")


def training(run: Run) -> None:
    """Start a job, which the teardown stops."""
    dataset = _dataset(run)
    code = run.folder / "code"
    plan = TrainingPlan(
        run_id=run.id,
        image=IMAGE.replace("inference", "training"),
        role_arn=ensure_role(run, training_role(run.aws, run.id, dataset, None)),
        instance=choose_training_instance("us-east-1", finetune=False),
        instance_count=1,
        spot=False,
        max_runtime_seconds=600,
        max_wait_seconds=600,
        hyperparameters=Hyperparameters(backbone="resnet50", epochs=1),
        dataset=dataset,
        weights=None,
        code_dir=code,
        code_digest=stage_training_code(code),
        git_commit=None,
    )
    found = find_job(run.aws, plan)
    if found.description is None:
        create_job(run, plan, found.name)


def serving(run: Run) -> None:
    """Make an endpoint of two instances by an update, then scale it."""
    uri = f"s3://{ensure_bucket(run)}/runs/{run.id}/output/model.tar.gz"
    put_object(run.aws, run.aws.bucket, uri.split("/", 3)[3], pack({"code/inference.py": ECHO}), content_type="x/y")
    group = f"/aws/sagemaker/Endpoints/kennel-{run.id}-endpoint"
    ensure_log_group(run, group)
    role = ensure_role(run, endpoint_role(run.aws, run.id, [uri], group, image=IMAGE))
    plan = EndpointPlan(run.id, IMAGE, uri, role, choose_hosting_instance("us-east-1"), 1, deadline_seconds=120.0)
    ensure_endpoint(run, plan)
    endpoint = ensure_endpoint(run, replace(plan, instance_count=2))
    ensure_autoscaling(run, _scaling(run, endpoint))
    suspend_scaling(run.aws, endpoint.name, endpoint.variant)
    set_instance_count(run.aws, endpoint, 1, photo=b"photo", deadline_seconds=120.0)


def function(run: Run) -> None:
    """Make a function, change it, and provision it."""
    ensure_log_group(run, function_log_group(run.id))
    role = replace(ROLE, name=f"kennel-{run.id}-classify", statements=(_STATEMENT,))
    plan = _function_plan(run, "1", role.name, ensure_role(run, role))
    ensure_role(run, replace(role, source_account=run.aws.account_id))  # another trust policy
    ensure_function(run, plan)
    changed = replace(_function_plan(run, "2", role.name, plan.role_arn), timeout_seconds=20)
    made: FunctionRef = ensure_function(run, changed)
    for provisioned in (1, 0):
        made, _ = ensure_concurrency(run, ConcurrencyPlan(made, 512, 2, provisioned))
    ensure_concurrency(run, ConcurrencyPlan(made, 512, None, 1))


def instances(run: Run) -> None:
    """Launch an instance, from another address the second time."""
    role = replace(ROLE, name=f"kennel-{run.id}-instance", service="ec2.amazonaws.com", statements=(_STATEMENT,))
    access, profile = default_access(run), ensure_instance_profile(run, role)
    candidates = choose_instances(finetune=False, requested="c7i.xlarge")
    launch(
        run,
        plan_instance(
            run,
            access=access,
            network=default_network(run.aws),
            profile=profile,
            candidates=candidates,
            spot=False,
            number=1,
        ),
    )
    group, rule = access.group_id, {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80}
    other = [{**rule, "IpRanges": [{"CidrIp": "192.0.2.1/32"}]}]
    run.aws.client("ec2").authorize_security_group_ingress(GroupId=group, IpPermissions=other)
    default_access(run)
    end_instances(run)


def registry(run: Run) -> None:
    """Register a model in a group, approve it, and make an alarm that is changed and removed."""
    name = f"lost {run.id}"
    trained_run(run.aws, run.id, name)
    version = register_model(run)
    settle(run.aws, version.arn, APPROVED, "better")
    guard = Guard(f"{guard_prefix(run.id)}errors", "Invocation5XXErrors", "Average", 0.01)
    ensure_guards(run, (guard,))
    ensure_guards(run, (replace(guard, threshold=0.02),))
    remove_guards(run)


def notebook(run: Run) -> None:
    """Make a notebook instance, change its idle time and its type, and start it again."""
    role = ensure_role(run, notebook_role(run.aws, run.id, None))
    plan = NotebookPlan(run.id, role, choose_notebook_instance("us-east-1"), 60)
    ensure_notebook(run, plan)
    stop_notebook(run.aws, run.id)
    ensure_notebook(run, replace(plan, instance=choose_notebook_instance("us-east-1", "ml.t3.large"), idle_minutes=30))
    start_notebook(run.aws, run.id)


SCENES: Mapping[str, Callable[[Run], None]] = {
    "storage": storage,
    "training": training,
    "serving": serving,
    "function": function,
    "instances": instances,
    "notebook": notebook,
    "registry": registry,
}
_STATEMENT = {"Effect": "Allow", "Action": ["logs:PutLogEvents"], "Resource": ["*"]}


def _dataset(run: Run) -> DatasetRef:
    """Put what a job reads into the bucket."""
    bucket = ensure_bucket(run)
    for key in ("train/0.tar", "validation/0.tar", "test/0.tar", "manifest.json"):
        put_object(run.aws, bucket, f"{DATA}/{key}", b"x", content_type="x/y")
    return DatasetRef(bucket, DATA, "a" * 64, "n", ("x", "y"), {"test": {"x": 1, "y": 1}}, 4, 0, "scene")


def _scaling(run: Run, endpoint: EndpointRef) -> AutoscalingPlan:
    return AutoscalingPlan(run.id, endpoint.name, endpoint.variant, "ml.m5.large", 1, 4, 600.0, 180, 420, 120.0)


def _function_plan(run: Run, answer: str, role_name: str, role_arn: str) -> FunctionPlan:
    source = Path(run.folder / f"source-{answer}")
    source.mkdir(exist_ok=True)
    (source / "handler.py").write_text(f"def handler(event, context):\n    return {answer}\n")
    path = run.folder / f"{answer}.zip"
    return FunctionPlan(run.id, "e", role_name, role_arn, path, build_lambda_zip(path, source))
