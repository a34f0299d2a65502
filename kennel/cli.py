"""The command line: arguments in, exit code out. Everything heavy is imported when a command needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Group, Parameter
from cyclopts.validators import Number

from kennel import REFERENCE_DATA, __version__
from kennel.terminal.console import begin, end, print_error
from kennel.terminal.journey import load_seconds as test_seconds
from kennel.terminal.journey import run_stages

WRONG_USAGE = 2
INTERRUPTED = 130

HELP = f"""From a zip of photos to a load-tested SageMaker endpoint behind a Lambda function.

Without AWS_ENDPOINT_URL and without KENNEL_ACCOUNT_ID, everything
happens on this machine: kennel starts an embedded AWS and Prefect's
server under .kennel/. `export KENNEL_ACCOUNT_ID=<12 digits>` means that
real account, and costs money. The reference dataset for AWS:
{REFERENCE_DATA}

Exit codes:
   0  done
   1  unexpected
   2  wrong usage, setting or target
   3  the data was refused; nothing was created
   4  the download failed
   5  AWS refused or did not answer
   6  not ours: a resource or a ledger
   7  another process works on the run
   8  a deadline passed
   9  a stage failed: training job, endpoint, function, load test,
      or a verdict of it on the scaling plan: a deploy stops here
  10  the teardown is incomplete
  11  the load test was inconclusive: this machine was disturbed
 130  interrupted
"""

app = App(name="kennel", help=HELP, help_format="plaintext", version=__version__, suppress_keyboard_interrupt=False)
notebook = App(name="notebook", help="A run's SageMaker notebook instance; it stops by itself when it is idle.")
app.command(notebook)
DATA = Group("Data and model")
MACHINES = Group("Machines")
LOAD = Group("Load test")
TRAFFIC = Group("Traffic to plan for (checked)")
PLAN = Group("Scaling plan (checked)")
EMBEDDED = Group("The embedded AWS")

Data = Annotated[
    str | None,
    Parameter(
        group=DATA, help="A URL, a .zip, a folder, or `sample`; default `sample`, on real AWS the reference dataset."
    ),
]
Backbone = Annotated[str, Parameter(group=DATA, help="resnet50, efficientnet_lite0, ...")]
Weights = Annotated[Path | None, Parameter(group=DATA, help="A .safetensors file for the backbone.")]
Epochs = Annotated[int | None, Parameter(group=DATA, help="Epochs of the head at most.")]
Views = Annotated[
    int | None,
    Parameter(group=DATA, help="Views of each training image; default 8 for few images, down to 1 for many."),
]
BatchSize = Annotated[int | None, Parameter(group=DATA)]
LearningRate = Annotated[float | None, Parameter(group=DATA)]
Seed = Annotated[int, Parameter(group=DATA)]
Finetune = Annotated[bool, Parameter(group=DATA, negative="", help="Train the backbone too (GPU).")]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative="", help="Nothing but the result and errors.")]
Verbose = Annotated[
    bool, Parameter(name=["--verbose", "-v"], negative="", help="Every line, as runs/<id>/kennel.log has it.")
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="End with one JSON object on stdout.")]
RunName = Annotated[str | None, Parameter(help="A run id, as `kennel status` lists them.")]
NotebookOf = Annotated[str, Parameter(help="The run whose notebook instance it is.")]
Url = Annotated[
    bool, Parameter(name="--url", negative="", help="Print the address that opens it: a secret, good for 5 minutes.")
]


@app.command
def run(
    *,
    data: Data = None,
    backbone: Backbone = "efficientnet_lite0",
    weights: Weights = None,
    epochs: Epochs = None,
    views: Views = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    seed: Seed = 0,
    finetune: Finetune = False,
    instances: Annotated[int, Parameter(group=MACHINES, help="Training instances.")] = 1,
    instance_type: Annotated[str | None, Parameter(group=MACHINES, help="Instead of the one chosen.")] = None,
    spot: Annotated[bool, Parameter(group=MACHINES, negative="", help="Spot instances, with checkpoints.")] = False,
    max_runtime_seconds: Annotated[int, Parameter(group=MACHINES, help="Limit of the training job.")] = 3600,
    ec2_instances: Annotated[
        int, Parameter(group=MACHINES, help="Train on this many EC2 instances over SSH too, and compare; 0 = not.")
    ] = 0,
    endpoint_instances: Annotated[int, Parameter(group=MACHINES)] = 1,
    endpoint_instance_type: Annotated[str | None, Parameter(group=MACHINES)] = None,
    allow_host: Annotated[
        tuple[str, ...],
        Parameter(
            group=MACHINES,
            negative="",
            help="host:port that the function may fetch from though it is not public; default on the embedded AWS: "
            "any port of loopback, on real AWS: none.",
        ),
    ] = (),
    load_test: Annotated[bool, Parameter(name="--loadtest", group=LOAD, help="Load-test what was deployed.")] = True,
    load_rate_per_second: Annotated[float, Parameter(group=LOAD, help="Requests a second.")] = 10.0,
    load_seconds: Annotated[float, Parameter(group=LOAD)] = 10.0,
    load_mode: Annotated[
        Literal["steady", "checked"],
        Parameter(group=LOAD, help="One rate, or a scaling plan that is derived, applied and put to the test."),
    ] = "steady",
    run_id: Annotated[str | None, Parameter(help="Default: made from the arguments, so that a repeat adopts.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Stage, train, deploy, load-test, report. The same command again adopts what exists."""
    stages, expects = run_stages(ec2=ec2_instances > 0, load_test=load_test), test_seconds(load_mode, load_seconds)
    begin("kennel run", stages, expects=expects, quiet=quiet, verbose=verbose)
    parameters = {
        "backbone": backbone,
        "weights": None if weights is None else str(weights.resolve()),
        "epochs": epochs,
        "views": views,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "finetune": finetune,
        "instances": instances,
        "instance_type": instance_type,
        "spot": spot,
        "max_runtime_seconds": max_runtime_seconds,
        "ec2_instances": ec2_instances,
        "endpoint_instances": endpoint_instances,
        "endpoint_instance_type": endpoint_instance_type,
        "load_test": load_test,
        "load_rate_per_second": load_rate_per_second,
        "load_seconds": load_seconds,
        "load_mode": load_mode,
        "run_id": run_id,
    }
    from kennel.commands import run as running

    return running.run(parameters, data=data, allowed_hosts=allow_host, as_json=json)


