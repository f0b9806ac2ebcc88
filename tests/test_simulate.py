"""The command: what its snapshots say of themselves, what it does when run again, and what it refuses."""

import dataclasses
import json
import resource
from functools import partial

import numpy as np
import pytest
import snapshot_files
import torch
import yaml

from cosmogan import config, preprocess, simulate
from cosmogan.nbody import cosmology, gadget
from cosmogan.simulations import box, work
from cosmogan.simulations.outputs import Outputs
from hpc import mpi
from hpc.files import HOST

N, BOX = 16, 64.0


def experiment(folder, *overrides):
    tree = {
        "name": "tiny",
        "output": str(folder / "run"),
        "simulate": {
            "n_simulations": 2,
            "box_size": BOX,
            "n_particles": N,
            "mesh_factor": 1,
            "redshifts": [9.0, 0.0],
            "n_steps": 3,
            "transfer": "eisenstein-hu",
            "device": "cpu",
        },
        "preprocess": {"n_mesh": 16, "subvolume": 8},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tree))
    return config.load(folder / "tiny.yaml", overrides)


def run(folder, *overrides):
    made = experiment(folder, *overrides)
    simulate.simulate(made, mpi.SerialComm())
    return made


def read(path):
    """Return the file's description, positions, velocities and IDs."""
    file = gadget.open_file(path)
    n = sum(file.header.n_part)
    velocities = np.fromfile(path, "<f4", 3 * n, offset=file.position_offset + 12 * n + 8).reshape(n, 3)
    ids = np.fromfile(path, "<u4", n, offset=file.position_offset + 24 * n + 16)
    return file, snapshot_files.read(file)[0], velocities, ids


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("snapshot_*"))}


def test_snapshots_describe_themselves_truly(tmp_path):
    made = run(tmp_path)
    paths = sorted(contents(made.simulations_folder))
    names = [str(path.relative_to(made.simulations_folder)) for path in paths]
    assert names == [f"box-00{box}/snapshot_00{output}" for box in (0, 1) for output in (0, 1)]
    assert made.snapshots == (str(paths[1]), str(paths[3]))
    for path, redshift in zip(paths, (9.0, 0.0, 9.0, 0.0), strict=True):
        file, positions, _, ids = read(path)
        header = file.header
        assert header.n_part == header.n_total == (0, N**3, 0, 0, 0, 0)
        assert header.redshift == redshift and header.box_size == BOX and header.n_files == 1
        assert (header.omega_m, header.omega_lambda, header.h) == (0.29, 1 - 0.29, 0.695)
        assert [mass > 0 for mass in header.mass_table] == [False, True, False, False, False, False]
        density = header.mass_table[1] * N**3 / BOX**3
        assert density == pytest.approx(3 * 100**2 / (8 * np.pi * 43007.1) * 1e3 * 0.29, rel=1e-4)  # GADGET-2's G
        assert positions.min() >= 0 and positions.max() < BOX
        np.testing.assert_array_equal(ids, np.arange(1, N**3 + 1))


def test_a_particle_that_rounding_put_on_the_far_face_is_written_on_the_near_one(tmp_path):
    positions = torch.full((N**3, 3), 1.0)
    positions[5, 2] = BOX
    assert box.in_file_units(positions, BOX, "Mpc/h")[5].tolist() == [1.0, 1.0, 0.0]
    assert positions[5, 2] == BOX  # the particles themselves are left alone


def test_early_velocities_are_those_of_the_growing_mode(tmp_path):
    """At z = 9, v/√a = √a H a f D ψ for a displacement D ψ from the lattice."""
    made = run(tmp_path, "simulate.n_simulations=1", "cosmology.sigma_8=0.1", "simulate.redshift_initial=9.2")
    _, positions, velocities, _ = read(made.simulations_folder / "box-000" / "snapshot_000")
    axis = np.arange(N) * (BOX / N)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    moved = (positions - lattice + BOX / 2) % BOX - BOX / 2
    a = 0.1
    rate = np.sqrt(a) * 100 * cosmology.expansion(a, 0.29) * cosmology.growth_rate(a, 0.29)
    assert (moved * velocities).sum() / (moved**2).sum() == pytest.approx(rate, rel=0.01)
    assert np.corrcoef(moved.ravel(), velocities.ravel())[0, 1] > 0.999


