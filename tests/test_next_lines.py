"""The commands that errors advise: each is one of kennel's, with arguments that its parser takes, or one of AWS's.

The texts are collected from the code: what is given as the advice of an error, or as the `next_command` of a call.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from botocore import xform_name
from cyclopts import CycloptsError

from kennel.cli import app
from tasks.run import errors
from tests.aws_requests import service_model

ROOT = Path(__file__).resolve().parents[1]
ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
ADVICE = 3
"""The position of the advice among an error's arguments."""
NOT_IN_BOTOCORE = {"logs tail", "sts get-caller-identity"}
"""Commands of the aws CLI that are no operations, or that are named in prose."""


def test_every_kennel_command_in_an_advice_is_one_that_the_parser_takes() -> None:
    commands = {command: where for where, text in advices() for command in kennel_commands(text)}
    assert len(commands) > 25, "the texts are not found any more"
    assert [f"{where}: {command}: {why}" for command, where in commands.items() if (why := refusal(command))] == []


def test_every_aws_command_in_an_advice_names_an_operation_and_its_parameters() -> None:
    commands = {command: where for where, command in aws_commands()}
    assert len(commands) > 6, "the texts are not found any more"
    assert [f"{where}: aws {command}" for command, where in commands.items() if not is_aws_command(command)] == []


@pytest.mark.parametrize("command", ["kennel lgos", "kennel down --run x", "kennel logs --source both"])
def test_a_wrong_command_would_be_noticed(command: str) -> None:
    assert refusal(command)


def refusal(command: str) -> str | None:
    """Return why kennel's parser refuses a command, or None."""
    words = [re.sub(r"<[^>]*>", "x1", word) for word in re.findall(r"<[^>]*>|\S+", command)]
    try:
        app.parse_args(words[1:], print_error=False, exit_on_error=False)
    except (CycloptsError, ValueError) as error:  # pydantic refuses values with a ValueError
        return str(error) or type(error).__name__
    return None


def kennel_commands(text: str) -> Iterator[str]:
    """Yield the commands in an advice, each up to the next comma, semicolon, colon or conjunction."""
    for part in re.split(r"[,;:()\"]|\bor\b|\bthen\b|\bafter\b|\band\b|\bwith\b", text):
        command = part.strip().rstrip(".)`\"'")
        if command.startswith("kennel "):
            yield command


def is_aws_command(command: str) -> bool:
    """Tell whether botocore has the operation of an aws command, with all of its parameters."""
    words = command.split()
    if " ".join(words[:2]) in NOT_IN_BOTOCORE:
        return True
    model = service_model({"s3api": "s3"}.get(words[0], words[0]))
    named = {xform_name(name, "-"): name for name in model.operation_names}
    if words[1] not in named:
        return False
    shape = model.operation_model(named[words[1]]).input_shape
    known = {xform_name(name, "-") for name in shape.members} if shape else set()
    return {word[2:].partition("=")[0] for word in words[2:] if word.startswith("--")} <= known


def advices() -> Iterator[tuple[str, str]]:
    """Yield (place, text) of every advice; what is filled in at run time is `x1`."""
    for path, tree in sources():
        for scope, call in calls(tree):
            found = [call.args[ADVICE]] if name_of(call) in ERRORS and len(call.args) > ADVICE else []
            found += [keyword.value for keyword in call.keywords if keyword.arg == "next_command"]
            for node in found:
                yield from ((f"{path}:{call.lineno}", text) for text in texts(node, scope))


def aws_commands() -> Iterator[tuple[str, str]]:
    """Yield (place, command) of every command that is made for the aws CLI.

    Those whose operation depends on the kind of an identity are in `tests/tasks/audit/test_commands.py`.
    """
    for path, tree in sources():
        for scope, call in calls(tree):
            if name_of(call) in {"cli", "aws_command"}:
                named = "".join(f" --{each.arg.replace('_', '-')}=x1" for each in call.keywords if each.arg)
                yield from (
                    (f"{path}:{call.lineno}", text + named) for text in texts(call.args[0], scope) if "x1" not in text
                )


@cache
def sources() -> list[tuple[str, ast.Module]]:
    files = [file for room in ("tasks", "kennel", "flows") for file in sorted((ROOT / room).rglob("*.py"))]
    return [(str(file.relative_to(ROOT)), ast.parse(file.read_text())) for file in files]


def calls(tree: ast.Module) -> Iterator[tuple[list[ast.AST], ast.Call]]:
    """Yield every call with what may have given its names their values: the functions around it, and the module."""
    waiting: list[tuple[ast.AST, list[ast.AST]]] = [(tree, [tree])]
    while waiting:
        node, scope = waiting.pop()
        inner = [node, *scope] if isinstance(node, ast.FunctionDef) else scope
        if isinstance(node, ast.Call):
            yield inner, node
        waiting += [(child, inner) for child in ast.iter_child_nodes(node)]


def name_of(call: ast.Call) -> str:
    function = call.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def texts(node: ast.expr, scope: list[ast.AST]) -> list[str]:
    """Return the texts that an expression may have; a name has all values that its function or module gives it."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        parts = [str(part.value) if isinstance(part, ast.Constant) else "x1" for part in node.values]
        return ["".join(parts)]
    if isinstance(node, ast.BinOp):
        return [left + right for left in texts(node.left, scope) for right in texts(node.right, scope)]
    if isinstance(node, ast.IfExp | ast.BoolOp):
        inner = [node.body, node.orelse] if isinstance(node, ast.IfExp) else node.values
        return [text for each in inner for text in texts(each, scope)]
    if isinstance(node, ast.Name):
        return [text for value in values_of(node.id, scope) for text in texts(value, scope)]
    return []


def values_of(name: str, scope: list[ast.AST]) -> Iterator[ast.expr]:
    """Yield what is assigned to a name in the innermost scope that assigns it."""
    for around in scope:
        found = list(assigned(name, around))
        if found:
            yield from found
            return


def assigned(name: str, around: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(around):
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id == name:
            yield node.value
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = zip(target.elts, node.value.elts, strict=True)
            yield from (value for item, value in pairs if isinstance(item, ast.Name) and item.id == name)
