"""The command line: arguments in, exit code out. Everything heavy is imported when a command needs it.

Commands whose flags are made from records of options are named by their place, and imported when they are called.
"""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, CycloptsPanel, Parameter
from cyclopts.validators import Number

from kennel import REFERENCE_DATA, __version__
from kennel.flags import EMBEDDED, Json, Quiet, RunName, Verbose, refusal_of
from kennel.terminal.console import begin, end, print_error
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
NotebookOf = Annotated[str, Parameter(help="The run whose notebook instance it is.")]
Url = Annotated[
    bool, Parameter(name="--url", negative="", help="Print the address that opens it: a secret, good for 5 minutes.")
]


app.command(
    "kennel.commands.run:run",
    name="run",
    help="Stage, train, deploy, load-test, report. The same command again adopts what exists.",
)


@app.command
def demo(*, json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> int:
    """Run the whole way on sample images, on this machine, at a pace that fits it; the same command again adopts."""
    begin("kennel demo", run_stages(ec2=True, load_test=True), quiet=quiet, verbose=verbose)
    from kennel.commands.demo import demo

    return demo(as_json=json)


app.command(
    "kennel.commands.train_ec2:train_ec2",
    name="train-ec2",
    help="Train on EC2 over SSH what `run` trains on SageMaker; compare the two if the run has both.",
)
app.command(
    "kennel.commands.loadtest:loadtest",
    name="loadtest",
    help="Load-test a run's deployment; with `--mode checked`, exit 9 when a verdict fails, 11 when one stays open.",
)


@app.command
def status(run_id: RunName = None, /, *, json: Json = False) -> int:
    """Show the local servers, and of each run its stages and what it has alive."""
    from kennel.commands.status import status

    return status(run_id, as_json=json)


@app.command
def logs(
    run_id: RunName = None,
    /,
    *,
    source: Annotated[Literal["training", "ec2", "endpoint", "function"], Parameter(help="Whose lines.")] = "training",
    follow: Annotated[bool, Parameter(negative="", help="Go on until interrupted.")] = False,
) -> int:
    """Print the log lines of a run (default: the latest)."""
    from kennel.commands.status import logs

    return logs(run_id, source, follow=follow)


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
    from kennel.commands.up_down import up
    from kennel.servers.localaws import Options

    return up(Options(time_scale, capacity, instance_startup_seconds))


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
    from kennel.commands.up_down import down

    return down(run_id, is_confirmed=yes, as_json=json)


@app.command
def prepare() -> int:
    """Do once what makes the first `up` quick (part of `make setup`)."""
    from kennel.commands.up_down import prepare

    return prepare()


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
    from kennel.commands.notebook import create

    return create(run_id, instance_type=instance_type, idle_minutes=idle_minutes, with_url=url, as_json=json)


@notebook.command(name="list")
def notebook_list(run_id: RunName = None, /, *, json: Json = False) -> int:
    """List the notebook instances of all runs, or of one."""
    from kennel.commands.notebook import show

    return show(run_id, as_json=json)


@notebook.command(name="start")
def notebook_start(run_id: NotebookOf, /, *, url: Url = False, json: Json = False) -> int:
    """Start the run's notebook instance and wait until it runs."""
    from kennel.commands.notebook import change

    return change(run_id, "start", with_url=url, as_json=json)


@notebook.command(name="stop")
def notebook_stop(run_id: NotebookOf, /, *, json: Json = False) -> int:
    """Stop the run's notebook instance and wait until it is stopped: from then on it costs its volume only."""
    from kennel.commands.notebook import change

    return change(run_id, "stop", with_url=False, as_json=json)


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
        return int(app(arguments, exit_on_error=False, print_error=False, result_action="return_value") or 0)
    except CycloptsError as error:
        refusal = refusal_of(error)
        if refusal is not None:
            return print_error(refusal, as_json="--json" in arguments)
        app.error_console.print(CycloptsPanel(error))
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