def linear_modes(folder, *overrides):
    """Return the modes δ_k of two boxes' particles at z = 9, |component| < 4, (7, 7, 4): linear, for so small a σ8."""
    made, found = run(folder, "simulate.redshifts=[9]", "cosmology.sigma_8=0.02", *overrides), []
    for path in made.simulated:
        x, y, z = (2 * np.pi / BOX * read(path)[1].astype(float)).T
        low = np.array([*range(4), *range(-3, 0)])
        waves = (np.exp(-1j * low[:m, None] * u) for u, m in ((x, 7), (y, 7), (z, 4)))
        found.append(np.einsum("ap,bp,cp->abc", *waves, optimize=True) / len(x))
        found[-1][0, 0, 0] = 0
    return found


def likeness(a, b):
    return (a * b.conj()).sum().real / np.sqrt((abs(a) ** 2).sum() * (abs(b) ** 2).sum())


def test_finer_particles_have_the_same_large_scales(tmp_path):
    (tmp_path / "fine").mkdir()
    coarse, fine = linear_modes(tmp_path), linear_modes(tmp_path / "fine", "simulate.n_particles=64")
    for a, b in zip(coarse, fine, strict=True):
        assert likeness(a, b) > 0.998
        np.testing.assert_allclose(abs(a).sum(), abs(b).sum(), rtol=0.1)  # the coarse mesh takes some
    assert abs(likeness(*coarse)) < 0.3


def test_a_pair_of_fixed_boxes_has_its_overdensities_turned_round(tmp_path):
    overrides = ["simulate.n_particles=32", "simulate.fixed_amplitudes=true", "simulate.paired=true"]
    first, second = linear_modes(tmp_path, *overrides)
    assert likeness(first, second) < -0.99
    k = 2 * np.pi / BOX * np.sqrt(np.array([1, 2, 4, 9]))
    fit = partial(cosmology.transfer, omega_m=0.29, omega_b=0.047, h=0.695)
    expected = cosmology.linear_power(k, fit, 0.96, 0.02) * cosmology.growth(0.1, 0.29) ** 2
    found = np.array([abs(first[index]) ** 2 for index in ((1, 0, 0), (1, 1, 0), (0, 2, 0), (0, 0, 3))])
    np.testing.assert_allclose(found * BOX**3, expected, rtol=0.02)


def test_the_length_unit_changes_lengths_and_nothing_else(tmp_path):
    (tmp_path / "kpc").mkdir()
    mpc, kpc = run(tmp_path), run(tmp_path / "kpc", "preprocess.length_unit=kpc/h")
    for ours, theirs in zip(mpc.snapshots, kpc.snapshots, strict=True):
        (file, x, v, _), (other, y, u, _) = read(config.Path(ours)), read(config.Path(theirs))
        assert other.header == dataclasses.replace(file.header, box_size=1000 * BOX)
        np.testing.assert_allclose(y, 1000 * x, rtol=1e-6)
        np.testing.assert_array_equal(u, v)


def test_a_second_run_does_nothing_and_says_so(tmp_path, capsys):
    made = run(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in contents(made.simulations_folder)}
    assert "simulate: wrote 2 boxes" in capsys.readouterr().out
    simulate.simulate(made, mpi.SerialComm())
    assert "nothing to do: all boxes are in" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_an_interrupted_run_makes_what_is_missing_with_the_same_bytes(tmp_path):
    made = run(tmp_path)
    before = contents(made.simulations_folder)
    kept, lost = sorted(before)[1], sorted(before)[3]
    age = kept.stat().st_mtime_ns
    lost.unlink()
    assert not simulate.stage(made).is_done()
    simulate.simulate(made, mpi.SerialComm())
    assert contents(made.simulations_folder) == before
    assert kept.stat().st_mtime_ns == age


