import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import snapshot_files as made
import yaml

from cosmogan import config, preprocess, shards, snapshots
from cosmogan.nbody import gadget
from cosmogan.nbody.paint import paint
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


def write_config(folder: Path, snapshots, **settings) -> Path:
    """An experiment on given snapshots: 32³ cells in subvolumes of 8³, unless ``settings`` say otherwise."""
    tree = {"name": "test", "output": str(folder / "run")}
    tree["preprocess"] = {"snapshots": [str(s) for s in snapshots], "n_mesh": 32, "subvolume": 8} | settings
    folder.mkdir(exist_ok=True)
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def grid(folder: Path, simulation: int = 0) -> np.ndarray:
    """Put a simulation's subvolumes back together."""
    opened = shards.Folder(folder)
    n, m = opened.geometry.n_mesh, opened.geometry.subvolume
    mesh = np.full((n, n, n), np.nan, np.float32)
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            for density, corner, number in zip(file["density"], file["corner"], file["simulation"], strict=True):
                if number == simulation:
                    mesh[tuple(slice(c, c + m) for c in corner)] = density
    return mesh


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
    told, n = tmp_path / "told.json", 32**3
    for lost, began in ((12, 0), (5, 7 * n // 4), (0, None)):
        for shard in sorted(config.load(path).shards_folder.glob("*.h5"))[:lost]:
            shard.unlink()
        done = python("cosmogan.preprocess", path, HPC_PROGRESS=str(told))
        assert done.returncode == 0, done.stderr
        if began is not None:
            (line,) = json.loads(told.read_text())
            left = 3 * n if began == 0 else 2 * n  # one snapshot has lost nothing
            assert (line["began"], line["count"], line["total"]) == (began, began + left, began + left)


def test_a_finished_folder_is_left_alone_and_a_missing_shard_made_again(data, tmp_path, capsys):
    path = write_config(tmp_path, [data / "g2_32_mpc_f1" / "snapshot_006"], shards=4)
    experiment = config.load(path)
    preprocess.preprocess(experiment, SerialComm())
    folder = experiment.shards_folder
    before = {p: p.stat().st_mtime_ns for p in folder.glob("*")}
    assert preprocess.done(experiment)
    preprocess.preprocess(experiment, SerialComm())
    assert "done" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in folder.glob("*")} == before
    lost = sorted(folder.glob("*.h5"))[2]
    whole = lost.read_bytes()
    lost.unlink()
    assert not preprocess.done(experiment)
    preprocess.preprocess(experiment, SerialComm())
    assert lost.read_bytes() == whole
    kept = [p for p in folder.glob("*.h5") if p != lost]
    assert all(p.stat().st_mtime_ns == before[p] for p in kept)


def real(data):
    return data / "g2_32_mpc_f1" / "snapshot_006"


BAD = {  # what is wrong: (settings, what the line must say)
    "missing": ({"snapshots": ["none"]}, "none: not found; expected a GADGET-2 snapshot"),
    "no match": ({"snapshots": ["none*"]}, "preprocess.snapshots: nothing matches none*"),
    "no pattern": ({"snapshots": ["no-{simulation}"]}, "nothing matches no-{simulation}; expected files such as no-0"),
    "unit": ({"length_unit": "kpc/h"}, "is preprocess.length_unit=kpc/h right?"),
    "two units": (
        {"snapshots": ["{data}/g2_32_mpc_f1/snapshot_006", "{data}/g2_64_kpc_f1/snapshot_006"]},
        "expected one unit for all",
    ),
    "divisor": ({"subvolume": 7}, "preprocess.subvolume: expected a divisor of n_mesh = 32, found 7"),
    "type": ({"particle_type": 4}, "no particles of preprocess.particle_type=4"),
    "shards": ({"shards": 65}, "preprocess.shards: expected 1 to 64, found 65"),
    "window": ({"window": "cit"}, "preprocess.window: expected one of ngp, cic, tsc, pcs, found 'cit'"),
    "misspelt": ({"n_mehs": 3}, "preprocess.n_mehs: unknown setting; did you mean preprocess.n_mesh?"),
    "memory": (
        {"n_mesh": 128, "memory_per_rank": 5},
        "memory_per_rank: expected at least 8.602 MB, which 1 rank(s) need for 128³ cells in 1 shard(s), found 5",
    ),
}


@pytest.mark.parametrize("defect", BAD)
def test_bad_settings_end_in_one_line(data, tmp_path, python, defect):
    settings, message = BAD[defect]
    given = {"snapshots": [str(real(data))]} | settings
    entries = [entry.replace("{data}", str(data)) for entry in given.pop("snapshots")]
    path = write_config(tmp_path, entries, **given)
    done = python("cosmogan.preprocess", path, cwd=tmp_path)
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")


def spoil(path: Path, defect: str) -> None:
    raw = bytearray(path.read_bytes())
    if defect == "nan":
        raw[268 + 12 * 20_000 : 272 + 12 * 20_000] = np.float32(np.nan).tobytes()
    elif defect == "far":
        raw[268 + 12 * 20_000 : 272 + 12 * 20_000] = np.float32(1e6).tobytes()
    elif defect == "truncated":
        raw = raw[:100_000]
    path.write_bytes(raw)


def test_one_rank_names_the_file_of_a_bad_position_too(data, tmp_path):
    (tmp_path / "a").write_bytes(real(data).read_bytes())
    spoil(tmp_path / "a", "nan")
    with pytest.raises(ValueError, match=rf"{tmp_path / 'a'}: particle 20000: position \(nan"):
        preprocess.preprocess(config.load(write_config(tmp_path, [tmp_path / "a"])), SerialComm())


@pytest.mark.parametrize("mass", [np.nan, np.inf, -1.0])
def test_a_mass_that_cannot_be_is_named(tmp_path, mass):
    masses = np.full(8, made.mean_mass(8), np.float32)
    masses[5] = mass
    made.write_binary(tmp_path / "s", made.positions(t1=8), {1: masses})
    path = write_config(tmp_path, [tmp_path / "s"], n_mesh=8, subvolume=4)
    with pytest.raises(ValueError, match=rf"s: particle 5: mass {mass:g}: expected a finite number, not below 0"):
        preprocess.preprocess(config.load(path), SerialComm())


def test_masses_that_are_all_0_are_refused(tmp_path):
    made.write_binary(tmp_path / "s", made.positions(t1=8), {1: np.zeros(8, np.float32)})
    path = write_config(tmp_path, [tmp_path / "s"], n_mesh=8, subvolume=4)
    with pytest.raises(ValueError, match="s: the masses of all 8 particles are 0"):
        preprocess.preprocess(config.load(path), SerialComm())


@pytest.mark.parametrize("defect", ["nan", "far", "truncated"])
def test_a_bad_file_among_good_ones_ends_all_ranks_and_keeps_what_is_complete(data, tmp_path, mpirun, defect):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(real(data).read_bytes())
    spoil(tmp_path / "b", defect)
    path = write_config(tmp_path, [tmp_path / "a", tmp_path / "b"], shards=2)
    done = mpirun(3, "cosmogan.preprocess", path)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(lines) == 1 and f"{tmp_path / 'b'}: " in lines[0]
    assert {"nan": "particle 20000: position (nan", "far": "position (1e+06"}.get(defect, "truncated") in lines[0]
    complete = sorted(p.name for p in (tmp_path / "run").rglob("*.h5"))
    expected = [] if defect == "truncated" else [f"simulation-000-shard-{i:03d}-of-002.h5" for i in range(2)]
    assert complete == expected  # a truncated file is found before any work


def test_snapshots_of_two_redshifts_are_refused(data, tmp_path):
    path = write_config(tmp_path, [data / "g2_32_mpc_f1" / f"snapshot_00{i}" for i in (0, 6)])
    with pytest.raises(ValueError, match=r"snapshot_006: redshift is .* but .*snapshot_000 has 3"):
        preprocess.preprocess(config.load(path), SerialComm())


def test_a_folder_of_another_experiment_is_refused(data, tmp_path):
    path = write_config(tmp_path, [real(data)])
    preprocess.preprocess(config.load(path), SerialComm())
    with pytest.raises(ValueError, match=r"begun here with other settings \(.*subvolume: 8 -> 16"):
        preprocess.preprocess(config.load(path, ["preprocess.subvolume=16"]), SerialComm())


def test_a_snapshot_that_another_has_taken_the_place_of_is_refused(data, tmp_path):
    (tmp_path / "s").write_bytes(real(data).read_bytes())
    experiment = config.load(write_config(tmp_path, [tmp_path / "s"]))
    preprocess.preprocess(experiment, SerialComm())
    (tmp_path / "s").write_bytes(real(data).with_name("snapshot_003").read_bytes())
    assert not preprocess.done(experiment)
    with pytest.raises(ValueError, match=rf"begun here with other settings \(contents\.{tmp_path / 's'}: \w+ -> \w+"):
        preprocess.preprocess(experiment, SerialComm())


def test_snapshots_are_added_to_those_there(data, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(real(data).read_bytes())
    experiment = config.load(write_config(tmp_path, [tmp_path / "a"], shards=2))
    preprocess.preprocess(experiment, SerialComm())
    before = {path: path.stat().st_mtime_ns for path in experiment.shards_folder.glob("*.h5")}
    more = config.load(write_config(tmp_path, [tmp_path / "a", tmp_path / "b"], shards=2))
    preprocess.preprocess(more, SerialComm())
    assert preprocess.done(more) and len(shards.Folder(more.shards_folder)) == 128
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    with pytest.raises(ValueError, match="begun here with other settings"):  # numbers would mean others
        preprocess.preprocess(config.load(write_config(tmp_path, [tmp_path / "b"], shards=2)), SerialComm())


def test_an_older_record_without_contents_holds(data, tmp_path):
    experiment = config.load(write_config(tmp_path, [real(data)]))
    preprocess.preprocess(experiment, SerialComm())
    record = experiment.shards_folder / "receipts" / "preprocess.json"
    tree = json.loads(record.read_text())
    del tree["recipe"]["contents"]
    record.write_text(json.dumps(tree))
    assert preprocess.done(experiment)


def test_a_folder_of_shards_with_no_record_is_refused(data, tmp_path):
    path = write_config(tmp_path, [real(data)])
    preprocess.preprocess(config.load(path), SerialComm())
    folder = tmp_path / "run" / "shards"
    (folder / "receipts" / "preprocess.json").unlink()
    with pytest.raises(ValueError, match=r"shards: has manifest.json, and .* is not there to say what made it"):
        preprocess.preprocess(config.load(path), SerialComm())


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
    whole = np.zeros((1, 32, 32, 32), np.float32)
    paint(positions, (1.0, 32, 32), np.zeros(1, np.int32), whole, None, order)
    np.testing.assert_allclose(grid(tmp_path / "run" / "shards"), whole[0], rtol=1e-5, atol=1e-5)


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


def test_a_finished_folder_keeps_its_shards_on_another_number_of_ranks(data, tmp_path, mpirun):
    path = write_config(tmp_path, [real(data)])
    assert mpirun(3, "cosmogan.preprocess", path).returncode == 0
    done = mpirun(2, "cosmogan.preprocess", path)
    assert done.returncode == 0 and "preprocess: done" in done.stdout
    assert len(list((tmp_path / "run" / "shards").glob("*.h5"))) == 3


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
