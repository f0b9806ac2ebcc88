"""Check the input of a real GADGET-2: initial conditions, the parameter file of a run made with it, and run.sh."""

import itertools
import os
import signal
import stat
import subprocess

import numpy as np
import pytest
import yaml
from conftest import HANGS, ROOT, environment

from cosmogan import config, preprocess, simulate
from cosmogan.nbody import cosmology, gadget, snapshot
from cosmogan.simulations import gadget2_input
from cosmogan.simulations.simulated import SimulatedBox
from hpc import mpi

N, BOX, N_FILES = 32, 64.0, 3


def experiment(folder, *overrides):
    tree = {
        "name": "theirs",
        "output": str(folder / "run"),
        "simulate": {
            "n_simulations": 2,
            "box_size": BOX,
            "n_particles": N,
            "redshifts": [3.0, 1.0, 0.0],
            "transfer": "eisenstein-hu",
            "fixed_amplitudes": True,
            "device": "cpu",
            "gadget2": str(folder / "gadget2"),
            "gadget2_files": N_FILES,
        },
        "preprocess": {"n_mesh": 16, "subvolume": 8},
    }
    (folder / "theirs.yaml").write_text(yaml.safe_dump(tree))
    return config.load(folder / "theirs.yaml", overrides)


def written(folder, *overrides):
    made = experiment(folder, *overrides)
    simulate.simulate(made, mpi.SerialComm())
    return made


def parameters(path):
    """Return what GADGET-2 reads: the first two words of each line that has two and no comment."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return {words[0]: words[1] for words in lines if len(words) > 1 and not words[0].startswith("%")}


def test_the_parameter_file_has_every_parameter_of_a_real_run_and_no_other(tmp_path, data):
    """GADGET-2 refuses a file in which one is missing, unknown, or there twice."""
    same = ["simulate.box_size=32", "cosmology.h=0.69", "simulate.n_simulations=1", "simulate.gadget2_files=1"]
    path = SimulatedBox(written(tmp_path, *same), 0).folder / gadget2_input.PARAMETERS
    ours, theirs = parameters(path), parameters(data / "g2_32_mpc_f1" / "param.txt")
    assert ours.keys() == theirs.keys()
    assert path.read_text().count("\nSofteningHalo ") == 1
    for name in ("Omega0", "OmegaLambda", "OmegaBaryon", "HubbleParam", "BoxSize", "TimeBegin", "TimeMax"):
        assert float(ours[name]) == pytest.approx(float(theirs[name])), name
    for name in ("UnitLength_in_cm", "UnitMass_in_g", "UnitVelocity_in_cm_per_s", "SofteningHalo", "OutputListOn"):
        assert float(ours[name]) == pytest.approx(float(theirs[name])), name
    assert max(map(len, ours.values())) < 100  # what GADGET-2 has room for


def test_lengths_are_in_the_experiments_unit(tmp_path):
    made = written(tmp_path, "preprocess.length_unit=kpc/h", "simulate.n_simulations=1")
    found = parameters(SimulatedBox(made, 0).folder / gadget2_input.PARAMETERS)
    assert [float(found[name]) for name in ("BoxSize", "UnitLength_in_cm", "SofteningHalo")] == pytest.approx(
        [64000, 3.085678e21, 100]
    )
    assert snapshot.open_snapshot(SimulatedBox(made, 0).folder / gadget2_input.INITIAL, "all").box_size == 64000


def test_the_listed_times_and_the_end_are_the_redshifts(tmp_path):
    """GADGET-2 writes one snapshot when it ends, after those of the list: none is written twice."""
    box = SimulatedBox(written(tmp_path), 1).folder
    times = [float(line) for line in (box / "outputs.txt").read_text().split()]
    times.append(float(parameters(box / gadget2_input.PARAMETERS)["TimeMax"]))
    np.testing.assert_allclose(1 / np.array(times) - 1, [3, 1, 0], atol=1e-8)


def test_each_box_has_the_parameters_of_its_own_cosmology(tmp_path):
    made = written(tmp_path, "simulate.latin_hypercube={omega_m: [0.2, 0.4]}", "simulate.n_particles=8")
    seen = []
    for number in range(2):
        found = parameters(SimulatedBox(made, number).folder / gadget2_input.PARAMETERS)
        header = snapshot.open_snapshot(SimulatedBox(made, number).folder / gadget2_input.INITIAL, "all").header
        assert float(found["Omega0"]) == pytest.approx(header.omega_m)
        assert float(found["OmegaLambda"]) == pytest.approx(1 - header.omega_m)
        mass = header.mass_table[1] * 8**3  # GADGET-2 ends where the particles' mass is not that of Omega0
        assert mass / BOX**3 == pytest.approx(gadget.CRITICAL_DENSITY * header.omega_m)
        seen.append(header.omega_m)
    assert abs(seen[0] - seen[1]) > 0.001


def test_initial_conditions_are_the_growing_mode_of_the_linear_power(tmp_path):
    """In as many files as asked for; with fixed amplitudes, P(k) at z = 49 is linear theory's within 1 %."""
    made = written(tmp_path)
    whole = snapshot.open_snapshot(SimulatedBox(made, 0).folder / gadget2_input.INITIAL, "all")
    assert len(whole.files) == N_FILES and whole.n_particles == N**3 and whole.redshift == 49
    positions, velocities = np.empty((N**3, 3), np.float32), []
    whole.read_positions(positions, 0)
    ids = []
    for file in whole.files:
        n = sum(file.header.n_part)
        velocities.append(gadget.read_velocities(file))
        ids.append(np.fromfile(file.path, "<u4", n, offset=file.position_offset + 24 * n + 16))
    np.testing.assert_array_equal(np.concatenate(ids), np.arange(1, N**3 + 1))

    k, power = direct_power(positions.astype(float))
    linear = cosmology.linear_power(k, lambda k: cosmology.transfer(k, 0.29, 0.047, 0.695), 0.96, 0.82)
    linear *= cosmology.growth(0.02, 0.29) ** 2
    assert (power / linear).mean() == pytest.approx(1, abs=0.01)

    axis = np.arange(N) * (BOX / N)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    moved = (positions - lattice + BOX / 2) % BOX - BOX / 2
    rate = np.sqrt(0.02) * 100 * cosmology.expansion(0.02, 0.29) * cosmology.growth_rate(0.02, 0.29)  # √a H f
    assert (moved * np.concatenate(velocities)).sum() / (moved**2).sum() == pytest.approx(rate, rel=0.01)


