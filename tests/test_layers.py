"""Who may import whom: the shape of the whole, held by a test."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARIES = ("nbody", "gan", "statistics")


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


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_do_not_import_one_another_nor_the_commands(library):
    allowed = {f"cosmogan.{library}", "cosmogan.config.Model", "cosmogan.config.Train"}
    for path in files(f"cosmogan/{library}"):
        ours = [name for name in imports(path) if name.split(".")[0] == "cosmogan"]
        foreign = [n for n in ours if not n.startswith(f"cosmogan.{library}") and n not in allowed]
        assert not foreign, f"{path}: {foreign}"


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


def test_no_benchmark_hides_a_standard_module():
    """A script's own folder comes first where Python looks for what another script there imports."""
    assert not {path.stem for path in (ROOT / "benchmarks").glob("*.py")} & sys.stdlib_module_names
