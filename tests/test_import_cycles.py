"""No module of cnnjax imports itself by way of others, be it inside of a function."""

import ast
import graphlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def modules():
    """The path of each module of cnnjax by its dotted name."""
    paths = sorted((ROOT / "cnnjax").rglob("*.py"))
    names = (".".join(p.relative_to(ROOT).with_suffix("").parts) for p in paths)
    return dict(zip((n.removesuffix(".__init__") for n in names), paths, strict=True))


def dynamic(call, known):
    """Modules that `import_module(...)` may import: all that begin as its name does."""
    (name,) = call.args
    if isinstance(name, ast.Constant):
        return {name.value} & known
    assert isinstance(name, ast.JoinedStr), f"cannot tell: {ast.unparse(call)}"
    assert isinstance(name.values[0], ast.Constant), ast.unparse(call)
    return {module for module in known if module.startswith(name.values[0].value)}


def imported(source, package, known):
    """Those of the modules `known` that a module's `source` imports, early or late."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            inside = {f"{start}.{alias.name}" for alias in node.names}
            found |= inside & known
            if inside - known:
                found |= {start} & known
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "importlib.import_module",
            "import_module",
        ):
            found |= dynamic(node, known)
    return found


def graph():
    known = modules()
    return {
        name: imported(
            path.read_text(),
            name if path.stem == "__init__" else name.rpartition(".")[0],
            set(known),
        )
        for name, path in known.items()
    }


def test_no_module_imports_itself_by_way_of_others():
    graphlib.TopologicalSorter(graph()).prepare()  # CycleError names the modules


def test_lazy_imports_of_readers_are_counted():
    readers = {name for name in modules() if name.startswith("cnnjax.data.readers.")}
    assert len(readers) >= 8
    assert readers <= graph()["cnnjax.data.load"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b", {"a.b"}),
        ("from a import b", {"a.b"}),
        ("from a.b import function", {"a.b"}),
        ("from a import b, function", {"a.b", "a"}),
        ("from . import b", {"a.b"}),
        ("from .b import function", {"a.b"}),
        ("from ..c import function", set()),
        ("def f():\n    from a.b import g", {"a.b"}),
        ("import importlib\nimportlib.import_module('a.b')", {"a.b"}),
        ("import importlib\nimportlib.import_module(f'a.r.{x}')", {"a.r.s", "a.r.t"}),
        ("import numpy", set()),
    ],
)
def test_imports_are_seen_however_they_are_written(source, expected):
    assert imported(source, "a", {"a", "a.b", "a.r.s", "a.r.t"}) == expected


def test_a_cycle_is_named():
    with pytest.raises(
        graphlib.CycleError, match=r"\['a', 'b', 'a'\]|\['b', 'a', 'b'\]"
    ):
        graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()
