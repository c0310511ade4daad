"""The house: who may import whom, what may be called what, and that files stay small and explained."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "ui": {"app"},
    "app": {"model", "storage"},
    "model": {"kernels"},
    "storage": set(),
    "kernels": set(),
}
"""Room -> the other rooms it may import."""

MODULES = sorted(path.relative_to(ROOT) for room in MAY_IMPORT for path in (ROOT / room).rglob("*.py"))
TESTS = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))
everywhere = pytest.mark.parametrize("path", [*MODULES, *TESTS], ids=str)
in_rooms = pytest.mark.parametrize("path", MODULES, ids=str)


def tree(path: Path) -> ast.Module:
    """The syntax of a file."""
    return ast.parse((ROOT / path).read_text("utf-8"), str(path))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it; relative ones as full names."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(path.parts[: len(path.parts) - node.level]) + "." if node.level else ""
            yield start + (node.module or "")
            yield from (f"{start}{node.module}.{alias.name}" for alias in node.names)


def test_the_rooms_are_there() -> None:
    assert {path.parts[0] for path in MODULES} == set(MAY_IMPORT)


@in_rooms
def test_imports_go_one_way(path: Path) -> None:
    room = path.parts[0]
    rooms = {name.split(".")[0] for name in imported(path)} & {*MAY_IMPORT, "tests"}
    assert rooms <= MAY_IMPORT[room] | {room}


@everywhere
def test_triton_stays_in_triton_files(path: Path) -> None:
    if not path.stem.endswith("_triton"):
        assert "triton" not in {name.split(".")[0] for name in imported(path)}


@everywhere
def test_numba_stays_in_numba_files(path: Path) -> None:
    if not path.stem.endswith("_numba"):
        assert not {name.split(".")[0] for name in imported(path)} & {"numba", "llvmlite"}


@everywhere
def test_the_oracle_stays_in_its_tests(path: Path) -> None:
    if path.parts[:2] != ("tests", "oracle"):
        words = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
        words |= {node.attr for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
        words |= {part for name in imported(path) for part in name.split(".")}
        assert not {word for word in words if word.startswith("KimiLinear")}


def test_the_kernels_package_is_a_docstring_and_nothing_else() -> None:
    (only,) = tree(Path("kernels/__init__.py")).body
    assert isinstance(only, ast.Expr)
    assert ast.get_docstring(tree(Path("kernels/__init__.py")))


def test_transformers_takes_our_kernels_folder_for_nothing_of_its_own() -> None:
    program = "import sys; from transformers import KimiLinearForCausalLM; print('kernels' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_the_version_is_older_than_any_transformers_asks_of_kernels() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"].startswith("0.1.")
    assert not [name for name in project["dependencies"] if name.startswith("transformers[")]


@everywhere
def test_no_name_hides_a_module_of_pythons_or_triton(path: Path) -> None:
    assert not {*path.parts[:-1], path.stem} & (sys.stdlib_module_names | {"triton"})


OF_THE_WHOLE = {
    "tests/app/test_at_once.py",
    "tests/app/test_exactness.py",
    "tests/app/test_large_chunks.py",
    "tests/storage/test_crash.py",
    "tests/test_layout.py",
    "tests/test_readme.py",
    "tests/ui/test_page.py",
    "tests/ui/test_story.py",
    "tests/app/test_injection.py",
}


@pytest.mark.parametrize("path", [path for path in TESTS if path.stem.startswith("test_")], ids=str)
def test_a_test_file_bears_the_name_of_what_it_tests(path: Path) -> None:
    if path.parts[1] == "oracle" or str(path) in OF_THE_WHOLE:
        return
    if path.parts[1] == "bench":  # what it tests lies beside it
        assert (ROOT / path.with_name(path.name.removeprefix("test_"))).is_file()
        return
    name = "_".join([*path.parts[1:-1], path.stem.removeprefix("test_")])
    assert name in {"_".join(module.with_suffix("").parts).removesuffix("___init__") for module in MODULES}


@everywhere
def test_files_are_small_and_say_what_they_are(path: Path) -> None:
    text = (ROOT / path).read_text("utf-8")
    assert text.count("\n") <= 350
    assert ast.get_docstring(tree(path))


@in_rooms
def test_what_is_public_is_explained(path: Path) -> None:
    assert [name for name, node in public(tree(path)) if not ast.get_docstring(node)] == []


def public(
    node: ast.Module | ast.ClassDef, start: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    """Functions, classes and their methods whose names have no leading underscore."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and child.name[0] != "_":
            if ast.unparse(child.body[0]) != "...":  # a protocol's attribute
                yield start + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{child.name}.")
