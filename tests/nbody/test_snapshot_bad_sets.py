"""Files of one snapshot that do not fit together: refused, each with one line that says what is wrong."""

import os
import shutil

import numpy as np
import pytest
import snapshot_files as made

from cosmogan.nbody.snapshot import open_snapshot

COUNTS = (7, 0, 20, 1)  # particles of type 1 in the files of a set


def pieces():
    """Particles of type 1 for the files of a set."""
    return [made.positions(seed=i, t1=n) for i, n in enumerate(COUNTS)]


def refused(path):
    with pytest.raises(ValueError) as caught:
        open_snapshot(path, "all")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def header_of(i, **changes):
    """Write file i again with another header."""

    def damage(paths, write):
        part = pieces()[i]
        total = np.array([0, sum(COUNTS), 0, 0, 0, 0], np.uint32)
        write(paths[i], part, {1: 1.0}, **{"NumFilesPerSnapshot": 4, "NumPart_Total": total} | changes)

    return damage


def all_headers(**changes):
    def damage(paths, write):
        for i in range(4):
            header_of(i, **changes)(paths, write)

    return damage


def lose(*numbers):
    return lambda paths, write: [paths[i].unlink() for i in numbers]


def double(paths, write):
    total = np.array([0, sum(COUNTS), 0, 0, 0, 0], np.uint32)
    part = {1: pieces()[2][1].astype(np.float64)}
    write(paths[2], part, {1: 1.0}, NumFilesPerSnapshot=4, NumPart_Total=total)


def same_file(link):
    """Put one file of the set in the place of another."""

    def damage(paths, write):
        paths[2].unlink()
        link(paths[0], paths[2])

    return damage


COPIED = "expected other ones: was one file copied, or linked, to the name of another?"
LEFT_OVER = "expected files of one run: was one of them left over from another?"
BAD = {  # defect: (what is done to the four files, the line; {0} … {3} are the files and {s} their common name)
    "one missing": (lose(2), "{2}: not found; {0.name} says that the snapshot has 4 files"),
    "first missing": (lose(0), "{0}: not found; {1.name} says that the snapshot has 4 files"),
    "two missing": (lose(2, 1), "{1}: not found; {0.name} says that the snapshot has 4 files; 2 of them are missing"),
    "box": (header_of(2, BoxSize=9.0), "{2}: BoxSize is 9.0, but {0.name} has 8.0; " + LEFT_OVER),
    "redshift": (header_of(2, Redshift=1.0), "{2}: redshift is 1.0, but {0.name} has 0.0; " + LEFT_OVER),
    "mass table": (
        header_of(2, MassTable=[0, 3.0, 0, 0, 0, 0]),
        "{2}: the mass table is (0.0, 3.0, 0.0, 0.0, 0.0, 0.0), but {0.name} has (0.0, 1.0, 0.0, 0.0, 0.0, 0.0); "
        + LEFT_OVER,
    ),
    "total": (
        header_of(3, NumPart_Total=np.array([0, 29, 0, 0, 0, 0])),
        "{3}: the total is [0, 29, 0, 0, 0, 0], but {0.name} has [0, 28, 0, 0, 0, 0]; " + LEFT_OVER,
    ),
    "number of files": (
        header_of(2, NumFilesPerSnapshot=5),
        "{2}: the number of files is 5, but {0.name} has 4; " + LEFT_OVER,
    ),
    "precision": (double, "{2}: the positions' precision is float64, but {0.name} has float32; " + LEFT_OVER),
    "one file twice": (same_file(shutil.copy), "{2}: begins with the particles of {0.name}; " + COPIED),
    "a link to another": (
        same_file(lambda target, link: link.symlink_to(target)),
        "{2}: begins with the particles of {0.name}; " + COPIED,
    ),
    "counts": (
        all_headers(NumPart_Total=np.array([0, 29, 0, 0, 0, 0])),
        "{s}: the header says [0, 29, 0, 0, 0, 0] particles of types 0 to 5, its 4 file(s) have [0, 28, 0, 0, 0, 0]; "
        "is the snapshot complete?",
    ),
}


@pytest.mark.parametrize("kind", ["format 1", "format 3"])
@pytest.mark.parametrize("defect", BAD)
def test_files_that_do_not_fit_together_are_refused(tmp_path, defect, kind):
    damage, message = BAD[defect]
    paths = made.write_set(tmp_path, "s", pieces(), kind)
    every = {"MassTable": np.array([0, 1.0, 0, 0, 0, 0])}
    write = made.FORMATS[kind][0]
    damage(paths, lambda *given, **changes: write(*given, **every | changes))
    assert refused(tmp_path / "s") == message.format(*paths, s=tmp_path / "s")


def test_a_damaged_file_in_the_middle_of_a_set_is_named(data, tmp_path):
    folder = shutil.copytree(data / "g2_32_mpc_f1_n4", tmp_path / "set")
    os.truncate(folder / "snapshot_006.2", 1000)
    assert refused(folder / "snapshot_006").startswith(f"{folder / 'snapshot_006.2'}: truncated in the POS block")
    (folder / "snapshot_006.2").write_bytes(b"")
    assert refused(folder) == f"{folder / 'snapshot_006.2'}: empty; expected a GADGET-2 snapshot"


def test_a_lone_file_that_should_have_more_particles_is_refused(tmp_path):
    made.write_binary(tmp_path / "s", made.positions(t1=5), NumPart_Total=np.array([0, 10, 0, 0, 0, 0]))
    assert "the header says [0, 10, 0, 0, 0, 0] particles of types 0 to 5, its 1 file(s) have [0, 5," in refused(
        tmp_path / "s"
    )


def test_a_file_numbered_beyond_the_set_is_refused(tmp_path):
    paths = made.write_set(tmp_path, "s", pieces())
    old = shutil.copy(paths[0], tmp_path / "s.7")
    assert refused(old) == f"{old}: its header says 4 files; expected one of .0 to .3"


def test_a_header_of_more_files_than_any_snapshot_has_is_refused_at_once(tmp_path):
    made.write_binary(tmp_path / "s", made.positions(t1=5), NumFilesPerSnapshot=2**31 - 1)
    line = (
        f"{tmp_path / 's.0'}: not found; s says that the snapshot has 2147483647 files; 2147483647 of them are missing"
    )
    assert refused(tmp_path / "s") == line
