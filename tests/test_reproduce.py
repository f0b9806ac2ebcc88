"""`scripts/reproduce.sh`: which chains it runs, on which machine, and what it refuses."""

import pytest
from conftest import ROOT, run

SCRIPT = ROOT / "scripts" / "reproduce.sh"


@pytest.fixture
def reproduce(tmp_path):
    """Run the script with stand-ins for Python, which writes down its arguments, and nvidia-smi, which sees GPUs."""

    def call(*arguments, gpus=0, status=0, **environment):
        python, smi = tmp_path / "python", tmp_path / "nvidia-smi"
        python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/arguments\nexit {status}\n')
        smi.write_text("#!/bin/sh\n" + "".join(f"echo GPU {i}: some\n" for i in range(gpus)))
        for file in (python, smi):
            file.chmod(0o755)
        (tmp_path / "arguments").write_text("")
        path = f"{tmp_path}:/usr/bin:/bin"
        done = run(["bash", SCRIPT, *arguments], **{"PYTHON": str(python), "PATH": path} | environment)
        return done, (tmp_path / "arguments").read_text().splitlines()

    return call


def test_it_runs_the_paper_and_its_control_on_the_same_shards_and_compares_them(reproduce):
    done, commands = reproduce("train.epochs=2")
    assert done.returncode == 0, done.stderr
    start = "-m cosmogan.run configs/reproduce-smoke.yaml --cluster local"
    folder = "runs/reproduce-smoke"
    control = f"name=reproduce-smoke-gaussian output={folder}-gaussian data={folder} model.prior=gaussian"
    compare = f"-m cosmogan.report --compare {folder} {folder}-gaussian --output {folder}-comparison"
    assert commands == [f"{start} train.epochs=2", f"{start} {control} train.epochs=2", compare]


@pytest.mark.parametrize(("gpus", "machine"), [(1, "one-gpu"), (4, "four-gpus"), (8, "four-gpus")])
def test_the_machine_is_what_is_seen_or_what_is_said(reproduce, gpus, machine):
    _, commands = reproduce(gpus=gpus, REPRODUCE_SCALE="full")
    assert commands[0] == f"-m cosmogan.run configs/reproduce-full.yaml --cluster {machine}"
    _, commands = reproduce(gpus=gpus, REPRODUCE_CLUSTER="mine.yaml")
    assert "--cluster mine.yaml" in commands[0]


def test_out_of_time_it_ends_with_its_chains_status(reproduce):
    done, commands = reproduce(status=75, REPRODUCE_MINUTES="2.5")
    assert done.returncode == 75
    given, _, minutes = commands[0].rpartition(" ")
    assert len(commands) == 1 and given.endswith(" --minutes") and 2 < float(minutes) <= 2.5


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"REPRODUCE_SCALE": "huge"}, "REPRODUCE_SCALE: expected smoke, quarter or full, found huge"),
        ({"REPRODUCE_MINUTES": "soon"}, "REPRODUCE_MINUTES: expected a number of minutes, found soon"),
        ({"PYTHON": "nowhere/python"}, "nowhere/python: not found; run `make install`, or set PYTHON"),
    ],
)
def test_what_it_refuses_is_one_line(reproduce, setting, said):
    done, commands = reproduce(**setting)
    assert done.returncode == 1 and not commands
    assert done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1
