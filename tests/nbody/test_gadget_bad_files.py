"""Files of format 1 and 2 that are refused, each with one line that says what is wrong."""

import struct
from pathlib import Path

import numpy as np
import pytest
import snapshot_files as made

from cosmogan.nbody import gadget

# Two particles of type 0 with masses in the MASS block, three of type 1. Places of the blocks' first markers:
# HEAD 0, POS 264, VEL 332, ID 400, MASS 428, end 444.


def cut(n):
    return lambda raw: raw[:n]


def put(offset, layout, *values):
    return lambda raw: raw[:offset] + struct.pack(layout, *values) + raw[offset + struct.calcsize(layout) :]


AGAIN = "copy it again"
COMPLETE = "; is the file complete?"
NOT = "not a GADGET-2 snapshot of format 1, 2 or 3: expected a first record of 256 or 8 bytes, or HDF5, found"
BAD = {  # defect: (what is done to the file's bytes, the line after the file's name)
    "missing": (None, "not found; expected a GADGET-2 snapshot"),
    "empty": (cut(0), "empty; expected a GADGET-2 snapshot"),
    "three bytes": (cut(3), f"truncated before the HEAD block: expected at least 4 bytes, found 3; {AGAIN}"),
    "text": (lambda raw: b"a text file, no snapshot", f"{NOT} {int.from_bytes(b'a te', 'little')}"),
    "cut in HEAD": (cut(99), f"truncated in the HEAD block: expected at least 264 bytes, found 99; {AGAIN}"),
    "cut after HEAD": (cut(264), f"expected a POS block, found the end of the file{COMPLETE}"),
    "cut in POS's marker": (
        cut(266),
        f"truncated before the POS block: expected at least 268 bytes, found 266; {AGAIN}",
    ),
    "cut in POS": (cut(300), f"truncated in the POS block: expected at least 332 bytes, found 300; {AGAIN}"),
    "cut in VEL": (cut(340), f"truncated in the VEL block: expected at least 400 bytes, found 340; {AGAIN}"),
    "cut in ID": (cut(427), f"truncated in the ID block: expected at least 428 bytes, found 427; {AGAIN}"),
    "cut before MASS": (cut(428), f"expected a MASS block, found the end of the file{COMPLETE}"),
    "cut in MASS": (cut(443), f"truncated in the MASS block: expected at least 444 bytes, found 443; {AGAIN}"),
    "markers differ": (
        put(328, "<I", 1),
        f"damaged: the POS block's two record markers differ: expected 60 bytes, found 1; {AGAIN}",
    ),
    "HEAD's markers differ": (
        put(260, "<I", 1),
        f"damaged: the HEAD block's two record markers differ: expected 256 bytes, found 1; {AGAIN}",
    ),
    "another count": (
        put(8, "<I", 9),
        "the header disagrees with the POS block: expected 132 or 264 bytes, found 60; is it a GADGET-2 snapshot?",
    ),
    "another count in MASS": (
        put(428, "<I", 20),
        "the header disagrees with the MASS block: expected 8 or 16 bytes, found 20; is it a GADGET-2 snapshot?",
    ),
    "BoxSize below 0": (put(132, "<d", -1), "the header's BoxSize is -1; expected a positive length"),
    "BoxSize nan": (put(132, "<d", np.nan), "the header's BoxSize is nan; expected a positive length"),
    "BoxSize of swapped bytes": (put(132, "<d", 5e-315), "the header's BoxSize is 5e-315; expected a positive length"),
    "mass nan": (put(36, "<d", np.nan), "the header's mass of type 1 is nan; expected a finite number, not below 0"),
    "mass below 0": (put(36, "<d", -2), "the header's mass of type 1 is -2; expected a finite number, not below 0"),
    "redshift nan": (put(84, "<d", np.nan), "the header's redshift is nan; expected a number"),
}


def assert_refused(path: Path, message: str):
    with pytest.raises(ValueError) as caught:
        gadget.open_file(path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.parametrize("defect", BAD)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, defect):
    damage, message = BAD[defect]
    path = tmp_path / "s"
    if damage is not None:
        made.write_binary(path, made.positions(t0=2, t1=3), {0: np.ones(2, np.float32), 1: 2.0})
        path.write_bytes(damage(path.read_bytes()))
    assert_refused(path, message)


# In format 2 each block lies 16 bytes further behind its own label and those before: POS's label 280, POS 296.
BAD_LABELS = {
    "no POS": (
        lambda raw: raw.replace(b"POS ", b"ACCE"),
        f"expected a POS block, found only ACCE, VEL, ID, MASS{COMPLETE}",
    ),
    "no MASS": (
        lambda raw: raw.replace(b"MASS", b"METL"),
        f"expected a MASS block, found only VEL, ID, METL{COMPLETE}",
    ),
    "empty label": (
        lambda raw: raw.replace(b"POS ", b"    "),
        f'expected a POS block, found only "", VEL, ID, MASS{COMPLETE}',
    ),
    "two of a label": (
        lambda raw: raw.replace(b"VEL ", b"POS "),
        "has two POS blocks; expected one: only its writer knows which is right",
    ),
    "a second HEAD": (
        lambda raw: raw.replace(b"ID  ", b"HEAD"),
        "has two HEAD blocks; expected one: only its writer knows which is right",
    ),
    "cut after HEAD": (cut(280), f"expected a POS block, found the end of the file{COMPLETE}"),
    "no label": (
        put(280, "<I", 60),
        f"damaged before the POS block: expected a label of 8 bytes, found a record of 60; {AGAIN}",
    ),
    "cut in another block": (cut(390), f"truncated in the VEL block: expected at least 448 bytes, found 390; {AGAIN}"),
    "markers differ": (
        put(360, "<I", 61),
        f"damaged: the POS block's two record markers differ: expected 60 bytes, found 61; {AGAIN}",
    ),
}


@pytest.mark.parametrize("defect", BAD_LABELS)
def test_a_bad_file_with_labels_is_named_with_what_is_wrong(tmp_path, defect):
    damage, message = BAD_LABELS[defect]
    path = tmp_path / "s"
    made.write_binary(path, made.positions(t0=2, t1=3), {0: np.ones(2, np.float32), 1: 2.0}, labelled=True)
    path.write_bytes(damage(path.read_bytes()))
    assert_refused(path, message)


@pytest.mark.parametrize("labelled", [False, True])
def test_a_file_cut_in_a_block_that_is_not_read_is_refused(tmp_path, labelled):
    path = tmp_path / "s"
    made.write_binary(path, made.positions(t1=5), {1: 2.0}, labelled=labelled, extra=[("POT", bytes(20))])
    raw = path.read_bytes()
    ends = set(np.cumsum([len(made.records([block], labelled=labelled)) for block in made.blocks_of(raw)]).tolist())
    behind_positions = sorted(ends)[1]
    for n in range(behind_positions, len(raw)):
        path.write_bytes(raw[:n])
        if n in ends:  # nothing tells that more should follow
            file = gadget.open_file(path)
            assert file.n_rows("all") == 5
            warned = [text for text in file.header.remarks if "ends behind the POS block, without VEL and ID" in text]
            assert len(warned) == (n == behind_positions)
        else:
            with pytest.raises(ValueError, match=r"s: truncated (in|before) the \w+ block.*; copy it again"):
                gadget.open_file(path)
