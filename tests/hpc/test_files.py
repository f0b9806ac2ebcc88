import hashlib

import pytest

from hpc import files
from hpc.files import checksum, read_json, whole_file, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_equal_processes_of_two_hosts_do_not_write_to_one_name(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    with whole_file(path) as ours:
        ours.write_text("ours")
        monkeypatch.setattr(files, "HOST", "elsewhere")
        with whole_file(path) as theirs:
            theirs.write_text("theirs")
        assert path.read_text() == "theirs"
    assert path.read_text() == "ours" and list(tmp_path.iterdir()) == [path]


def test_checksum_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert checksum(tmp_path / "a") == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_a_damaged_json_file_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(ValueError, match=r"a\.json: damaged"):
        read_json(tmp_path / "a.json")


def test_json_round_trip(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"a": [1, 2.5, None]})
    assert read_json(tmp_path / "deep" / "a.json") == {"a": [1, 2.5, None]}
