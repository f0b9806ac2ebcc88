"""``python -m cosmogan.shards verify``: what it prints of whole and of damaged folders."""

import re
from unittest import mock

import h5py
import numpy as np
import pytest
import shard_folders
import synthetic
from shard_folders import fill

from cosmogan.shards.verify import verify
from hpc.files import read_json, write_json

AGAIN = "delete it and run the same preprocess command again"


@pytest.fixture
def folder(tmp_path):
    return shard_folders.write(tmp_path / "shards")


def change(path, **changes):
    """Change attributes and datasets of a shard."""
    with h5py.File(path, "a") as file:
        for name, value in changes.items():
            if name in file.attrs:
                file.attrs[name] = value
                continue
            del file[name]
            if value is not None:
                file.create_dataset(name, data=value)


def flip(path):
    """Change one bit of one density."""
    with h5py.File(path) as file:
        place = file["density"].id.get_chunk_info(4).byte_offset + 100
    with open(path, "rb+") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def miscount(path):
    tree = read_json(path.parent / "manifest.json")
    tree["shards"][1]["rows"] = 7
    write_json(path.parent / "manifest.json", tree)


CUBES = np.zeros((5, 4, 4, 4), "f4")
# What is done to the shard s1.h5, and the line that it must print, after the shard's name.
DAMAGES = {
    "missing": (lambda p: p.unlink(), "not found, expected 5 subvolumes; run the same preprocess command again"),
    "one bit": (flip, r"found SHA-256 \w{12}…, expected \w{12}…: some bytes changed; " + AGAIN),
    "truncated": (
        lambda p: p.write_bytes(p.read_bytes()[:1000]),
        r"found 1,000 bytes that HDF5 cannot read \(.*\), expected a shard; " + AGAIN,
    ),
    "its first object": (
        lambda p: p.write_bytes(p.read_bytes().replace(b"OHDR", b"OHDX", 1)),
        r"found [\d,]+ bytes that HDF5 cannot read \(.*\), expected a shard; " + AGAIN,
    ),
    "empty": (lambda p: p.write_bytes(b""), r"found 0 bytes that HDF5 cannot read \(.*\), expected a shard; " + AGAIN),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), r"found .*" + AGAIN),
    "another file": (
        lambda p: (p.unlink(), h5py.File(p, "w").close()),
        "found 'another HDF5 file', expected format cosmogan-subvolumes/1; " + AGAIN,
    ),
    "another format": (
        lambda p: change(p, format="cosmogan-subvolumes/2"),
        "found 'cosmogan-subvolumes/2', expected format cosmogan-subvolumes/1; " + AGAIN,
    ),
    "fewer rows": (
        lambda p: fill(p, 1, 4),
        r"found density float32 \(4, 4, 4, 4\), expected float32 \(5, 4, 4, 4\); " + AGAIN,
    ),
    "more rows in the manifest": (
        miscount,
        r"found density float32 \(5, .*, expected float32 \(7, 4, 4, 4\); " + AGAIN,
    ),
    "double precision": (
        lambda p: change(p, density=CUBES.astype("f8")),
        r"found density float64 \(5, 4, 4, 4\), expected float32 \(5, 4, 4, 4\); " + AGAIN,
    ),
    "one chunk": (
        lambda p: change(p, density=CUBES),
        r"found density in chunks of None, expected \(1, 4, 4, 4\); " + AGAIN,
    ),
    "no densities": (
        lambda p: change(p, density=None),
        r"found no density, expected float32 \(5, 4, 4, 4\); " + AGAIN,
    ),
    "no corners": (lambda p: change(p, corner=None), r"found no corner, expected int32 \(5, 3\); " + AGAIN),
    "flat corners": (
        lambda p: change(p, corner=np.zeros(5, "i4")),
        r"found corner int32 \(5,\), expected int32 \(5, 3\); " + AGAIN,
    ),
    "another box": (lambda p: change(p, box_size=33.0), r"found box_size 33.0, expected 32.0; " + AGAIN),
    "several boxes": (
        lambda p: change(p, box_size=[32.0, 33.0]),
        r"found box_size \[32\. 33\.\], expected 32.0; " + AGAIN,
    ),
    "another redshift": (lambda p: fill(p, 1, 5, redshift=0.7), r"found redshift 0.7, expected 0.5; " + AGAIN),
    "another kind": (lambda p: change(p, kind="generated"), "found kind generated, expected simulated; " + AGAIN),
    "another simulation": (lambda p: fill(p, 0, 5), r"found SHA-256 .*: some bytes changed; " + AGAIN),
}


