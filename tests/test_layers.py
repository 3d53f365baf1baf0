"""The architecture diagram that cannot rot: who may import whom."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# What a part of cnnjax may import of the others, beside ALL_MAY.
MAY_IMPORT = {
    "ops": set(),
    "losses": {"ops"},
    "metrics": {"ops"},
    "plots": {"ops"},
    "models": {"ops"},
    "segmentation": {"ops"},
    "detection": {"ops"},
    "interpret": {"ops"},
    "data": {"ops", "segmentation"},
    "training": {"ops", "data", "losses", "metrics"},
    "digest": set(),
    "errors": set(),
    "names": set(),
    "options": set(),
}
ALL_MAY = {"digest", "errors", "names", "options"}
# The operators stand alone: nothing but these outside of Python's own library.
OPS_NEED = {"jax", "numpy", "jaxtyping", "cnnjax"}
NAMELESS = {"utils", "util", "common", "misc", "helpers", "helper", "base"}


def modules(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path):
    """Dotted names of the modules that a file imports, relative ones resolved."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def part(path):
    return path.relative_to(ROOT / "cnnjax").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules("cnnjax"), ids=lambda p: str(p.stem))
def test_imports_only_what_lies_below(path):
    if part(path) == "__init__":
        return
    allowed = MAY_IMPORT[part(path)] | {part(path)} | ALL_MAY
    for name in imports(path):
        top, _, rest = name.partition(".")
        assert top != "experiments", f"{path.name} imports {name}"
        if top == "cnnjax" and rest:
            assert rest.split(".")[0] in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", modules("cnnjax"), ids=lambda p: str(p.stem))
def test_the_library_does_not_spell_the_experiments_package(path):
    assert "experiments." not in path.read_text()
    assert "experiments/" not in path.read_text()


@pytest.mark.parametrize("path", modules("cnnjax/ops"), ids=lambda p: str(p.stem))
def test_operators_need_jax_and_numpy_only(path):
    import sys

    tops = {name.split(".")[0] for name in imports(path)}
    assert tops - OPS_NEED <= sys.stdlib_module_names


def test_only_one_file_knows_orbax():
    knows = [p.name for p in modules("cnnjax") if "orbax" in " ".join(imports(p))]
    assert knows == ["checkpoint.py"]


@pytest.mark.parametrize("folder", ["cnnjax", "experiments"])
def test_files_are_one_idea_each(folder):
    for path in modules(folder):
        assert path.stem not in NAMELESS
        lines = path.read_text().count("\n")
        assert lines <= 300, f"{path.name} has {lines} lines"