@app.command
def demo(*, json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> int:
    """Run the whole way on sample images, on this machine, at a pace that fits it; the same command again adopts."""
    begin("kennel demo", run_stages(ec2=True, load_test=True), quiet=quiet, verbose=verbose)
    from kennel.commands import demo as sample
    from kennel.commands import run as running

    share = sample.prepare().share
    parameters = {**sample.PARAMETERS, "load_pace": share}
    return running.run(
        parameters, data=running.SAMPLE, allowed_hosts=(), as_json=json, options=sample.options_at(share)
    )


@app.command
def train_ec2(
    *,
    data: Data = None,
    backbone: Backbone = "efficientnet_lite0",
    weights: Weights = None,
    epochs: Epochs = None,
    views: Views = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    seed: Seed = 0,
    finetune: Finetune = False,
    instances: Annotated[int, Parameter(group=MACHINES, help="EC2 instances; torchrun across them.")] = 1,
    instance_type: Annotated[str | None, Parameter(group=MACHINES, help="Instead of the ones chosen.")] = None,
    spot: Annotated[bool, Parameter(group=MACHINES, negative="", help="Spot first, with checkpoints.")] = False,
    max_runtime_seconds: Annotated[int, Parameter(group=MACHINES, help="Limit of the training.")] = 3600,
    keep_on_failure: Annotated[
        str | None, Parameter(group=MACHINES, help="Keep a failed instance so long, 10m to 4h, for a look by ssh.")
    ] = None,
    run_id: Annotated[str | None, Parameter(help="Default: the run that `kennel run` has for these arguments.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Train on EC2 over SSH what `run` trains on SageMaker; compare the two if the run has both."""
    begin("kennel train-ec2", ("servers", "stage_data", "train_ec2"), quiet=quiet, verbose=verbose)
    parameters = {
        "backbone": backbone,
        "weights": None if weights is None else str(weights.resolve()),
        "epochs": epochs,
        "views": views,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "finetune": finetune,
        "instances": instances,
        "instance_type": instance_type,
        "spot": spot,
        "max_runtime_seconds": max_runtime_seconds,
    }
    from kennel.commands import train_ec2 as running_ec2

    return running_ec2.train(parameters, data=data, run_id=run_id, keep_on_failure=keep_on_failure, as_json=json)


@app.command
def loadtest(
    run_id: Annotated[str, Parameter(help="The run whose deployment it is.")],
    /,
    *,
    mode: Annotated[
        Literal["steady", "checked"],
        Parameter(group=LOAD, help="One rate, or a scaling plan: measured, derived, applied, put to the test."),
    ] = "steady",
    through: Annotated[
        Literal["function", "endpoint", "both"], Parameter(group=LOAD, help="Which way requests go.")
    ] = "function",
    rate_per_second: Annotated[float, Parameter(group=LOAD, help="Requests a second (steady).")] = 10.0,
    seconds: Annotated[float, Parameter(group=LOAD, help="How long (steady).")] = 30.0,
    processes: Annotated[int, Parameter(group=LOAD, help="Load generators that share the rate.")] = 1,
    traffic: Annotated[Path | None, Parameter(group=TRAFFIC, help="A JSON file with the whole statement.")] = None,
    baseline: Annotated[float | None, Parameter(group=TRAFFIC, help="Requests a second, mostly.")] = None,
    peak: Annotated[float | None, Parameter(group=TRAFFIC, help="Requests a second, at the busiest time.")] = None,
    spike: Annotated[float | None, Parameter(group=TRAFFIC, help="Requests a second, for moments.")] = None,
    ramp_seconds: Annotated[float | None, Parameter(group=TRAFFIC, help="From baseline to peak; 0 is a step.")] = None,
    slo_p95_ms: Annotated[float | None, Parameter(group=TRAFFIC)] = None,
    max_error_rate: Annotated[float | None, Parameter(group=TRAFFIC, help="A share: 0.01 is 1 %.")] = None,
    max_throttle_rate: Annotated[float | None, Parameter(group=TRAFFIC)] = None,
    monthly_budget_usd: Annotated[float | None, Parameter(group=TRAFFIC)] = None,
    safety_factor: Annotated[
        float | None,
        Parameter(group=PLAN, help="The share of MAX_RPS that is aimed at; AWS: start at 0.5."),
    ] = None,
    ladder_first_rps: Annotated[float | None, Parameter(group=PLAN, help="The ladder's first rate.")] = None,
    set_: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set", group=PLAN, negative="", help="name=value: a number of the plan, by hand, to be judged."
        ),
    ] = (),
    remeasure: Annotated[bool, Parameter(group=PLAN, help="Climb the ladder anew.")] = True,
    ui: Annotated[bool, Parameter(name="--ui", negative="", help="Locust's page on loopback, until Ctrl-C.")] = False,
    port: Annotated[int, Parameter(help="Of Locust's page; 0 is any free one.")] = 8089,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Load-test a run's deployment; with `--mode checked`, exit 9 when a verdict fails, 11 when one stays open."""
    stages, expects = () if ui else ("servers", "loadtest"), test_seconds(mode, seconds)
    begin("kennel loadtest", stages, expects=expects, quiet=quiet, verbose=verbose)
    from kennel.commands import loadtest as load_testing

    if ui:
        return load_testing.show_page(run_id, load_testing.UiOptions(through, rate_per_second, seconds, port))
    stated = {
        "baseline_rps": baseline,
        "peak_rps": peak,
        "spike_rps": spike,
        "ramp_seconds": ramp_seconds,
        "slo_p95_ms": slo_p95_ms,
        "max_error_rate": max_error_rate,
        "max_throttle_rate": max_throttle_rate,
        "monthly_budget_usd": monthly_budget_usd,
    }
    parameters = {
        "rate_per_second": rate_per_second,
        "seconds": seconds,
        "through": through,
        "processes": processes,
        "mode": mode,
        "traffic": load_testing.traffic_of(traffic, stated),
        "safety_factor": safety_factor,
        "ladder_first_rps": ladder_first_rps,
        "overrides": load_testing.overrides_of(set_),
        "remeasures": remeasure,
    }
    return load_testing.test(run_id, parameters, as_json=json)


@app.command
def status(run_id: RunName = None, /, *, json: Json = False) -> int:
    """Show the local servers, and of each run its stages and what it has alive."""
    from kennel.commands import status as overview

    return overview.status(run_id, as_json=json)


@app.command
def logs(
    run_id: RunName = None,
    /,
    *,
    source: Annotated[Literal["training", "ec2", "endpoint", "function"], Parameter(help="Whose lines.")] = "training",
    follow: Annotated[bool, Parameter(negative="", help="Go on until interrupted.")] = False,
) -> int:
    """Print the log lines of a run (default: the latest)."""
    from kennel.commands import status as overview

    return overview.logs(run_id, source, follow=follow)


@app.command
def up(
    *,
    time_scale: Annotated[
        float | None,
        Parameter(
            group=EMBEDDED,
            validator=Number(gte=0.01, lte=10_000),
            help="AWS's seconds in a second: at 60, its minutes, alarms and cooldowns last a second; default 1.",
        ),
    ] = None,
    capacity: Annotated[
        tuple[str, ...],
        Parameter(
            group=EMBEDDED,
            negative="",
            help="TYPE[=[CONCURRENCY][:FLOORms]], such as ml.m5.large=4:40ms: what a hosting instance serves at once, "
            "and the least time a request takes; default no limit.",
        ),
    ] = (),
    instance_startup_seconds: Annotated[
        float | None,
        Parameter(
            group=EMBEDDED,
            validator=Number(gte=0, lte=3600),
            help="How long a hosting instance that scales out takes to serve, in AWS's seconds; default 0.",
        ),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Start the embedded AWS and Prefect's server in the background; print the environment to export."""
    begin("kennel up", ("servers",), quiet=quiet, verbose=verbose)
    from kennel.commands import up_down as lifting
    from kennel.servers.localaws import Options

    return lifting.up(Options(time_scale, capacity, instance_startup_seconds))


@app.command
def down(
    run_id: RunName = None,
    /,
    *,
    yes: Annotated[bool, Parameter(negative="", help="Ask nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Remove everything of all runs (or the one named), by ledger and tags, and stop the local servers."""
    begin("kennel down", quiet=quiet, verbose=verbose)
    from kennel.commands import up_down as lifting

    return lifting.down(run_id, is_confirmed=yes, as_json=json)


@app.command
def prepare() -> int:
    """Do once what makes the first `up` quick (part of `make setup`)."""
    from kennel.commands import up_down as lifting

    return lifting.prepare()


@notebook.command(name="create")
def notebook_create(
    run_id: NotebookOf,
    /,
    *,
    instance_type: Annotated[str | None, Parameter(help="Instead of the cheapest that is enough.")] = None,
    idle_minutes: Annotated[
        int, Parameter(validator=Number(gte=10, lte=1440), help="Minutes without activity after which it stops.")
    ] = 60,
    url: Url = False,
    json: Json = False,
) -> int:
    """Create the run's notebook instance, or adopt it."""
    from kennel.commands import notebook as notebooks

    return notebooks.create(run_id, instance_type=instance_type, idle_minutes=idle_minutes, with_url=url, as_json=json)


@notebook.command(name="list")
def notebook_list(run_id: RunName = None, /, *, json: Json = False) -> int:
    """List the notebook instances of all runs, or of one."""
    from kennel.commands import notebook as notebooks

    return notebooks.show(run_id, as_json=json)


@notebook.command(name="start")
def notebook_start(run_id: NotebookOf, /, *, url: Url = False, json: Json = False) -> int:
    """Start the run's notebook instance and wait until it runs."""
    from kennel.commands import notebook as notebooks

    return notebooks.change(run_id, "start", with_url=url, as_json=json)


@notebook.command(name="stop")
def notebook_stop(run_id: NotebookOf, /, *, json: Json = False) -> int:
    """Stop the run's notebook instance and wait until it is stopped: from then on it costs its volume only."""
    from kennel.commands import notebook as notebooks

    return notebooks.change(run_id, "stop", with_url=False, as_json=json)


def main() -> None:
    """Run the command line and end the process with its exit code; an error of ours is shown in its parts."""
    sys.exit(call(sys.argv[1:]))


def call(arguments: list[str]) -> int:
    """Run one command; return its exit code. Whatever happens, the terminal is left as it was."""
    if not arguments or {"--help", "-h", "--version"} & set(arguments):
        app(arguments, result_action="return_value")
        return 0
    begin("kennel")
    try:
        return int(app(arguments, exit_on_error=False, print_error=True, result_action="return_value") or 0)
    except CycloptsError:
        return WRONG_USAGE
    except KeyboardInterrupt:
        end(is_finished=False)
        sys.stderr.write("\nkennel: interrupted; servers that were started go on: kennel down --yes ends them\n")
        return INTERRUPTED
    except Exception as error:
        # The tree of errors imports botocore, and this comes before the first line that a person sees.
        from tasks.run.errors import KennelError

        if not isinstance(error, KennelError):
            raise
        return print_error(error, as_json="--json" in arguments)
    finally:
        end(is_finished=sys.exc_info()[0] is None)
