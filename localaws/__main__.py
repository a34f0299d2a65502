"""`python -m localaws [serve|start|stop|status|logs|reset] [--home DIR] [--port N] [--time-scale X]`.

`serve` (the default) runs in the foreground and prints the environment to export; `start` does it in the background and
returns when it answers.
"""

import argparse
import sys
from pathlib import Path

from localaws.errors import LocalAwsError
from localaws.settings import DEFAULT_PORT, Settings


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status: 0 done, 1 refused or failed (the reason is on stderr), 2 wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        return int(_COMMANDS[options.command](options) or 0)
    except LocalAwsError as error:
        print(f"localaws: {error}", file=sys.stderr)
        return 1


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(home=options.home.resolve(), port=options.port, time_scale=options.time_scale)


def _serve(options: argparse.Namespace) -> None:
    from localaws.server import serve

    serve(_settings(options), announce=lambda line: print(line, flush=True))


_COMMANDS = {"serve": _serve}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localaws", description="The embedded AWS, on loopback.")
    parser.add_argument("command", nargs="?", default="serve", choices=sorted(_COMMANDS))
    parser.add_argument("--home", type=Path, default=Path(".kennel/localaws"), help="where it keeps everything")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 = any free one")
    parser.add_argument("--time-scale", type=float, default=1.0, help="emulated seconds per second")
    return parser


if __name__ == "__main__":
    sys.exit(main())
