"""Defines the command line. Slow imports happen inside the commands that need them.

A command whose flags come from option records is registered by its import path, and is imported when it is called.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, CycloptsPanel, Parameter
from cyclopts.validators import Number

from kennel import REFERENCE_DATA, __version__
from kennel.flags import EMBEDDED, Account, Json, KnownRun, Quiet, RunName, Strict, Verbose, refusal_of
from kennel.servers.isolation import drop_unusable, never_proxy_loopback
from kennel.signals import FLOW_THREAD, exit_code, exit_now, install, interrupt, interrupt_again
from kennel.terminal.console import accept_any_text, begin, end, interruption_json, print_error, print_plain, to_stdout
from kennel.terminal.stages import SERVERS, run_stages
from tasks.run.escaping import terminal_text
from tasks.run.private_files import private_files

WRONG_USAGE = 2
PIPE_CLOSED = 141
SIGNALLED = 128
COMPLETE = "__complete"
"""What the scripts of `kennel completion` ask this command: cyclopts' own word."""

HELP = f"""From a zip of photos to a load-tested SageMaker endpoint behind a Lambda function.

Without AWS_ENDPOINT_URL and without KENNEL_ACCOUNT_ID, everything
runs on this machine: kennel starts an embedded AWS and Prefect's
server under .kennel/. After `export KENNEL_ACCOUNT_ID=<12 digits>`,
kennel uses that real account, which costs money. The reference
dataset for real AWS is
{REFERENCE_DATA}

Exit codes:
   0  the command succeeded
   1  an unexpected error occurred
   2  an argument, a setting or the target is wrong
   3  the data was refused; nothing was created
   4  the download failed
   5  AWS refused or did not answer
   6  a resource or a ledger belongs to somebody else
   7  another process works on the run
   8  a deadline passed
   9  a stage failed: a training job, an endpoint, a function,
      a load test, or a verdict on the scaling plan
  10  the teardown is incomplete
  11  the load test was inconclusive: this machine was disturbed,
      or there were too few samples
  12  the audit found something of the severity asked for, the
      doctor something that would make a run fail, or `kennel
      drift` a change
  13  the costs or a public URL were not agreed to, or the costs are above the budget
  14  this machine's disk is full or read-only, its folder
      refuses the user, or it has no more files or memory
 129  the command was interrupted: its terminal was closed
 130  the command was interrupted by Ctrl-C
 141  the reader of the command's output has ended
 143  the command was interrupted by SIGTERM
"""

app = App(name="kennel", help=HELP, help_format="plaintext", version=__version__, suppress_keyboard_interrupt=False)
notebook = App(name="notebook", help="Manage a run's SageMaker notebook instance, which stops itself when it is idle.")
app.command(notebook)
iam = App(name="iam", help="Show what has to be allowed, and what was used of what is allowed.")
app.command(iam)
NotebookOf = Annotated[str, Parameter(help="The run that the notebook instance belongs to.")]
Url = Annotated[
    bool,
    Parameter(name="--url", negative="", help="Also print the address of the notebook, a secret valid for 5 minutes."),
]


app.command(
    "kennel.commands.run:run",
    name="run",
    help="Stage the data, train, deploy, load-test and report. A repeated command adopts what exists already.",
)


app.command(
    "kennel.commands.inspect:inspect",
    name="inspect",
    help="Look at photos before they are used: classes, splits, copies, odd photos, doubtful labels, what to expect. "
    "Nothing is sent. The exit code is 3 when they would be refused.",
)
app.command(
    "kennel.commands.plan:plan",
    name="plan",
    help="Show what `run` with the same options would create, adopt and replace, on which machines and why, and what "
    "it costs. Nothing is created or changed.",
)