@pytest.mark.parametrize(("damage", "line"), DAMAGES.values(), ids=DAMAGES.keys())
def test_each_damage_is_one_line_that_says_what_to_do(folder, capsys, damage, line):
    damage(folder / "s1.h5")
    assert not verify(folder)
    printed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(re.escape(f"{folder}/s1.h5: ") + line, printed[0]), printed
    assert printed[1:] == [f"{folder}: 1 of 3 shards damaged or missing"]


@pytest.mark.parametrize("bug", [KeyError("x"), ValueError("x"), TypeError("x")])
def test_a_bug_is_not_taken_for_a_damaged_shard(folder, monkeypatch, bug):
    monkeypatch.setattr("cosmogan.shards.verify.checksum", mock.Mock(side_effect=bug))
    with pytest.raises(type(bug)):
        verify(folder)


def test_a_whole_folder_is_whole(folder, capsys):
    assert verify(folder)
    size = sum(path.stat().st_size for path in folder.glob("*.h5")) / 1e3
    assert capsys.readouterr().out == (
        f"{folder}: all 3 shards are whole, byte for byte: 15 subvolumes, {size:.3g} kB\n"
    )


def test_a_deleted_shard_made_again_is_whole(folder):
    flip(folder / "s1.h5")
    assert not verify(folder)
    (folder / "s1.h5").unlink()
    fill(folder / "s1.h5", 1, 5)
    assert verify(folder)


def test_an_older_manifest_and_generated_samples_are_verified(folder, tmp_path):
    tree = read_json(folder / "manifest.json")
    tree["shards"] = [{name: line[name] for name in ("file", "rows", "sha256")} for line in tree["shards"]]
    write_json(folder / "manifest.json", tree)
    synthetic.write_generated(tmp_path / "samples")
    assert verify(folder) and verify(tmp_path / "samples")


def test_damaged_samples_are_to_be_drawn_again(tmp_path, capsys):
    synthetic.write_generated(tmp_path)
    (tmp_path / "shard-1.h5").unlink()
    assert not verify(tmp_path)
    assert "run the same sample command again" in capsys.readouterr().out


def test_strangers_are_named_as_harmless(folder, capsys):
    (folder / ".s1.h5.123.part").touch()
    (folder / "notes.txt").touch()
    (folder / "s9.h5").touch()
    (folder / "receipts").mkdir()
    assert verify(folder)
    assert capsys.readouterr().out.splitlines()[:-1] == [
        f"{folder}/.s1.h5.123.part: left by a command that was stopped; harmless: nothing reads it",
        f"{folder}/notes.txt: not in the manifest; harmless: nothing reads it",
        f"{folder}/s9.h5: not in the manifest; harmless: nothing reads it",
    ]


@pytest.mark.parametrize(
    ("left", "line"),
    [
        (("s0.h5", "s2.h5"), "whole shards there: 2; run the same preprocess command again: it resumes from them"),
        ((), "whole shards there: 0; run preprocess"),
    ],
)
def test_an_unfinished_folder_says_how_far_it_is(folder, capsys, left, line):
    (folder / "manifest.json").unlink()
    for path in folder.glob("*.h5"):
        if path.name not in left:
            path.write_bytes(b"half")
    assert not verify(folder)
    assert capsys.readouterr().out == f"{folder}: no manifest.json: preprocess has not finished; {line}\n"


def test_a_damaged_manifest_is_one_line(folder, capsys):
    (folder / "manifest.json").write_text("{")
    assert not verify(folder) and not verify(folder / "nowhere")
    printed = capsys.readouterr().out.splitlines()
    assert "manifest.json: damaged: not valid JSON" in printed[0] and printed[1].endswith("nowhere: no such folder")


def test_several_folders_are_verified_by_one_command(folder, tmp_path, python):
    synthetic.write_generated(tmp_path / "samples")
    done = python("cosmogan.shards", "verify", folder, tmp_path / "samples")
    assert done.returncode == 0 and done.stderr == "" and len(done.stdout.splitlines()) == 2
    (folder / "s2.h5").unlink()
    done = python("cosmogan.shards", "verify", folder, tmp_path / "samples")
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 3
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("show",), ("verify",), ("show", "x", "--figure", "x.jpg"), ()])
def test_a_wrong_command_line_says_what_is_right(python, arguments):
    done = python("cosmogan.shards", *arguments)
    assert done.returncode == 2 and "usage: python -m cosmogan.shards" in done.stderr
