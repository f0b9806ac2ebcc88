"""Who may import whom: the shape of the whole, held by a test."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What each package of cosmogan may import, beside itself; the commands at its top may import all of them.
ALLOWED = {
    "statistics": set(),
    "nbody": {"hpc"},
    "config": {"hpc"},
    "shards": {"hpc"},
    "gan": {"config", "hpc"},
    "reporting": {"config", "nbody", "shards", "statistics", "hpc"},
    "simulations": {"config", "nbody", "shards", "hpc"},
    "training": {"config", "gan", "nbody", "reporting", "shards", "statistics", "hpc"},
    "sampling": {"config", "gan", "shards", "training", "hpc"},
    "selection": {"config", "gan", "reporting", "shards", "statistics", "training", "hpc"},
    "validation": {"config", "gan", "nbody", "shards", "statistics", "training", "hpc"},
    "boxes": {"config", "gan", "nbody", "shards", "simulations", "hpc"},
    "cli": {"config", "hpc"},
}


def imports(path):
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(folder):
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("path", files("hpc"), ids=lambda p: p.name)
def test_hpc_knows_nothing_of_cosmology(path):
    assert not [name for name in imports(path) if name.split(".")[0] == "cosmogan"]


def package(module):
    """The package of ours that a module is in, as `ALLOWED` names it; None for others."""
    top, *rest = module.split(".")
    if top == "cosmogan" and rest and (rest[0] in ALLOWED or (ROOT / "cosmogan" / f"{rest[0]}.py").exists()):
        return rest[0] if rest[0] in ALLOWED else "commands"
    return top if top == "hpc" else None


@pytest.mark.parametrize("name", ALLOWED)
def test_a_package_imports_only_what_it_may(name):
    folder = ROOT / "cosmogan" / name
    paths = [path for path in files(f"cosmogan/{name}") if path.name != "__main__.py"] if folder.is_dir() else []
    for path in paths or [folder.with_suffix(".py")]:
        others = {package(module) for module in imports(path)} - {None, name}
        assert others <= ALLOWED[name], f"{path}: {others - ALLOWED[name]}"


def test_every_package_is_in_the_table_and_none_imports_another_in_a_circle():
    found = {path.parent.name for path in (ROOT / "cosmogan").glob("*/__init__.py")}
    assert found == ALLOWED.keys() - {"cli"}
    below = TopologicalSorter({name: others - {"hpc"} for name, others in ALLOWED.items()})
    assert len(list(below.static_order())) == len(ALLOWED)  # or it raises CycleError


def test_the_modules_of_hpc_import_none_in_a_circle():
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files("hpc")}
    below = TopologicalSorter({name: {top for top in names if _uses(path, top)} for name, path in names.items()})
    assert len(list(below.static_order())) == len(names)  # or it raises CycleError


def _uses(path, module):
    return any(name == module or name.startswith(f"{module}.") for name in imports(path))


@pytest.mark.parametrize("scheduler", ["slurm", "local"])
def test_one_file_chooses_the_scheduler(scheduler):
    users = [path.name for path in files("hpc") + files("cosmogan") if _uses(path, f"hpc.cluster.{scheduler}")]
    assert users == ["machines.py"]


def test_only_one_file_imports_mpi4py():
    importers = [p for p in files("hpc") + files("cosmogan") if any(n.startswith("mpi4py") for n in imports(p))]
    assert [p.name for p in importers] == ["mpi.py"]


def test_what_is_computed_does_not_read_the_environment():
    for path in files("cosmogan"):
        if path.name != "run.py":  # starts the other commands' processes
            assert "os.environ" not in path.read_text(), path
        assert "SLURM_" not in path.read_text(), path


def test_preprocess_needs_no_torch():
    code = "import sys, cosmogan.preprocess; print([m for m in ('torch', 'mpi4py') if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[]\n", done.stderr


def test_no_two_files_of_tests_have_one_name():
    """Pytest imports them by their bare names, and refuses the second."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))


def test_no_benchmark_hides_a_standard_module():
    """A script's own folder comes first where Python looks for what another script there imports."""
    assert not {path.stem for path in (ROOT / "benchmarks").glob("*.py")} & sys.stdlib_module_names


def test_the_files_that_contributors_are_sent_to_exist():
    rows = [line for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines() if line.startswith("| ")][1:]
    names = [name for row in rows for name in row.split("|")[2].split("`")[1::2]]
    assert len(rows) >= 25 and not [name for name in names if not (ROOT / name).exists()]


@pytest.mark.parametrize("name", ["cosmogan", "cosmogan.shards", "cosmogan.statistics"])
def test_what_a_package_lists_is_there(name):
    code = f"from {name} import *; import {name}; print(set({name}.__all__) - set(globals()))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "set()\n", done.stderr