@app.command
def demo(
    *,
    account: Account = None,
    strict: Strict = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Run all stages on sample images on this machine, with a load that suits it."""
    begin("kennel demo", run_stages(ec2=True, load_test=True), quiet=quiet, verbose=verbose)
    from kennel.commands.demo import demo

    return demo(as_json=json, account=account, strict=strict)


@app.command(name="demo-retrain")
def demo_retrain(*, json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> int:
    """Show retrainings of an endpoint on sample images: one with nothing to do, one promoted, one refused."""
    begin("kennel demo-retrain", (SERVERS,), quiet=quiet, verbose=verbose)
    from kennel.commands.demo_retrain import demo_retrain

    return demo_retrain(as_json=json)


app.command(
    "kennel.commands.tune:tune",
    name="tune",
    help="Only search for hyperparameters, by default with 20 trials, in one training job, and train the winner. "
    "Nothing is deployed.",
)
app.command(
    "kennel.commands.train_ec2:train_ec2",
    name="train-ec2",
    help="Train the same model as `run` on EC2 over SSH, and compare the two if the run has both.",
)
app.command(
    "kennel.commands.loadtest:loadtest",
    name="loadtest",
    help="Load-test a run's deployment. With `--mode checked`, the exit code is 9 when a verdict fails, and 11 when "
    "none fails and some are inconclusive.",
)


@app.command
def runs(
    *,
    sort: Annotated[
        Literal["date", "accuracy", "low", "seconds", "cost", "p95"],
        Parameter(
            help="By what: newest, most accurate, highest lower end of the accuracy's interval, shortest training, "
            "cheapest training, or lowest p95 of the load test first."
        ),
    ] = "date",
    prune: Annotated[
        bool, Parameter(negative="", help="Instead remove the folders of old runs, and say what that frees.")
    ] = False,
    keep: Annotated[
        int | None, Parameter(help="With --prune: keep the newest so many.", validator=Number(gte=0))
    ] = None,
    older_than: Annotated[str | None, Parameter(help="With --prune: only runs older than 30m, 4h or 2d.")] = None,
    yes: Annotated[bool, Parameter(negative="", help="With --prune: remove them; without it they are shown.")] = False,
    json: Json = False,
) -> int:
    """List all runs side by side: accuracy with its interval, time and cost of the training, latency, verdicts."""
    if prune:
        from kennel.commands.prune import prune as prune_runs

        return prune_runs(keep, older_than, is_confirmed=yes, as_json=json)
    if keep is not None or older_than is not None or yes:
        from tasks.run.errors import SettingsRefused

        why = "--keep, --older-than and --yes say what --prune removes"
        raise SettingsRefused("runs", "a bound without --prune", why, "kennel runs --prune with the same options")
    from kennel.commands.runs import runs

    return runs(sort, as_json=json)


@app.command(name="open")
def open_(
    run_id: RunName = None,
    /,
    *,
    console: Annotated[
        bool, Parameter(negative="", help="The console of the embedded AWS: read-only pages of what runs in it.")
    ] = False,
    only_print: Annotated[bool, Parameter(name="--print", negative="", help="Only print the address.")] = False,
) -> int:
    """Print the address of a run's page, by default the latest run's, and open it where there is a display."""
    from kennel.commands.open import open_console, open_report

    return open_console(only_print=only_print) if console else open_report(run_id, only_print=only_print)


@app.command
def compare(first: KnownRun, second: KnownRun, /, *, json: Json = False) -> int:
    """Compare two runs: what differs, their figures, and a paired test of their models on the same test photos."""
    from kennel.commands.compare import compare

    return compare(first, second, as_json=json)


@app.command
def predict(
    run_id: KnownRun,
    /,
    *photos: Annotated[str, Parameter(help="A photo, a folder of photos, or a URL that the function may fetch.")],
    local: Annotated[bool, Parameter(negative="", help="By the model that the run keeps, without a server.")] = False,
    csv: Annotated[Path | None, Parameter(help="Also write a table with the score of each class.")] = None,
    html: Annotated[Path | None, Parameter(help="Also write a page with thumbnails.")] = None,
    json: Json = False,
) -> int:
    """Classify photos by a run's live endpoint, or by the model that it keeps when none is live."""
    from kennel.commands.predict import predict

    return predict(run_id, photos, is_local=local, csv_file=csv, html_file=html, as_json=json)


app.command(
    "kennel.commands.models:models",
    name="models",
    help="List the registered models: each endpoint's champion, challengers, and those that were rejected and why.",
)
app.command(
    "kennel.commands.models:promote",
    name="promote",
    help="Put a registered model onto a run's endpoint step by step; alarms take it back (exit code 9).",
)
app.command(
    "kennel.commands.models:rollback",
    name="rollback",
    help="Go back to the model that a run's endpoint served before.",
)
app.command(
    "kennel.commands.retrain:retrain",
    name="retrain",
    help="Train a model for a run's endpoint anew when data, code or options changed, and promote it if it is better.",
)
app.command("kennel.commands.schedule:schedule", name="schedule")
app.command(
    "kennel.commands.drift:drift",
    name="drift",
    help="Compare the photos that an endpoint was asked about, and its answers, with those of the test split. The exit "
    "code is 12 when they have changed.",
)


@app.command
def evidence(run_id: KnownRun, /, *, json: Json = False) -> int:
    """Keep pictures of the embedded AWS's console, and AWS's answers about what a run made, in the run's folder."""
    from kennel.commands.evidence import evidence as take

    return take(run_id, as_json=json)


@app.command
def writeup(
    *runs: Annotated[KnownRun, Parameter(help="The run that it is about, then runs to compare it with.")],
    check: Annotated[
        bool, Parameter(negative="", help="Write nothing; fail if a record does not say what the writeup says.")
    ] = False,
    json: Json = False,
) -> int:
    """Write one to two pages about a run as PDF and HTML, a paragraph an answer; each figure is cited from a record."""
    from kennel.commands.writeup import writeup as write

    return write(runs, is_checked=check, as_json=json)


@app.command
def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print what completes this command's words in a shell: commands, flags, and the ids of runs."""
    print_plain(app.generate_completion(shell=shell))
    return 0


@app.command
def status(run_id: RunName = None, /, *, json: Json = False) -> int:
    """Show the local servers, what each run does, its finished stages, and what of it is alive and costs."""
    from kennel.commands.status import status

    return status(run_id, as_json=json)


@app.command
def logs(
    run_id: RunName = None,
    /,
    *,
    source: Annotated[
        Literal["staging", "training", "ec2", "endpoint", "function"],
        Parameter(help="The part of the run whose log is printed."),
    ] = "training",
    follow: Annotated[bool, Parameter(negative="", help="Keep printing new lines until Ctrl-C.")] = False,
) -> int:
    """Print the log of a run, by default of the latest one."""
    from kennel.commands.logs import logs

    begin("kennel logs", follows=follow)
    return logs(run_id, source, follow=follow)


@app.command
def up(
    *,
    time_scale: Annotated[
        float | None,
        Parameter(
            group=EMBEDDED,
            validator=Number(gte=0.01, lte=10_000),
            help="How many of AWS's seconds pass in a second: at 60, AWS's minute lasts a second; default 1.",
        ),
    ] = None,
    capacity: Annotated[
        tuple[str, ...],
        Parameter(
            group=EMBEDDED,
            negative="",
            help="TYPE[=[CONCURRENCY][:FLOORms]], such as ml.m5.large=4:40ms: how many requests a hosting instance "
            "serves at once, and the minimum time of each; default no limits.",
        ),
    ] = (),
    instance_startup_seconds: Annotated[
        float | None,
        Parameter(
            group=EMBEDDED,
            validator=Number(gte=0, lte=3600),
            help="How many of AWS's seconds a new hosting instance of a scale-out needs to start; default 0.",
        ),
    ] = None,
    iam: Annotated[
        Literal["enforce", "record", "off"] | None,
        Parameter(
            group=EMBEDDED,
            help="What the embedded AWS does with what IAM's policies deny: refuse it, only record it, or not look; "
            "default enforce.",
        ),
    ] = None,
    account: Account = None,
    strict: Strict = None,
    region: Annotated[
        str | None,
        Parameter(
            group=EMBEDDED,
            help="The embedded AWS's region, which says which partition of AWS it is, such as aws-cn with cn-north-1; "
            "default us-east-1.",
        ),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Start the embedded AWS and Prefect's server in the background, and print the variables to export."""
    begin("kennel up", ("servers",), quiet=quiet, verbose=verbose)
    from kennel.commands.up_down import up
    from kennel.servers.localaws import Options

    return up(
        Options(
            time_scale=time_scale,
            capacity=capacity,
            instance_startup_seconds=instance_startup_seconds,
            iam=iam,
            account=account,
            strict=strict,
            region=region,
        )
    )


@app.command
def down(
    run_id: RunName = None,
    /,
    *,
    expired: Annotated[
        bool, Parameter(negative="", help="Remove only the runs that are past the time to live that `--ttl` set.")
    ] = False,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask for confirmation.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Remove everything that all runs created and stop the local servers; with a run id, remove only that run."""
    begin("kennel down", quiet=quiet, verbose=verbose)
    from kennel.commands.up_down import down, down_expired

    if expired:
        return down_expired(run_id, is_confirmed=yes, as_json=json)
    return down(run_id, is_confirmed=yes, as_json=json)


@app.command
def audit(
    run_id: Annotated[str | None, Parameter(help="A run whose report gets the audit as a section.")] = None,
    /,
    *,
    severity: Annotated[
        Literal["low", "medium", "high", "critical"],
        Parameter(help="The exit code is 12 when there is a finding of this severity or a higher one."),
    ] = "medium",
    unused_days: Annotated[
        int, Parameter(validator=Number(gte=1, lte=400), help="A role is unused after so many days without use.")
    ] = 90,
    regions: Annotated[
        tuple[str, ...],
        Parameter(help="Where to look for Lambda, SageMaker and EC2; repeat it for several. Default: all enabled."),
    ] = (),
    baseline: Annotated[Path | None, Parameter(help="A TOML file of accepted findings; see docs/audit.md.")] = None,
    sarif: Annotated[Path | None, Parameter(help="Also write the findings to this file, as SARIF 2.1.0.")] = None,
    json: Json = False,
) -> int:
    """Report what is too open, unused or left behind in the account, with the commands that mend it."""
    from kennel.commands.audit import audit

    return audit(
        run_id,
        severity=severity,
        unused_days=unused_days,
        regions=regions,
        baseline=baseline,
        sarif_file=sarif,
        as_json=json,
    )


app.command(
    "kennel.commands.doctor:doctor",
    name="doctor",
    help="Look at the account and this machine before a run: what would make it fail, with its cure. The exit "
    "code is 12 when there is such a thing, or when something could not be looked at.",
)


@app.command
def prepare() -> int:
    """Compile bytecode, create a database and convert weights, so that starts are quick (part of `make setup`)."""
    from kennel.commands.up_down import prepare

    return prepare()


@notebook.command(name="create")
def notebook_create(
    run_id: NotebookOf,
    /,
    *,
    instance_type: Annotated[
        str | None, Parameter(help="The instance type; default the cheapest sufficient one.")
    ] = None,
    idle_minutes: Annotated[
        int,
        Parameter(
            validator=Number(gte=10, lte=1440), help="The instance stops after so many minutes without activity."
        ),
    ] = 60,
    url: Url = False,
    json: Json = False,
) -> int:
    """Create the run's notebook instance, or adopt it when it exists."""
    from kennel.commands.notebook import create

    return create(run_id, instance_type=instance_type, idle_minutes=idle_minutes, with_url=url, as_json=json)


@notebook.command(name="list")
def notebook_list(run_id: RunName = None, /, *, json: Json = False) -> int:
    """List the notebook instances of all runs, or of one run."""
    from kennel.commands.notebook import show

    return show(run_id, as_json=json)


@notebook.command(name="start")
def notebook_start(run_id: NotebookOf, /, *, url: Url = False, json: Json = False) -> int:
    """Start the run's notebook instance and wait until it runs."""
    from kennel.commands.notebook import change

    return change(run_id, "start", with_url=url, as_json=json)


@notebook.command(name="stop")
def notebook_stop(run_id: NotebookOf, /, *, json: Json = False) -> int:
    """Stop the run's notebook instance and wait until it is stopped; from then on only its volume costs money."""
    from kennel.commands.notebook import change

    return change(run_id, "stop", with_url=False, as_json=json)


@iam.command(name="operator-policy")
def iam_operator_policy(
    *features: Annotated[
        str,
        Parameter(
            help="stage, sagemaker, ec2, serving, scaling, notebook, permissions, teardown, audit, boundary; or all."
        ),
    ],
    account: Annotated[str | None, Parameter(help="The account's 12 digits; default KENNEL_ACCOUNT_ID.")] = None,
    region: Annotated[str | None, Parameter(help="The region; default that of the settings.")] = None,
    prefix: Annotated[str | None, Parameter(help="How names of resources begin; default kennel-.")] = None,
    bucket: Annotated[str | None, Parameter(help="A bucket of yours; default those with the prefix.")] = None,
    source: Annotated[
        list[str] | None,
        Parameter(negative="", help="s3://bucket/prefix/ of photos; may be given several times."),
    ] = None,
) -> int:
    """Print the least that a person who runs kennel has to be allowed: a policy for each feature."""
    from kennel.commands.iam import operator_policy

    where = {"account_id": account, "region": region, "prefix": prefix, "bucket": bucket}
    return operator_policy(features, **where, sources=source or ())


@iam.command(name="used")
def iam_used(
    run_id: Annotated[str, Parameter(help="The run whose roles are looked at.")],
    /,
    *,
    apply: Annotated[
        bool,
        Parameter(negative="", help="Take unused actions away, test the deployment, and undo it if one is denied."),
    ] = False,
    json: Json = False,
) -> int:
    """Show each action that a run's roles were granted, and whether it was used; with AWS's own delay on real AWS."""
    from kennel.commands.iam import used

    return used(run_id, is_applied=apply, as_json=json)


def main() -> None:
    """Run the command line and end the process with its exit code; a flow that still runs is not waited for."""
    install(exit_now)
    never_proxy_loopback(os.environ)
    for name, why in drop_unusable(os.environ).items():
        sys.stderr.write(f"WARNING: {name} is not used: {why}\n")
    accept_any_text()
    with private_files():
        code = call(sys.argv[1:])
    if code > SIGNALLED or any(thread.name == FLOW_THREAD for thread in threading.enumerate()):
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _servers_left() -> str:
    """Return what to say of the local servers of this home that run, or nothing."""
    stop = "kennel down --yes stops them"
    try:
        from kennel.servers.environment import running_servers

        return f"; the local servers still run: {stop}" if running_servers() else ""
    except Exception:  # noqa: BLE001  a module whose import the signal cut off may not be imported again
        return f"; local servers may still run: {stop}"


def call(arguments: list[str]) -> int:
    """Run one command and return its exit code; the terminal is restored in every case.

    A `KennelError` is printed and becomes its exit code. From the first signal on, `bear_further` handles all others.
    """
    is_question = not arguments or arguments[0] == COMPLETE or bool({"--help", "-h", "--version"} & set(arguments))
    if not is_question:
        begin("kennel")
    sys.unraisablehook, threading.excepthook = interrupt_again, _say_of_thread
    try:
        install(interrupt)
        code = _call(arguments, is_question=is_question)
        install(exit_now)
    except KeyboardInterrupt as interrupted:
        end(is_finished=False)
        with contextlib.suppress(OSError):  # the terminal was closed
            sys.stderr.write(f"\nkennel: interrupted{_servers_left()}\n")
        code = exit_code(interrupted)
        if "--json" in arguments:
            os.write(1, interruption_json("interrupted", code))
    return code


def _say_of_thread(ended: threading.ExceptHookArgs) -> None:
    from kennel.commands.unexpected import say_of_thread

    say_of_thread(ended)


def _call(arguments: list[str], *, is_question: bool) -> int:
    run = partial(app, exit_on_error=False, print_error=False, result_action="return_value")
    try:
        if is_question:
            with to_stdout():
                run([terminal_text(each) for each in arguments])
            return 0
        return int(run(arguments) or 0)
    except CycloptsError as error:
        refusal = refusal_of(error)
        if refusal is not None:
            return print_error(refusal, as_json="--json" in arguments)
        with contextlib.suppress(OSError):  # the terminal was closed
            app.error_console.print(CycloptsPanel(terminal_text(str(error))))
        return WRONG_USAGE
    except (BrokenPipeError, SystemExit):  # rich raises SystemExit where Python raises BrokenPipeError
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at its end
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001  a person gets a message, and the traceback in a file
        # The module imports botocore, which would delay the first line that a person sees.
        from kennel.commands.unexpected import as_kennel_error
        from kennel.servers.environment import explained

        return print_error(explained(as_kennel_error(error)), as_json="--json" in arguments)
    finally:
        end(is_finished=sys.exc_info()[0] is None)
