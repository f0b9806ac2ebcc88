"""The command `cosmogan`: the same commands as `python -m`, by one name."""

import subprocess
import sys

import pytest
from conftest import ROOT, environment
from preprocess_experiment import grid, real, write_config

from cosmogan import __main__, __version__

HEAVY = ["torch", "numpy", "h5py", "scipy", "yaml", "submitit", "matplotlib"]


def test_the_page_names_every_command_and_loads_nothing_heavy():
    code = f"import sys, cosmogan.__main__ as m; m.main(); print([x for x in {HEAVY} if x in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, "--help"], env=environment(), capture_output=True, text=True)
    *page, loaded = done.stdout.splitlines()
    listed = [line.split()[0] for line in page if line.startswith("  ") and not line.startswith("  cosmogan")]
    assert done.stderr == "" and loaded == "[]"
    assert listed == __main__.COMMANDS and max(map(len, page)) <= 120
    modules = {path.stem for path in (ROOT / "cosmogan").glob("*.py")} - {"__init__", "__main__", "cli"}
    assert modules <= set(listed)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["trian"], "trian: not a command; did you mean train? (cosmogan --help lists all)"),
        (["xyz"], "xyz: not a command (cosmogan --help lists all)"),
        (["--print-completion", "fish"], "--print-completion: expected bash or zsh, found fish"),
        (["--print-completion"], "--print-completion: expected bash or zsh, found nothing"),
    ],
)
def test_words_that_are_no_command_are_refused_in_one_line(python, words, line):
    done = python("cosmogan", *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"cosmogan: {line}\n")


def test_the_version_is_the_packages(python):
    assert python("cosmogan", "--version").stdout == f"cosmogan {__version__}\n"


@pytest.mark.parametrize("name", __main__.COMMANDS)
def test_every_command_describes_itself_by_the_name_that_it_was_called_by(monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", ["cosmogan", name, "--help"])
    with pytest.raises(SystemExit) as end:
        __main__.main()
    whole = "launch" if name in __main__.OF_LAUNCH else name
    assert end.value.code == 0 and capsys.readouterr().out.startswith(f"usage: cosmogan {whole} ")


@pytest.mark.parametrize(("name", "module"), [("report", "cosmogan.report"), ("status", "hpc.launch")])
def test_a_command_ends_as_that_of_python_m(python, tmp_path, name, module):
    words = [name] if name == "status" else []
    done, same = (python(*line, "none.yaml", cwd=tmp_path) for line in (("cosmogan", name), (module, *words)))
    assert (done.returncode, done.stderr) == (same.returncode, same.stderr)
    assert done.returncode == 1 and done.stderr.startswith("error: none.yaml: cannot be read")


def test_ranks_of_mpi_share_the_work_of_a_command(data, tmp_path, mpirun):
    config = write_config(tmp_path, [real(data)])
    done = mpirun(2, "cosmogan", "preprocess", config, "--profile")
    assert done.returncode == 0, done.stderr
    assert "on 2 MPI rank(s)" in done.stdout and grid(tmp_path / "run" / "shards").mean() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("cosmogan tr", "train"),
        ("cosmogan sample --pre", "--pretrained"),
        ("cosmogan train exp", "experiment.yaml"),
        ("cosmogan status exp", "experiment.yaml"),
        ("cosmogan shards show exp", "experiment.yaml"),
    ],
)
def test_bash_completes_commands_options_and_files(tmp_path, line, offered):
    pytest.importorskip("shtab")
    (tmp_path / "experiment.yaml").touch()
    (tmp_path / "completion").write_text(__main__.completion(["bash"]))
    asked = f"COMP_WORDS=({line}); COMP_CWORD={len(line.split()) - 1}; _shtab_cosmogan; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", f". ./completion; {asked}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == [offered], done.stderr
