"""Made-up GADGET-2 snapshots of every format, written without the package: by `struct` and by h5py."""

import struct
from functools import partial

import h5py
import numpy as np

from cosmogan.nbody.gadget import CRITICAL_DENSITY

BOX = 8.0
HEADER = "6I6d2d2i6I2i4d2i6Ii60x"  # io_header of GADGET-2, 256 bytes
BLOCKS = {"POS": 12, "VEL": 12, "ID": 4, "MASS": 4}  # bytes a particle in single precision


def positions(seed=1, dtype=np.float32, **counts):
    """Random positions {type: (n, 3)}: positions(t0=2, t1=3)."""
    rng = np.random.default_rng(seed)
    return {int(name[1:]): rng.uniform(0, BOX, (n, 3)).astype(dtype) for name, n in counts.items()}


def together(particles):
    """The positions of all types, as they lie in a file of format 1."""
    return np.concatenate([particles[kind] for kind in sorted(particles)])


def mean_mass(n, omega_m=0.3):
    """The mass of each of n particles that make a box of `BOX` Mpc/h of mean density [1e10 Msun/h]."""
    return CRITICAL_DENSITY * omega_m * BOX**3 / n


def fields(particles, masses, **changes):
    """All that a header says, {name in format 3: value}; ``changes`` are by these names."""
    count = [len(particles.get(kind, ())) for kind in range(6)]
    table = [masses.get(kind, 1.0) if count[kind] else 0.0 for kind in range(6)]
    made = {
        "NumPart_ThisFile": np.array(count, np.uint32),
        "NumPart_Total": np.array(count, np.uint32),
        "NumPart_Total_HighWord": np.zeros(6, np.uint32),
        "MassTable": np.array([m if np.isscalar(m) else 0.0 for m in table], np.float64),
        "Time": 1.0,
        "Redshift": 0.0,
        "BoxSize": BOX,
        "NumFilesPerSnapshot": 1,
        "Omega0": 0.3,
        "OmegaLambda": 0.7,
        "HubbleParam": 0.7,
        **dict.fromkeys(("Flag_Sfr", "Flag_Feedback", "Flag_Cooling", "Flag_StellarAge", "Flag_Metals"), 0),
    }
    assert not set(changes) - set(made)
    if "Redshift" in changes:
        made["Time"] = 1 / (1 + changes["Redshift"])
    return made | changes


def head(made, order="<"):
    """The binary header's 256 bytes."""
    names = ("NumPart_ThisFile", "MassTable", "Time", "Redshift", "Flag_Sfr", "Flag_Feedback", "NumPart_Total")
    names += ("Flag_Cooling", "NumFilesPerSnapshot", "BoxSize", "Omega0", "OmegaLambda", "HubbleParam")
    names += ("Flag_StellarAge", "Flag_Metals", "NumPart_Total_HighWord")
    values = [value for name in names for value in np.ravel(made[name]).tolist()]
    return struct.pack(order + HEADER, *values, 0)


def records(blocks, order="<", labelled=False):
    """Blocks [(label, bytes)] as Fortran records, each after its label in format 2."""
    out = []
    for label, raw in blocks:
        marker = struct.pack(order + "I", len(raw) % 2**32)
        if labelled:
            eight = struct.pack(order + "I", 8)
            out.append(eight + label.ljust(4).encode() + struct.pack(order + "I", (len(raw) + 8) % 2**32) + eight)
        out.append(marker + raw + marker)
    return b"".join(out)


def write_binary(path, particles, masses=None, order="<", labelled=False, ids="u4", extra=(), **changes):
    """Write format 1, or 2 when ``labelled``; masses are a number a type (into the table) or an array (MASS block)."""
    masses = masses or {}
    every = together(particles) if particles else np.empty((0, 3), np.float32)
    in_block = [masses[kind] for kind in sorted(particles) if not np.isscalar(masses.get(kind, 1.0))]
    swap = partial(np.ndarray.astype, order="C")
    blocks = [("HEAD", head(fields(particles, masses, **changes), order))]
    if len(every):
        blocks += [
            ("POS", swap(every, every.dtype.newbyteorder(order)).tobytes()),
            ("VEL", np.zeros_like(every).tobytes()),
            ("ID", np.arange(1, len(every) + 1, dtype=order + ids).tobytes()),
        ]
    blocks[3:3] = extra
    if in_block:
        block = np.concatenate(in_block)
        blocks.append(("MASS", swap(block, block.dtype.newbyteorder(order)).tobytes()))
    path.write_bytes(records(blocks, order, labelled))