def direct_power(positions):
    """Return k and P(k) of the longest waves of particles, one by one: no mesh, no window."""
    waves = np.array(list(itertools.product(range(4), range(-3, 4), range(-3, 4))))
    k = 2 * np.pi / BOX * waves[((waves**2).sum(axis=1) < 10) & waves.any(axis=1)]
    delta = np.exp(-1j * k @ positions.T).mean(axis=1)
    return np.sqrt((k**2).sum(axis=1)), abs(delta) ** 2 * BOX**3


def test_a_second_call_writes_nothing_and_more_boxes_are_added(tmp_path, capsys):
    made = written(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in made.simulations_folder.rglob("box-*/*")}
    simulate.simulate(made, mpi.SerialComm())
    assert "nothing to do: the input of GADGET-2 for all boxes is in" in capsys.readouterr().out
    written(tmp_path, "simulate.n_simulations=3")
    assert {path: path.stat().st_mtime_ns for path in times} == times and len(times) == 2 * (N_FILES + 3)
    assert gadget2_input.is_written(SimulatedBox(made, 2))
    with pytest.raises(ValueError, match=r"simulate\.seed: 1 -> 2"):
        written(tmp_path, "simulate.seed=2", "simulate.n_simulations=3")


PROGRAM = """\
#!/bin/bash
echo "$@" >> calls
[ "$1" = gadget2.param ] || exit 3
[ -e restart.0 ] || { touch restart.0; exit; }
cp "$SNAPSHOT" "snapshot_002"
"""


