"""Every call of AWS is inside an `aws_boundary`, or its function says that it raises ClientError for its caller.

The source is read: a function's calls outside of every boundary are those of a client of AWS, or of another function
that says so. What a function does through a table of functions or a method is not seen.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
Function = tuple[str, str]
"""Module and name."""


def test_each_function_that_calls_aws_outside_a_boundary_says_so() -> None:
    modules = {
        module_name(path): ast.parse(path.read_text()) for room in ("tasks", "flows", "kennel") for path in files(room)
    }
    functions = {(module, node.name): node for module, tree in modules.items() for node in functions_of(tree)}
    unguarded = {key: list(outside(node)) for key, node in functions.items()}
    names = {module: names_in(module, tree) for module, tree in modules.items()}
    calls = {key: calls_of(nodes, names[key[0]]) for key, nodes in unguarded.items()}
    leaking = {key for key, node in functions.items() if any(asks_aws(node, unguarded[key]))}
    while more := {key for key in functions if key not in leaking and calls[key] & leaking}:
        leaking |= more
    silent = [".".join(key) for key in sorted(leaking) if not says_so(functions[key], key[1])]
    assert silent == []


def files(room: str) -> Iterator[Path]:
    yield from (ROOT / room).rglob("*.py")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def functions_of(module: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in module.body if isinstance(node, ast.FunctionDef)]


def says_so(node: ast.FunctionDef, name: str) -> bool:
    """Tell whether the docstring names ClientError; a private function needs none, and its callers are looked at."""
    return name.startswith("_") or "ClientError" in (ast.get_docstring(node) or "")


def outside(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is below a node, without what is inside a boundary, or in a function that is only used inside one."""
    if isinstance(node, ast.With) and any("aws_boundary(" in ast.unparse(item.context_expr) for item in node.items):
        return
    if isinstance(node, ast.Try) and any(catches_all(handler) for handler in node.handlers):
        for part in (*node.handlers, *node.orelse, *node.finalbody):
            yield from outside(part)
        return
    yield node
    children = list(ast.iter_child_nodes(node))
    inner = [child for child in children if isinstance(child, ast.FunctionDef)]
    body = [child for child in children if child not in inner] if inner and isinstance(node, ast.FunctionDef) else []
    used = {each.id for child in body for each in outside(child) if isinstance(each, ast.Name)}
    for child in children:
        if child not in inner or child.name in used:
            yield from outside(child)


def catches_all(handler: ast.ExceptHandler) -> bool:
    caught = ast.unparse(handler.type) if handler.type else "BaseException"
    return caught in ("Exception", "BaseException") or ("ClientError" in caught and "BotoCoreError" in caught)


def asks_aws(function: ast.FunctionDef, unguarded: list[ast.AST]) -> Iterator[ast.AST]:
    """Yield the calls of clients, and the uses of pages, among what is outside of a boundary."""
    assigned = [each for each in ast.walk(function) if isinstance(each, ast.Assign)]
    clients = {ast.unparse(each.targets[0]) for each in assigned if is_client(each.value, set())}
    iterated = [
        each for each in assigned if isinstance(each.value, ast.Call) and "paginate(" in ast.unparse(each.value)
    ]
    pages = {ast.unparse(each.targets[0]) for each in iterated}
    for node in unguarded:
        if isinstance(node, ast.Name) and node.id in pages and isinstance(node.ctx, ast.Load):
            yield node
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr != "get_paginator":
            yield from [node] if is_client(node.func.value, clients) else []


def is_client(node: ast.AST, clients: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in clients
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "client"


def names_in(module: str, tree: ast.Module) -> dict[str, Function]:
    """Return what a module's own functions and its imports are, by the names that they have in it."""
    known: dict[str, Function] = {node.name: (module, node.name) for node in functions_of(tree)}
    return known | {
        alias.asname or alias.name: (each.module, alias.name)
        for each in ast.walk(tree)
        if isinstance(each, ast.ImportFrom) and each.module
        for alias in each.names
    }


def calls_of(unguarded: list[ast.AST], known: dict[str, Function]) -> set[Function]:
    """Return the functions that are called outside of a boundary by their name or by their module's."""
    found = set()
    for node in unguarded:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
            found.add(known[node.func.id])
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            place = known.get(node.func.value.id)
            found |= {(".".join(place), node.func.attr)} if place else set()
    return found
