"""A folder that is there already: finished, begun, of other snapshots, or of nobody knows what."""

import json

import pytest
from preprocess_experiment import real, write_config

from cosmogan import config, preprocess, shards
from hpc.mpi import SerialComm


def test_a_finished_folder_is_left_alone_and_a_missing_shard_made_again(data, tmp_path, capsys):
    path = write_config(tmp_path, [data / "g2_32_mpc_f1" / "snapshot_006"], shards=4)
    experiment = config.load(path)
    preprocess.preprocess(experiment, SerialComm())
    folder = experiment.shards_folder
    before = {p: p.stat().st_mtime_ns for p in folder.glob("*")}
    assert preprocess.stage(experiment).is_done()
    preprocess.preprocess(experiment, SerialComm())
    assert "done" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in folder.glob("*")} == before
    lost = sorted(folder.glob("*.h5"))[2]
    whole = lost.read_bytes()
    lost.unlink()
    assert not preprocess.stage(experiment).is_done()
    preprocess.preprocess(experiment, SerialComm())
    assert lost.read_bytes() == whole
    kept = [p for p in folder.glob("*.h5") if p != lost]
    assert all(p.stat().st_mtime_ns == before[p] for p in kept)


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
    assert not preprocess.stage(experiment).is_done()
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
    assert preprocess.stage(more).is_done() and len(shards.Folder(more.shards_folder)) == 128
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
    assert preprocess.stage(experiment).is_done()


def test_a_folder_of_shards_with_no_record_is_refused(data, tmp_path):
    path = write_config(tmp_path, [real(data)])
    preprocess.preprocess(config.load(path), SerialComm())
    folder = tmp_path / "run" / "shards"
    (folder / "receipts" / "preprocess.json").unlink()
    with pytest.raises(ValueError, match=r"shards: has manifest.json, and .* is not there to say what made it"):
        preprocess.preprocess(config.load(path), SerialComm())


def test_a_finished_folder_keeps_its_shards_on_another_number_of_ranks(data, tmp_path, mpirun):
    path = write_config(tmp_path, [real(data)])
    assert mpirun(3, "cosmogan.preprocess", path).returncode == 0
    done = mpirun(2, "cosmogan.preprocess", path)
    assert done.returncode == 0 and "preprocess: done" in done.stdout
    assert len(list((tmp_path / "run" / "shards").glob("*.h5"))) == 3
