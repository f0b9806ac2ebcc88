"""Check, read in parts, and write GADGET-2 snapshot files of formats 1 and 2.

A file is a sequence of Fortran records. HEAD has 256 bytes; POS, VEL and ID follow, sorted by particle type, then MASS
for the types with particles that have no entry in the mass table, then blocks that are of no interest here. The binary
header states no unit and no precision: lengths are in the file's own unit, and the precision follows from the record's
length. Format 3, HDF5, is read by `gadget_hdf5`; several files are put together by `snapshot`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from cosmogan.nbody.particle_file import N_TYPES, Header, ParticleFile, of_time, rounded, types
from cosmogan.nbody.records import LABEL_BYTES, MARKER_WRAP, Records

CRITICAL_DENSITY = 27.7536627  # 3 H0^2 / (8 pi G) [1e10 Msun/h / (Mpc/h)^3]

_HEADER = [
    ("npart", "u4", N_TYPES),
    ("mass", "f8", N_TYPES),
    ("time", "f8"),
    ("redshift", "f8"),
    ("flag_sfr", "i4"),
    ("flag_feedback", "i4"),
    ("npartTotal", "u4", N_TYPES),
    ("flag_cooling", "i4"),
    ("num_files", "i4"),
    ("BoxSize", "f8"),
    ("Omega0", "f8"),
    ("OmegaLambda", "f8"),
    ("HubbleParam", "f8"),
    ("flag_stellarage", "i4"),
    ("flag_metals", "i4"),
    ("npartTotalHighWord", "u4", N_TYPES),
    ("flag_entropy", "i4"),
    ("fill", "V60"),
]
_HEADER_BYTES = 256
_ENDS_BEHIND_POS = (
    "ends behind the POS block, without VEL and ID, which are not needed; "
    "if its writer wrote them, it is truncated: copy it again"
)


@dataclass(frozen=True)
class SnapshotFile(ParticleFile):
    """One file of format 1 or 2: its header and where its particles lie."""

    order: Literal["<", ">"]  # byte order on disk
    position_offset: int  # of the first particle's position [bytes]
    mass_offset: int | None  # None when the mass table has the masses of all chosen particles
    mass_width: int  # [bytes]

    def read_positions(self, out: np.ndarray, particle_type: int | str, start: int) -> None:
        assert start + len(out) <= self.n_rows(particle_type) and out.dtype == self.position_dtype
        row = sum(self.header.n_part[: types(particle_type).start]) + start
        self._fill(out, self.position_offset + 3 * out.itemsize * row, "POS")

    def _read_mass_rows(self, out: np.ndarray, kind: int, row: int) -> None:
        assert self.mass_offset is not None
        row += sum(n for n, mass in zip(self.header.n_part[:kind], self.header.mass_table, strict=False) if mass == 0)
        stored = out if self.mass_width == out.itemsize else np.empty(len(out), f"f{self.mass_width}")
        self._fill(stored, self.mass_offset + self.mass_width * row, "MASS")
        if stored is not out:
            out[:] = stored

    def where(self, row: int, particle_type: int | str) -> str:
        return f"{self.path}: particle {sum(self.header.n_part[: types(particle_type).start]) + row}"

    def _fill(self, out: np.ndarray, offset: int, name: str) -> None:
        """Read straight into a contiguous array."""
        if out.size == 0:  # memoryview cannot cast it
            return
        with open(self.path, "rb") as file:
            file.seek(offset)
            n_read = file.readinto(out.reshape(-1).view("u1").data)
        if n_read != out.nbytes:
            raise ValueError(
                f"{self.path}: ended in the {name} block: expected {out.nbytes} bytes from {offset} on, "
                f"found {n_read}; was it changed while it was read? copy it again"
            )
        if not out.dtype.newbyteorder(self.order).isnative:
            out.byteswap(inplace=True)


def is_snapshot(path: Path) -> bool:
    """Say whether a file begins with a whole record of 256 or 8 bytes, as format 1 and 2 do."""
    with open(path, "rb") as file:
        raw = file.read(_HEADER_BYTES + 8)
    lengths = (int.from_bytes(raw[:4], "little"), int.from_bytes(raw[:4], "big"))
    return any(n in lengths and raw[4 + n : 8 + n] == raw[:4] for n in (LABEL_BYTES, _HEADER_BYTES))


def open_file(path: Path, particle_type: int | str = "all") -> SnapshotFile:
    """Read a file's header and find its blocks, checking that they are whole.

    Parameters
    ----------
    particle_type : of the particles whose MASS block is needed, where the mass table has none

    Raises
    ------
    ValueError
        when the file is missing, empty, truncated, no GADGET-2 snapshot, or its header disagrees with its blocks.
    """
    if not path.is_file():
        raise ValueError(f"{path}: not found; expected a GADGET-2 snapshot")
    with open(path, "rb") as file:
        first = file.read(4)
        if not first:
            raise ValueError(f"{path}: empty; expected a GADGET-2 snapshot")
        orders: tuple[Literal["<", ">"], ...] = ("<", ">")
        for order in orders:
            marker = int.from_bytes(first, "little" if order == "<" else "big")
            if marker in (LABEL_BYTES, _HEADER_BYTES):
                return _find_blocks(Records(file, path, order, marker == LABEL_BYTES), particle_type)
    raise ValueError(
        f"{path}: not a GADGET-2 snapshot of format 1, 2 or 3: expected a first record of 256 or 8 bytes, or HDF5, "
        f"found {int.from_bytes(first, 'little')}"
    )


def _find_blocks(records: Records, particle_type: int | str) -> SnapshotFile:
    offset, _ = records.find("HEAD", (_HEADER_BYTES,))
    records.file.seek(offset)
    header = _header(np.frombuffer(records.file.read(_HEADER_BYTES), np.dtype(_HEADER).newbyteorder(records.order))[0])
    header.check(records.path)
    n, offset, length = sum(header.n_part), records.place, 0
    rest = {"VEL": (12 * n, 24 * n), "ID": (4 * n, 8 * n)}
    if n > 0:  # a file without particles, as a set may have, ends after its header
        offset, length = records.find("POS", (12 * n, 24 * n))
    in_block = [count if mass == 0 else 0 for count, mass in zip(header.n_part, header.mass_table, strict=True)]
    mass_offset, mass_width = None, 4
    if any(in_block[kind] for kind in types(particle_type)):
        if not records.labelled:  # labels lead to MASS, whatever lies between
            for name, lengths in rest.items():
                records.find(name, lengths)
        mass_offset, mass_length = records.find("MASS", (4 * sum(in_block), 8 * sum(in_block)))
        mass_width, rest = mass_length // sum(in_block), {}
    if n > 0 and records.ends_early:
        header = replace(header, remarks=(*header.remarks, _ENDS_BEHIND_POS))
    records.check_rest(rest)
    dtype = np.dtype("f8" if n > 0 and length == 24 * n else "f4")
    return SnapshotFile(records.path, header, dtype, records.order, offset, mass_offset, mass_width)


def read_velocities(file: SnapshotFile) -> np.ndarray:
    """Return the velocities of all particles of a file, (n, 3) float32, v_peculiar / sqrt(a) [km/s]."""
    n = sum(file.header.n_part)
    with open(file.path, "rb") as opened:
        labelled = int.from_bytes(opened.read(4), "little" if file.order == "<" else "big") == LABEL_BYTES
        records = Records(opened, file.path, file.order, labelled)
        if not labelled:  # VEL is behind POS
            records.place = file.position_offset + 3 * file.position_dtype.itemsize * n + 4
        offset, length = records.find("VEL", (12 * n, 24 * n))
        opened.seek(offset)
        stored = np.fromfile(opened, np.dtype(f"{file.order}f{length // (3 * n)}"), 3 * n)
    return stored.reshape(n, 3).astype(np.float32)


def _header(raw: np.void) -> Header:
    n_part = tuple(int(n) for n in raw["npart"])
    n_files = max(int(raw["num_files"]), 1)  # old writers leave 0
    total = tuple(int(n) for n in raw["npartTotal"])
    if n_files == 1 and (not any(total) or total == n_part):
        total = n_part  # and never mind the high words, which were unused bytes before GADGET-2
    else:
        total = tuple(n + (int(high) << 32) for n, high in zip(total, raw["npartTotalHighWord"], strict=True))
    return Header(
        n_part=n_part,
        mass_table=tuple(float(m) for m in raw["mass"]),
        redshift=rounded(float(raw["redshift"])),
        box_size=float(raw["BoxSize"]),
        omega_m=float(raw["Omega0"]),
        omega_lambda=float(raw["OmegaLambda"]),
        h=float(raw["HubbleParam"]),
        n_total=total,
        n_files=n_files,
        remarks=of_time(float(raw["time"]), float(raw["redshift"])),
    )


def write(
    path: Path, positions: np.ndarray, velocities: np.ndarray, ids: np.ndarray, header: Header, labelled: bool = False
) -> None:
    """Write one format-1 file, or format 2 when ``labelled``.

    Parameters
    ----------
    path : final name; the caller writes to a temporary one where that matters
    positions : (n, 3) float32 or float64, in the unit of ``header.box_size``, sorted by type
    velocities : (n, 3) float, v_peculiar / sqrt(a) [km/s]
    ids : (n,) uint32 or uint64
    header : its mass table must hold the mass of every type with particles
    """
    raw = np.zeros((), np.dtype(_HEADER))
    raw["npart"], raw["mass"] = header.n_part, header.mass_table
    raw["time"], raw["redshift"] = 1 / (1 + header.redshift), header.redshift
    raw["npartTotal"] = [n % MARKER_WRAP for n in header.n_total]
    raw["npartTotalHighWord"] = [n >> 32 for n in header.n_total]
    raw["num_files"], raw["BoxSize"] = header.n_files, header.box_size
    raw["Omega0"], raw["OmegaLambda"], raw["HubbleParam"] = header.omega_m, header.omega_lambda, header.h
    with open(path, "wb") as file:
        for name, block in ((b"HEAD", raw), (b"POS ", positions), (b"VEL ", velocities), (b"ID  ", ids)):
            if labelled:
                _write_record(file, np.frombuffer(name + np.uint32((block.nbytes + 8) % MARKER_WRAP).tobytes(), "u1"))
            _write_record(file, block)


def _write_record(file: BinaryIO, block: np.ndarray) -> None:
    marker = np.uint32(block.nbytes % MARKER_WRAP).tobytes()
    file.write(marker)
    file.write(np.ascontiguousarray(block).reshape(-1).view("u1").data)  # tofile does not say why it fails
    file.write(marker)