def write_hdf5(path, particles, masses=None, order="<", options=None, **changes):
    """Write format 3 as GADGET does: nothing for types without particles, ``Masses`` only where the table has none."""
    masses = masses or {}
    with h5py.File(path, "w") as file:
        header = file.create_group("Header")
        for name, value in fields(particles, masses, **changes).items():
            header.attrs[name] = value
        first = 1
        for kind, x in particles.items():
            if len(x) == 0:
                continue
            group = file.create_group(f"PartType{kind}")
            group.create_dataset("Coordinates", data=x.astype(x.dtype.newbyteorder(order)), **(options or {}))
            group.create_dataset("Velocities", data=np.zeros_like(x))
            group.create_dataset("ParticleIDs", data=np.arange(first, first + len(x), dtype=np.uint32))
            first += len(x)
            if not np.isscalar(masses.get(kind, 1.0)):
                group.create_dataset("Masses", data=masses[kind])


# Every format: how it is written, and the ending of its files' names.
FORMATS = {
    "format 1": (write_binary, ""),
    "format 2": (partial(write_binary, labelled=True), ""),
    "format 3": (write_hdf5, ".hdf5"),
    "big-endian": (partial(write_binary, order=">"), ""),
}


def write_set(folder, name, pieces, kind="format 1", masses=None, **changes):
    """Write a snapshot in several files, one for each {type: positions} of ``pieces``; return their paths."""
    write, ending = FORMATS[kind]
    total = np.sum([[len(piece.get(t, ())) for t in range(6)] for piece in pieces], axis=0)
    masses = masses or [{}] * len(pieces)
    table = [masses[0].get(t, 1.0) if total[t] else 0.0 for t in range(6)]  # the same in each file
    changes = {
        "NumFilesPerSnapshot": len(pieces),
        "NumPart_Total": total.astype(np.uint32),
        "MassTable": np.array([m if np.isscalar(m) else 0.0 for m in table]),
    } | changes
    paths = [folder / f"{name}.{i}{ending}" for i in range(len(pieces))]
    for i, (path, piece) in enumerate(zip(paths, pieces, strict=True)):
        write(path, piece, masses[i], **changes)
    return paths


def blocks_of(raw):
    """The records of a little-endian file [(label or None, bytes)]."""
    found, place, label = [], 0, None
    while place < len(raw):
        (length,) = struct.unpack_from("<I", raw, place)
        data = raw[place + 4 : place + 4 + length]
        if length == 8:
            label = data[:4].decode().strip()
        else:
            found.append((label, data))
        place += length + 8
    return found


def big_endian(raw, id_bytes=4):
    """A little-endian file of single precision with its bytes swapped: what a big-endian machine would have written."""
    blocks = blocks_of(raw)
    names = [label or name for (label, _), name in zip(blocks, ["HEAD", *BLOCKS, "A", "B", "C"], strict=False)]
    swapped = [("HEAD", struct.pack(">" + HEADER, *struct.unpack("<" + HEADER, blocks[0][1])))]
    for name, (_, data) in zip(names[1:], blocks[1:], strict=True):
        width = id_bytes if name == "ID" else 4
        swapped.append((name, np.frombuffer(data, f"u{width}").byteswap().tobytes()))
    return records(swapped, ">", labelled=blocks[0][0] is not None)


def read(file, kind="all", start=0, stop=None):
    """Positions and masses of rows of one file, as the package reads them."""
    stop = file.n_rows(kind) if stop is None else stop
    positions = np.full((stop - start, 3), np.nan, file.position_dtype)
    masses = np.full(stop - start, np.nan, np.float32)
    file.read_positions(positions, kind, start)
    file.read_masses(masses, kind, start)
    return positions, masses