@pytest.fixture
def boxes(tmp_path, data):
    """An experiment of the real runs' box, and a program in the place of GADGET-2: stopped once, then it ends."""
    made = written(tmp_path, "simulate.box_size=32", "cosmology.h=0.69")
    program = tmp_path / "Gadget2"
    program.write_text(PROGRAM)
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    real = data / "g2_32_mpc_f1" / "snapshot_006"
    return made, environment(GADGET2=str(program), COSMOGAN_MPIRUN="env", SNAPSHOT=str(real))


def call(path, variables):
    return subprocess.run([path], env=variables, capture_output=True, text=True, timeout=HANGS, check=False)


def test_run_sh_starts_goes_on_and_is_done_and_preprocess_finds_what_came_out(boxes):
    made, variables = boxes
    with pytest.raises(ValueError, match=r"box-000/snapshot_002: not found; .* sbatch slurm/gadget2.sh"):
        preprocess.preprocess(made, mpi.SerialComm())
    for number in range(2):
        box = SimulatedBox(made, number).folder
        for _ in range(2):
            assert call(box / "run.sh", variables).returncode == 0
        assert "nothing to do" in call(box / "run.sh", variables).stdout
        assert (box / "calls").read_text() == "gadget2.param\ngadget2.param 1\n"
    preprocess.preprocess(made, mpi.SerialComm())
    assert preprocess.stage(made).is_done()


def test_a_missing_program_and_a_run_that_came_to_nothing_are_said(boxes):
    made, variables = boxes
    script = SimulatedBox(made, 0).folder / "run.sh"
    finished = call(script, variables | {"GADGET2": "/nowhere/Gadget2"})
    assert finished.returncode == 1 and "GADGET2: /nowhere/Gadget2 not found; expected" in finished.stderr
    finished = call(script, variables | {"GADGET2": "true"})  # as GADGET-2 ends after a wrong parameter
    assert finished.returncode == 1 and "GADGET-2 ended with no snapshot_002" in finished.stderr


def test_a_job_that_runs_out_of_time_stops_the_program_and_queues_again(boxes, tmp_path):
    """SLURM's signal comes to the script; the program sees the file ``stop`` and writes its restart files."""
    made, variables = boxes
    waiting = "#!/bin/bash\ntouch begun; until [ -e stop ]; do sleep 0.05; done; touch restart.0\n"
    (tmp_path / "Gadget2").write_text(waiting)
    (tmp_path / "scontrol").write_text('#!/bin/bash\necho "scontrol $@"\n')
    (tmp_path / "scontrol").chmod(0o755)
    variables |= {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_JOB_ID": "77"}
    variables["COSMOGAN_SITE"] = str(ROOT / "slurm" / "site.env")
    variables["PATH"] = os.pathsep.join([str(tmp_path), variables["PATH"]])
    command = ["bash", ROOT / "slurm" / "gadget2.sh", made.simulations_folder]
    job = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
    box = SimulatedBox(made, 1).folder
    while not (box / "begun").exists():
        assert job.poll() is None
    job.send_signal(signal.SIGUSR1)
    assert job.communicate(timeout=HANGS)[0] == "scontrol requeue 77_1\n" and job.returncode == 0
    assert (box / "restart.0").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("simulate.write=shards", "gadget2: expected write: snapshots"),
        ("simulate.gadget2_files=0", "gadget2_files: expected at least 1, found 0"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, override, said):
    with pytest.raises(ValueError, match=said):
        experiment(tmp_path, override)


def test_command_line(tmp_path, python):
    experiment(tmp_path)
    there = tmp_path / "there"
    finished = python("cosmogan.simulate", tmp_path / "theirs.yaml", "--gadget2", there, "simulate.n_simulations=1")
    assert finished.returncode == 0, finished.stderr
    assert f"sbatch --array=0-0 slurm/gadget2.sh {there}" in finished.stdout
    assert config.load(tmp_path / "run" / "config.yaml").simulations_folder == there
