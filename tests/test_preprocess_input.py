"""Bad settings and bad snapshots: one clear line, an end on every rank, and nothing complete lost."""

from pathlib import Path

import numpy as np
import pytest
import snapshot_files as made
from preprocess_experiment import real, write_config

from cosmogan import config, preprocess
from hpc.mpi import SerialComm

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
