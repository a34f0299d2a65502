"""`python -m localaws [serve|start|env|console|stop|status|logs|reset] [--home DIR] …`, the embedded AWS on loopback.

- `serve` (the default) runs in the foreground and prints the environment to export; Ctrl-C ends it.
- `start` does it in the background and returns when it answers; `stop` ends it and everything it started;
  `env` prints what to export, of one that runs, and `console` the secret address of its console.
- `status` shows what runs; `logs [PREFIX] [--follow]` prints CloudWatch Logs of the groups that start with PREFIX.
- `reset` ends everything that runs and forgets all state; the server keeps its port.
"""

import argparse
import difflib
import os
import shlex
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from localaws import control, shell
from localaws.capacity import parse_rule
from localaws.errors import LocalAwsError
from localaws.record import ServerRecord
from localaws.settings import ACCOUNTS, DEFAULT_PORT, DEFAULT_REGION, IAM_MODES, SSH_SERVERS, Settings
from localaws.strictness import LENIENT, STRICT, Strictness


def main(arguments: list[str]) -> int:
    """Run one command; return the exit status: 0 done, 1 refused or failed (the reason is on stderr), 2 wrong usage."""
    odd = next((each for each in arguments if _printable(each) != each), None)
    if odd is not None:
        print(f"localaws: an argument has a character that cannot be printed: {odd!a}", file=sys.stderr)
        return 2
    options = _parser().parse_args(_with_command(arguments))
    os.umask(0o077)  # S3 contents, logs and keys are this user's alone
    shell.isolate(os.environ)
    try:
        options.run(options)
    except LocalAwsError as error:
        print(f"localaws: {_printable(str(error))}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"localaws: {_printable(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:  # the home cannot be written, no more files can be opened, and the like
        print(_printable(f"localaws: {error}; its home is {options.home}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _with_command(arguments: list[str]) -> list[str]:
    is_option = bool(arguments) and arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")
    return ["serve", *arguments] if is_option or not arguments else arguments


def _serve(options: argparse.Namespace) -> NoReturn:
    from localaws.server import serve  # all of the server, which no other command needs

    serve(_settings(options), announce=lambda line: print(line, flush=True))
    os._exit(0)  # a thread that waits for the rest of a request's body would keep the interpreter from ending


def _start(options: argparse.Namespace) -> None:
    _print_environment(options.home, control.start(_settings(options)))


def _env(options: argparse.Namespace) -> None:
    _print_environment(options.home, control.running(options.home.resolve()))


def _console(options: argparse.Namespace) -> None:
    print(control.running(options.home.resolve()).console_url)


def _stop(options: argparse.Namespace) -> None:
    record = control.stop(options.home.resolve())
    print(f"stopped {record.url} (pid {record.pid})" if record else "localaws was not running")


def _reset(options: argparse.Namespace) -> None:
    record = control.reset(options.home.resolve())
    print(f"reset {record.url}: all state is gone and nothing runs")


def _logs(options: argparse.Namespace) -> None:
    for line in control.log_lines(options.home.resolve(), options.prefix, follow=options.follow):
        print(_printable(line), flush=True)


def _status(options: argparse.Namespace) -> None:
    status = control.status(options.home.resolve())
    print(f"localaws {status.record.url} pid {status.record.pid} time scale {status.record.time_scale:g}")
    for title, rows in (
        ("training jobs", [f"{name}  {state}" for name, state in status.training_jobs]),
        ("processing jobs", [f"{name}  {state}" for name, state in status.processing_jobs]),
        ("endpoints", [f"{name}  {state}" for name, state in status.endpoints]),
        ("functions", [f"{name}  {state}" for name, state in status.functions]),
        ("instances", [f"{name}  {state}" for name, state in status.instances]),
        *([("spares", [_spares_line(fleet) for fleet in status.spares])] if status.spares else []),
        ("processes", [f"{p.pid}  {p.memory_bytes >> 20} MiB  {p.command[:100]}" for p in status.processes]),
    ):
        print(f"{title}: {len(rows)}")
        for row in rows:
            print(f"  {_printable(row)}")


def _printable(text: str) -> str:
    r"""Return a line without what a terminal acts on: log lines and names are others' (`\x1b` stands for ESC)."""
    return "".join(each if _is_harmless(each) else each.encode("unicode_escape").decode() for each in text)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or character in "\t\u200c\u200d" or unicodedata.category(character) == "Zs"


def _spares_line(fleet: control.FleetSpares) -> str:
    counts = fleet.counts
    rest = ", ".join(f"{counts[name]} {name}" for name in ("starting", "taken", "cold", "discarded", "failed"))
    ready = f"{counts['ready']} of {counts['wanted']} ready"
    return f"{fleet.endpoint}/{fleet.variant}  {ready}, {rest}, {counts['memory_bytes'] >> 20} MiB"


def _print_environment(home: Path, record: ServerRecord) -> None:
    print(_printable(f"# localaws at {record.url}, home {home.resolve()}"))
    for name, value in {**record.environment, **shell.proxy_bypass(os.environ)}.items():
        print(f"export {name}={shlex.quote(value)}")


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        home=options.home.resolve(),
        port=options.port,
        time_scale=options.time_scale,
        host=options.host,
        region=_known_region(options.region),
        ssh_server=options.ssh_server,
        capacity=dict(parse_rule(rule) for rule in options.capacity),
        instance_startup_seconds=options.instance_startup_seconds,
        iam=options.iam,
        account=options.account,
        operator=options.operator.resolve() if options.operator else None,
        has_default_vpc=options.default_vpc,
        strictness=_strictness(options),
    )


def _known_region(name: str) -> str:
    """Return the name of a region that has SageMaker; in another one moto could not be asked for anything of it.

    Raises:
        ValueError: there is none of this name.
    """
    if name == DEFAULT_REGION:
        return name  # without importing botocore
    from botocore.session import get_session

    session = get_session()
    partitions = session.get_available_partitions()
    known = {each for one in partitions for each in session.get_available_regions("sagemaker", partition_name=one)}
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known, n=3, cutoff=0.0))
        raise ValueError(f"region={name!r}: must be the name of an AWS region with SageMaker; similar are {near}")
    return name


def _strictness(options: argparse.Namespace) -> Strictness:
    """Return what `--strict` sets, changed by what is given besides."""
    given = {name: vars(options)[name] for name in ("capacity_errors", "seed") if vars(options)[name] is not None}
    return replace(STRICT if options.strict else LENIENT, **given)


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--home", type=Path, default=Path(".kennel/localaws"), help="the folder of all its files")
    serving = argparse.ArgumentParser(add_help=False, parents=[shared])
    serving.add_argument("--host", default="127.0.0.1", help="the address to listen at, in 127.0.0.0/8")
    serving.add_argument("--port", type=int, default=DEFAULT_PORT, help="the port to listen at; 0 is any free one")
    serving.add_argument("--region", default=DEFAULT_REGION, help="the region in which jobs, endpoints and so on run")
    serving.add_argument("--time-scale", type=float, default=1.0, help="emulated seconds in a real second")
    serving.add_argument("--ssh-server", choices=SSH_SERVERS, default="auto", help="the SSH server of EC2 instances")
    serving.add_argument(
        "--capacity",
        action="append",
        default=[],
        metavar="TYPE[=[CONCURRENCY][:FLOORms]]",
        help="how many requests a hosting instance serves at once (default: its vCPUs) and the least time of a request",
    )
    serving.add_argument(
        "--instance-startup-seconds",
        type=float,
        default=0.0,
        help="how long an instance that scales out takes to start, in emulated seconds",
    )
    serving.add_argument("--iam", choices=IAM_MODES, default="enforce", help="what happens to what policies deny")
    serving.add_argument("--account", choices=ACCOUNTS, default="old", help="whose quotas bind")
    serving.add_argument(
        "--operator", type=Path, metavar="FILE", help="make an IAM user with these policies: JSON, documents by name"
    )
    serving.add_argument("--strict", action="store_true", help="delay and refuse what AWS does")
    serving.add_argument("--no-default-vpc", action="store_false", dest="default_vpc", help="an account without one")
    serving.add_argument("--capacity-errors", type=float, help="the share of types of instances that there are none of")
    serving.add_argument("--seed", type=int, help="of all that is drawn: delays, and which types there are none of")
    parser = argparse.ArgumentParser(prog="python -m localaws", description="The embedded AWS, on loopback.")
    commands = parser.add_subparsers(metavar="command")
    for name, run, parents, about in (
        ("serve", _serve, [serving], "run the server in the foreground (the default)"),
        ("start", _start, [serving], "start the server in the background and return when it answers"),
        ("env", _env, [shared], "print what to export to use the server that runs"),
        ("console", _console, [shared], "print the secret address of the console of the server that runs"),
        ("stop", _stop, [shared], "stop the server and everything it started"),
        ("status", _status, [shared], "show what runs"),
        ("reset", _reset, [shared], "stop everything that runs and forget all state"),
    ):
        commands.add_parser(name, parents=parents, help=about).set_defaults(run=run)
    logs = commands.add_parser("logs", parents=[shared], help="print CloudWatch Logs")
    logs.add_argument("prefix", nargs="?", default="", help="only log groups whose names start with it")
    logs.add_argument("--follow", action="store_true", help="keep printing new lines until Ctrl-C")
    logs.set_defaults(run=_logs)
    return parser