def test_a_box_goes_on_from_its_last_redshift_with_the_same_bytes(tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    whole, stopped = run(tmp_path / "whole"), experiment(tmp_path)
    evolve, calls = box.particle_mesh.evolve, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evolve(*arguments)

    monkeypatch.setattr(box.particle_mesh, "evolve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate.simulate(stopped, mpi.SerialComm())
    begun, make = [], box.initial_conditions
    monkeypatch.setattr(box, "initial_conditions", lambda *given: begun.append(given[1]) or make(*given))
    simulate.simulate(stopped, mpi.SerialComm())
    assert begun == [1]  # box 0 went on
    theirs, ours = contents(whole.simulations_folder), contents(stopped.simulations_folder)
    assert list(theirs.values()) == list(ours.values())
    assert not list(stopped.simulations_folder.glob("*.state*"))


def test_what_a_killed_run_left_half_written_is_cleared_away(tmp_path):
    made = experiment(tmp_path)
    left = made.simulations_folder / "box-000" / f".snapshot_000.{HOST}.999999999.part"
    left.parent.mkdir(parents=True)
    left.touch()
    simulate.simulate(made, mpi.SerialComm())
    assert not left.exists()


def test_a_box_that_another_process_makes_meanwhile_is_left_alone(tmp_path, monkeypatch):
    made, begin, boxes, make = experiment(tmp_path), Outputs.begin, [], box.run

    def other(kept, *given):
        monkeypatch.setattr(Outputs, "begin", begin)
        work.simulate(simulate.stage(made), None)  # as where the file system has no locks

    monkeypatch.setattr(Outputs, "begin", other)
    monkeypatch.setattr(box, "run", lambda *given: boxes.append(given[1]) or make(*given))
    simulate.simulate(made, mpi.SerialComm())
    assert boxes == [0, 1] and simulate.stage(made).is_done()


def test_a_full_disk_is_one_line(tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    made = experiment(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(OSError, match=r"File too large while writing it; .* run the same command again"):
            simulate.simulate(made, mpi.SerialComm())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [path for path in made.simulations_folder.rglob("*") if path.is_file()] == []


def shards_of(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "run/shards").glob("*.h5"))}


@pytest.mark.parametrize("write", ["shards", "both"])
def test_straight_to_shards_is_the_way_over_snapshots(tmp_path, write, monkeypatch):
    settings = ["preprocess.shards=2", "model.condition=[redshift]", "preprocess.length_unit=kpc/h"]
    monkeypatch.chdir(tmp_path)
    experiments = []
    for name, more in (("one", []), ("two", [f"simulate.write={write}"])):
        (tmp_path / name).mkdir()
        made = run(tmp_path / name, *settings, "output=run", *more)
        experiments.append(made)
        expected = 0 if name == "one" else 8
        assert len(list(made.shards_folder.glob("*.h5"))) == expected
        assert bool(contents(made.simulations_folder)) == (name == "one" or write == "both")
        preprocess.preprocess(made, mpi.SerialComm())
        assert preprocess.stage(made).is_done() and simulate.stage(made).is_done()
        (tmp_path / "run").rename(tmp_path / name / "run")
    one, two = shards_of(tmp_path / "one"), shards_of(tmp_path / "two")
    assert len(one) == 8 and one == two


def test_the_last_line_says_what_is_missing_of_the_shards(tmp_path, capsys):
    made = run(tmp_path, "simulate.write=shards")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "simulate: next: preprocess, which writes the manifest of these shards"
    assert not (made.shards_folder / "manifest.json").exists()


def test_several_ranks_are_refused_in_one_line(tmp_path, mpirun):
    done = mpirun(2, "cosmogan.simulate", experiment(tmp_path).freeze(), cwd=tmp_path)
    expected = "error: mpirun or srun: started 2 ranks, but simulate is one process; start it alone, or one process"
    assert done.returncode == 1 and done.stderr.startswith(expected) and len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("box-*"))


def test_shards_that_are_lost_are_simulated_again_and_snapshots_stay_away(tmp_path):
    made = run(tmp_path, "simulate.write=shards")
    assert not contents(made.simulations_folder)
    before = shards_of(tmp_path)
    next(made.shards_folder.glob("simulation-001*")).unlink()
    assert not simulate.stage(made).is_done()
    preprocess.preprocess(made, mpi.SerialComm())
    assert shards_of(tmp_path) == before


def test_a_box_starts_from_a_gadget_file(tmp_path, data):
    """Its particles after one tiny step are those of the file; a file of other particles is refused."""
    start = data / "g2_32_mpc_f1" / "ic32_mpc"
    same = ["simulate.n_simulations=1", "simulate.n_particles=32", "simulate.box_size=32", "cosmology.h=0.69"]
    overrides = [*same, f"simulate.initial_conditions={start}", "simulate.redshifts=[48.9]", "simulate.n_steps=1"]
    made = run(tmp_path, *overrides)
    (_, x, v, _), (_, x0, v0, _) = read(made.simulated[0]), read(start)
    apart = (x - x0 + 16) % 32 - 16
    assert abs(apart).max() < 0.01
    np.testing.assert_allclose(v, v0, rtol=0.02, atol=0.5)
    for changed, said in (
        ("simulate.n_particles=16", "n_particles = 16, found 32"),
        ("simulate.box_size=64", "box_size = 64, found 32"),
    ):
        (tmp_path / said[:3]).mkdir()
        with pytest.raises(ValueError, match=f"ic32_mpc: simulate.initial_conditions: expected simulate.{said}"):
            run(tmp_path / said[:3], *overrides, changed)


def test_more_boxes_are_added_and_another_device_changes_nothing(tmp_path):
    made = run(tmp_path)
    before = contents(made.simulations_folder)
    assert simulate.stage(experiment(tmp_path, "simulate.device=cuda")).is_done()
    more = run(tmp_path, "simulate.n_simulations=3")
    after = contents(more.simulations_folder)
    assert len(after) == 6 and {path: after[path] for path in before} == before
    assert len({data[300:] for data in after.values()}) == 6  # no two boxes alike


def test_boxes_of_other_settings_are_not_mixed(tmp_path):
    made = run(tmp_path, "simulate.n_simulations=1")
    with pytest.raises(ValueError, match=r"simulate\.seed: 1 -> 2"):
        run(tmp_path, "simulate.n_simulations=1", "simulate.seed=2")
    assert json.loads((made.folder / "receipts" / "simulate.json").read_text())["recipe"]["simulate"]["seed"] == 1
    made.simulated[0].unlink()  # a box that is there in part, as an interrupted one
    with pytest.raises(ValueError, match=r"simulate\.seed: 1 -> 2"):
        run(tmp_path, "simulate.n_simulations=1", "simulate.seed=2")


def test_all_boxes_have_the_force_mesh_that_the_first_was_begun_with(tmp_path, monkeypatch):
    (tmp_path / "coarse").mkdir()
    coarse, fitting, asked = run(tmp_path / "coarse"), box.fitting, []

    def on_a_small_gpu(settings, device, fixed):
        asked.append(fixed)
        return dataclasses.replace(settings, mesh_factor=1)

    monkeypatch.setattr(box, "fitting", on_a_small_gpu)
    run(tmp_path, "simulate.mesh_factor=2", "simulate.n_simulations=1")
    monkeypatch.setattr(box, "fitting", fitting)
    made = run(tmp_path, "simulate.mesh_factor=2")
    assert list(contents(made.simulations_folder).values()) == list(contents(coarse.simulations_folder).values())
    record = json.loads((made.folder / "receipts" / "simulate.json").read_text())
    assert record["results"]["mesh_factor"] == 1 and record["recipe"]["simulate"]["mesh_factor"] == 2
    monkeypatch.setattr(box, "fitting", on_a_small_gpu)
    run(tmp_path, "simulate.mesh_factor=2", "simulate.n_simulations=3")
    assert asked == [False, True]


def test_too_few_steps_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"n_steps: expected at least one to each redshift, 2, found 1"):
        run(tmp_path, "simulate.n_steps=1")
    assert not (tmp_path / "run").exists()


