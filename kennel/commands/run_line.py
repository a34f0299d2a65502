"""Writes the command line with which `kennel run` gets the given options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cyclopts import default_name_transform

from kennel import flags
from kennel.commands.data_argument import FROM_INPUT
from kennel.commands.outcome import program
from kennel.commands.pipeline_options import PipelineOptions
from tasks.run.command_line import option
from tasks.run.options import Options
from tasks.run.source_name import source_name


def run_line(chosen: PipelineOptions, data: str) -> str:
    """Return the command line of a run that trains with these options and has the defaults of all else.

    A URL with a secret is not shown: `--data -` reads it from standard input.
    """
    words = [program("kennel"), "run", option("data", data if source_name(data) == data else FROM_INPUT)]
    words += [
        *_flags(chosen.data_options, {}),
        *_flags(chosen.training, {}),
        *_flags(chosen.network, flags.NETWORK_NAMES),
    ]
    words += [] if chosen.kms_key is None else [option("kms_key", chosen.kms_key)]
    words += [] if chosen.run_id is None else [option("run_id", chosen.run_id)]
    return " ".join(words)


def _flags(options: Options, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the flags of the fields whose values are not the defaults; `names` are flags by other names."""
    for field, value in options:
        if value == type(options).model_fields[field].default:
            continue
        flag = names.get(field) or default_name_transform(field)
        for each in value if isinstance(value, tuple) else (value,):
            yield f"--{flag}" if each is True else option(flag, each)
