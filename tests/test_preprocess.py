"""Preprocess real snapshots on any number of ranks, and read the shards."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from preprocess_experiment import grid, real, write_config

from cosmogan import config, preprocess, shards
from cosmogan.nbody import gadget
from cosmogan.nbody.paint import Painter
from cosmogan.simulations import snapshots
from hpc.mpi import SerialComm

REAL = [  # folder, snapshot, unit, mesh
    ("g2_32_mpc_f1", "snapshot_006", "Mpc/h", 32),
    ("g2_32_mpc_f1", "snapshot_000", "Mpc/h", 32),
    ("g2_32_mpc_f1", "ic32_mpc", "Mpc/h", 32),
    ("g2_32_mpc_f1_n4", "snapshot_006", "Mpc/h", 32),
    ("g2_32_mpc_f2_longids", "snapshot_006", "Mpc/h", 32),
    ("g2_32_mpc_f1_potacc_double", "snapshot_000", "Mpc/h", 32),
    ("g2_64_kpc_f1", "snapshot_006", "kpc/h", 64),
]


@pytest.mark.parametrize(("folder", "name", "unit", "n_mesh"), REAL)
def test_grids_of_real_snapshots_equal_pylians(data, tmp_path, folder, name, unit, n_mesh):
    path = write_config(tmp_path, [data / folder / name], length_unit=unit, n_mesh=n_mesh, subvolume=n_mesh // 4)
    preprocess.preprocess(config.load(path), SerialComm())
    mesh = grid(tmp_path / "run" / "shards")
    counts = np.load(data / folder / "facts" / f"{name}_cic{n_mesh}_pylians.npy")
    assert counts.sum(dtype=np.float64) == pytest.approx(n_mesh**3, rel=1e-6)  # one particle a cell
    np.testing.assert_allclose(mesh, counts, rtol=1e-5, atol=1e-5)  # float32 positions: 4e-6 of a cell
    assert mesh.sum(dtype=np.float64) == pytest.approx(n_mesh**3, rel=1e-6)
    geometry = shards.Folder(tmp_path / "run" / "shards").geometry
    facts = json.loads((data / folder / "facts" / f"{name}.facts.json").read_text())
    assert geometry.box_size == pytest.approx(facts["BoxSize_Mpc_h"])
    assert geometry.mean_cell_mass == pytest.approx(facts["mass_table_1e10Msun_h"][1])
    assert geometry.redshift == pytest.approx(facts["redshift"], abs=1e-6)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_any_number_of_ranks_writes_the_same_bytes(data, tmp_path, mpirun, ranks):
    snapshots = [data / "g2_32_mpc_f1_n4" / "snapshot_006", data / "g2_32_mpc_f1" / "snapshot_006"]
    path = write_config(tmp_path, snapshots, shards=5, memory_per_rank=1)
    done = mpirun(ranks, "cosmogan.preprocess", path)
    assert done.returncode == 0, done.stderr
    alone = f"output={tmp_path / 'alone'}"
    preprocess.preprocess(config.load(path, [alone, "preprocess.memory_per_rank=64"]), SerialComm())
    written = sorted((tmp_path / "run" / "shards").glob("*.h5"))
    assert len(written) == 10
    for shard in written:
        assert shard.read_bytes() == (tmp_path / "alone" / "shards" / shard.name).read_bytes()


def test_more_ranks_than_subvolumes_and_no_mpi4py(data, tmp_path, mpirun, python):
    path = write_config(tmp_path, [data / "g2_32_mpc_f1" / "snapshot_006"], subvolume=32)
    assert mpirun(3, "cosmogan.preprocess", path).returncode == 0
    mesh = grid(tmp_path / "run" / "shards")
    (tmp_path / "mpi4py.py").write_text("raise ImportError('no MPI here')")
    done = python("cosmogan.preprocess", path, f"output={tmp_path / 'plain'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(grid(tmp_path / "plain" / "shards"), mesh)


def write_gas_and_halo(path: Path, dtype=np.float64) -> np.ndarray:
    """Gas and dark matter of different masses in a box of 8 Mpc/h whose mean density fits its header."""
    rng = np.random.default_rng(3)
    positions = rng.uniform(0, 8, (1000, 3)).astype(dtype)
    total = gadget.CRITICAL_DENSITY * 0.3 * 8.0**3
    masses = (total * 0.1 / 400, total * 0.9 / 600, 0, 0, 0, 0)
    n_part = (400, 600, 0, 0, 0, 0)
    header = gadget.Header(n_part, masses, 0.0, 8.0, 0.3, 0.7, 0.7, n_part, 1)
    gadget.write(path, positions, np.zeros_like(positions), np.arange(1000, dtype=np.uint64), header, labelled=True)
    return positions


def test_types_with_different_masses_weigh_what_they_weigh(tmp_path):
    write_gas_and_halo(tmp_path / "s")
    path = write_config(tmp_path, [tmp_path / "s"], n_mesh=8, subvolume=4)
    for kind in ("all", "0", "1"):
        output = [f"output={tmp_path / kind}", f"preprocess.particle_type={kind}"]
        preprocess.preprocess(config.load(path, output), SerialComm())
    meshes = {kind: grid(tmp_path / kind / "shards") for kind in ("all", "0", "1")}
    assert all(mesh.mean(dtype=np.float64) == pytest.approx(1, rel=1e-6) for mesh in meshes.values())
    np.testing.assert_allclose(meshes["all"], 0.1 * meshes["0"] + 0.9 * meshes["1"], rtol=1e-4, atol=1e-5)


def test_globs_stems_and_parts_name_a_snapshot_once(data, tmp_path):
    several = data / "g2_32_mpc_f1_n4"
    path = write_config(tmp_path, [several / "snapshot_006.*", several / "snapshot_006"])
    assert len(snapshots.find(config.load(path))) == 1


def test_how_far_it_is_begins_with_what_is_kept(data, tmp_path, python):
    """By that a scheduler's job tells an attempt that got on from one that did not."""
    sets = ("g2_32_mpc_f1", "g2_32_mpc_f1_n4", "g2_32_mpc_f2_longids")
    path = write_config(tmp_path, [data / name / "snapshot_006" for name in sets], shards=4)
    progress, n = tmp_path / "progress.json", 32**3
    for lost, began in ((12, 0), (5, 7 * n // 4), (0, None)):
        for shard in sorted(config.load(path).shards_folder.glob("*.h5"))[:lost]:
            shard.unlink()
        done = python("cosmogan.preprocess", path, HPC_PROGRESS=str(progress))
        assert done.returncode == 0, done.stderr
        if began is not None:
            (line,) = json.loads(progress.read_text())
            left = 3 * n if began == 0 else 2 * n  # one snapshot has lost nothing
            assert (line["began"], line["count"], line["total"]) == (began, began + left, began + left)


def test_a_set_of_simulations_and_redshifts_by_a_pattern(data, tmp_path, mpirun):
    for box in (3, 4):
        (tmp_path / f"box-{box:03d}").mkdir()
        for number in (0, 3, 6):
            (tmp_path / f"box-{box:03d}" / f"snapshot_{number:03d}").symlink_to(
                data / "g2_32_mpc_f1" / f"snapshot_{number:03d}"
            )
    path = write_config(tmp_path, [tmp_path / "box-{simulation:03d}" / "snapshot_{snapshot:03d}"], shards=2)
    done = mpirun(2, "cosmogan.preprocess", path)
    assert done.returncode == 0, done.stderr
    with shards.open(tmp_path / "run" / "shards") as everything:
        assert len(everything) == 6 * 64 and np.allclose(everything.redshift_values, [0, 1, 3], atol=1e-3)
    one = tmp_path / "one"
    preprocess.preprocess(config.load(write_config(tmp_path, [data / "g2_32_mpc_f1" / "snapshot_003"]),
                                      [f"output={one}"]), SerialComm())  # fmt: skip
    with shards.open(tmp_path / "run" / "shards", redshift=1) as some, shards.open(one / "shards") as alone:
        assert sorted(set(some.simulations)) == [3, 4] and len(some) == 128
        rows = np.flatnonzero(some.simulations == 4)
        order = np.lexsort(some.corners[rows].T), np.lexsort(alone.corners.T)
        np.testing.assert_array_equal(some[rows][order[0]], alone[:][order[1]])


@pytest.mark.parametrize(("window", "order"), [("ngp", 1), ("tsc", 3), ("pcs", 4)])
def test_the_window_is_what_the_setting_says(data, tmp_path, window, order):
    path = write_config(tmp_path, [real(data)], window=window)
    preprocess.preprocess(config.load(path), SerialComm())
    assert shards.Folder(tmp_path / "run" / "shards").geometry.window == order
    positions = np.fromfile(real(data), np.float32, 3 * 32**3, offset=268).reshape(-1, 3)
    painter = Painter((1.0, 32, 32), np.zeros(1, np.int32), order)
    painter.add(positions)
    np.testing.assert_array_equal(grid(tmp_path / "run" / "shards"), painter.density()[0][0])


def test_the_profile_counts_bytes_and_messages(data, tmp_path, mpirun):
    larger = data / "g2_64_kpc_f1" / "snapshot_006"
    path = write_config(tmp_path, [larger], length_unit="kpc/h", n_mesh=64, subvolume=16)
    done = mpirun(3, "cosmogan.preprocess", path, "--profile", "preprocess.memory_per_rank=1")
    assert done.returncode == 0 and "imbalance" in done.stdout, done.stderr
    receipt = json.loads((tmp_path / "run" / "shards" / "receipts" / "preprocess.json").read_text())
    stages = {line["stage"]: line for line in receipt["results"]["stages"]}
    n, share = 64**3, -(-(64**3) // 3)
    own = 22 * 16**3 * 4
    rounds = -(-share // int((1e6 - own) / 52))
    assert stages["read"]["bytes"] == 12 * n and stages["write"]["bytes"] == 4 * n
    assert n < stages["paint"]["bytes"] / 12 < n * (17 / 16) ** 3
    assert 6 * (rounds - 1) <= stages["exchange"]["messages"] <= 6 * rounds  # a rank may have nothing for another
    assert 0 < stages["exchange"]["bytes"] < stages["paint"]["bytes"]
    assert all(line["imbalance"] >= 1 for line in stages.values())


def test_memory_is_bounded_by_the_setting(data, tmp_path, mpirun):
    """Peak memory grows by own subvolumes and one round, not by the snapshot."""
    code = (
        "import resource, runpy, atexit\n"
        "atexit.register(lambda: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))\n"
        "runpy.run_module('cosmogan.preprocess', run_name='__main__')"
    )
    (tmp_path / "measured.py").write_text(code)
    many = [tmp_path / f"s{i}" for i in range(2)]
    for link in many:
        link.symlink_to(data / "g2_64_kpc_f1" / "snapshot_006")
    path = write_config(tmp_path, many, length_unit="kpc/h", n_mesh=256, subvolume=64, shards=64)
    bare = write_config(tmp_path / "bare", [real(data)], n_mesh=4, subvolume=4)

    def peak(config_file):
        done = mpirun(2, "measured", config_file, "preprocess.memory_per_rank=40", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return max(int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("peak")) / 1e3

    assert peak(path) - peak(bare) < 1.2 * 40


def test_without_snapshots_the_embedded_simulator_makes_them(tmp_path, mpirun):
    tree = {"name": "test", "output": str(tmp_path / "run")}
    tree["simulate"] = {"n_simulations": 2, "box_size": 32, "n_particles": 16, "n_steps": 3}
    tree["simulate"]["transfer"] = "eisenstein-hu"
    tree["preprocess"] = {"n_mesh": 16, "subvolume": 8}
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree))
    done = mpirun(2, "cosmogan.preprocess", path)
    assert done.returncode == 0 and "simulating first" in done.stdout, done.stderr
    assert len(shards.Folder(tmp_path / "run" / "shards")) == 16
    done = mpirun(2, "cosmogan.preprocess", path, "cosmology.sigma_8=0.5")
    assert done.returncode != 0 and "other settings (cosmology.sigma_8: 0.82 -> 0.5)" in done.stderr