def test_with_snapshots_of_ones_own_there_is_nothing_to_do(tmp_path, capsys):
    made = run(tmp_path, "preprocess.snapshots=[mine]")
    assert "nothing to do: preprocess.snapshots is set" in capsys.readouterr().out
    assert not made.folder.exists()


def test_command_line(tmp_path, python):
    experiment(tmp_path)
    finished = python("cosmogan.simulate", tmp_path / "tiny.yaml", "simulate.n_simulations=1")
    assert finished.returncode == 0, finished.stderr
    assert "simulate: wrote 1 boxes of 16³ particles, 64 Mpc/h, 2 redshift(s)" in finished.stdout
    refused = python("cosmogan.simulate", tmp_path / "tiny.yaml", "simulate.n_simulations=1", "simulate.n_steps=4")
    assert refused.returncode == 1 and "simulate.n_steps: 3 -> 4" in refused.stderr
    assert "Traceback" not in refused.stderr

    huge = python("cosmogan.simulate", tmp_path / "tiny.yaml", "output=huge", "simulate.n_particles=8192", cwd=tmp_path)
    assert huge.returncode == 1 and huge.stderr.startswith("error: simulate.n_particles: 8192³ particles with a force")
    assert len(huge.stderr.splitlines()) == 1 and not (tmp_path / "huge").exists()
