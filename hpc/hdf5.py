"""Open HDF5 files whose datasets are complete, and say what to do about a file that HDF5 cannot read.

HDF5 gives fill values and no error for what it does not find: a source of a virtual dataset, the end of an external
file, a chunk that was never written. Only the places of the numbers are checked here, none is read. And most files
of which HDF5 says that they cannot be read are whole.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

_UNLIMITED = h5py.h5s.UNLIMITED
_NOT_WRITTEN = "was it written to its end?"
# What is part of HDF5's words → what to do; the first that fits counts.
_ADVICE = (
    (
        ("unable to lock file",),
        "another process has it open for writing: wait for that one; where the file system has no locks, or a dead "
        "process left one, set HDF5_USE_FILE_LOCKING=FALSE in the environment",
    ),
    (
        ("already open for write", "consistency flags"),
        "another process is writing it: wait for that one; if that one was killed, `h5clear -s FILE` clears the mark",
    ),
    (("permission denied",), "it may not be read: ask its owner for the permission (chmod +r)"),
    (("is a directory",), "expected a file"),
    (("too many open files",), "raise the limit (ulimit -n)"),
    (("cannot allocate memory",), "the memory is full: use fewer processes on a node"),
    (("input/output error", "stale file handle", "timed out", "not connected"), "the file system fails: try again"),
    (
        ("filter", "plugin"),
        "it is compressed in a way that this HDF5 does not know: install hdf5plugin and set HDF5_PLUGIN_PATH to its "
        "folder of plugins, or write the file anew without it: h5repack -f NONE",
    ),
    (("external", "can't open file"), "it refers to another file, which is not there: copy that one, too"),
)
_VERSION = ("version number", "bad version", "unknown version", "wrong version", "unsupported version")
_NEWER = "if it was written by a newer HDF5, update h5py, or write it anew for this one (h5repack --high=1); else "
_NONE = "file signature not found"

Place = tuple[str, str]  # a file's absolute path and a dataset in it


class Missing(ValueError):
    """Numbers of a dataset that are in no file: names the dataset and what is not there."""


def dataset(group: h5py.Group, name: str, readers: frozenset[Place] = frozenset()) -> h5py.Dataset:
    """Return a dataset of which every number is in a file.

    Parameters
    ----------
    readers : the virtual datasets that take their numbers from it

    Raises
    ------
    KeyError
        when nothing of this name is there.
    Missing
        when a link on the way to it leads nowhere, it is something else, or some of its numbers are in no file.
    """
    item, name = group, name.strip("/")
    whole_name = f"{group.file.filename}: {f'{group.name}/{name}'.strip('/')}"
    for part in name.split("/"):
        item = _step(item, part, whole_name)
    if not isinstance(item, h5py.Dataset):
        raise Missing(f"{whole_name} is a {type(item).__name__.lower()}; expected a dataset")
    check(item, readers)
    return item


def check(dataset: h5py.Dataset, readers: frozenset[Place] = frozenset()) -> None:
    """Raise `Missing` when some of a dataset's numbers are in no file; see `dataset`."""
    layout = dataset.id.get_create_plist().get_layout()
    if not dataset.size:
        return
    if dataset.is_virtual:
        _check_virtual(dataset, readers)
    elif dataset.external:
        _check_external(dataset)
    elif dataset.chunks:
        expected, written = math.prod(map(_quotient, dataset.shape, dataset.chunks)), dataset.id.get_num_chunks()
        if written < expected:
            raise Missing(f"{_name(dataset)}: {written} of its {expected} chunks were written; {_NOT_WRITTEN}")
    elif layout == h5py.h5d.CONTIGUOUS and dataset.id.get_offset() is None:
        raise Missing(f"{_name(dataset)}: none of its numbers were written; {_NOT_WRITTEN}")


def check_all(group: h5py.Group) -> None:
    """Raise `Missing` when some numbers of any dataset in a group are in no file."""
    for name in group:
        item = _step(group, name, f"{group.file.filename}: {f'{group.name}/{name}'.strip('/')}")
        if isinstance(item, h5py.Group):
            check_all(item)
        elif isinstance(item, h5py.Dataset):
            check(item)


def _step(item: h5py.Group | h5py.Dataset, part: str, name: str) -> h5py.Group | h5py.Dataset:
    link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
    if link is None:
        raise KeyError(f"{name} is not there")
    if isinstance(link, h5py.HardLink):
        return item[part]
    target = f"{link.filename}:{link.path}" if isinstance(link, h5py.ExternalLink) else link.path
    try:
        return item[part]
    except (KeyError, OSError) as error:
        reason = " ".join(str(error.args[-1]).split())
        raise Missing(f"{name}: a link leads to {target}, which cannot be opened ({reason}); put it there") from None


def _name(dataset: h5py.Dataset) -> str:
    return f"{dataset.file.filename}: {dataset.name.strip('/')}"


def _quotient(n: int, divisor: int) -> int:
    return -(-n // divisor)


def _check_external(dataset: h5py.Dataset) -> None:
    """Check that the files of raw numbers are there, and long enough."""
    left, prefix = dataset.size * dataset.dtype.itemsize, os.environ.get("HDF5_EXTFILE_PREFIX", "")
    origin = str(Path(dataset.file.filename).resolve().parent)
    for name, offset, room in dataset.external:
        path = Path(prefix.replace("${ORIGIN}", origin)) / name
        expected = min(left, room)
        held = path.stat().st_size - offset if path.is_file() else 0
        if held < expected:
            is_there = f"has {max(held, 0)} of {expected} bytes" if path.is_file() else "was not found"
            raise Missing(f"{_name(dataset)}: its file of raw numbers {path} {is_there}; put the whole one there")
        left -= expected


def _check_virtual(dataset: h5py.Dataset, readers: frozenset[Place]) -> None:
    """Check that sources make up the whole of a virtual dataset, and that each is there in full."""
    own = str(Path(dataset.file.filename).resolve()), dataset.name
    if own in readers:
        raise Missing(f"{_name(dataset)} is a virtual dataset that is its own source; only its writer can mend it")
    union = dataset.id.get_space()
    union.select_none()
    is_bounded, checked = True, set()
    for source in dataset.virtual_sources():
        is_bounded &= _add(source.vspace, union)
        for file_name, name in _sources(source, dataset.shape):
            key = (file_name, name, _end(source))
            if key not in checked:
                _check_source(dataset, *key, readers | {own})
            checked.add(key)
    n = union.get_select_npoints()
    if is_bounded and n < dataset.size:
        raise Missing(f"{_name(dataset)}: its sources have {n} of its {dataset.size} numbers; {_NOT_WRITTEN}")


def _add(space: h5py.h5s.SpaceID, union: h5py.h5s.SpaceID) -> bool:
    """Add a selection to another; False where it has no end and so is as long as what is there."""
    if _is_endless(space):
        return False
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        union.select_all()
    elif space.is_regular_hyperslab():
        start, stride, count, block = space.get_regular_hyperslab()
        union.select_hyperslab(start, count, stride, block, h5py.h5s.SELECT_OR)
    else:
        for first, last in space.get_select_hyper_blocklist():
            size = tuple(int(n) for n in last - first + 1)
            union.select_hyperslab(tuple(map(int, first)), (1,) * len(size), None, size, h5py.h5s.SELECT_OR)
    return True


def _is_endless(space: h5py.h5s.SpaceID) -> bool:
    if not space.is_regular_hyperslab():
        return False
    _, _, count, block = space.get_regular_hyperslab()
    return _UNLIMITED in (*count, *block)


def _sources(source: Any, shape: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """Yield the file and dataset of each source that a mapping stands for: several where a name counts blocks, %b."""
    names, n = (source.file_name, source.dset_name), 1
    if any("%b" in name for name in names) and source.vspace.is_regular_hyperslab():
        start, stride, count, _ = source.vspace.get_regular_hyperslab()
        axis = count.index(_UNLIMITED) if _UNLIMITED in count else 0
        n = _quotient(shape[axis] - start[axis], stride[axis])
    for i in range(n):
        file_name, name = (text.replace("%b", str(i)).replace("%%", "%") for text in names)
        yield file_name, name


def _end(source: Any) -> tuple[int, ...] | int:
    """Return the shape that a source must have at least; how many numbers, where a mapping takes all of it; or 0."""
    space = source.src_space
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return 0 if _is_endless(source.vspace) else int(source.vspace.get_select_npoints())
    if _is_endless(space):
        return 0
    return tuple(int(last) + 1 for last in space.get_select_bounds()[1])


def _check_source(
    dataset: h5py.Dataset, file_name: str, name: str, end: tuple[int, ...] | int, readers: frozenset[Place]
) -> None:
    """Check that a source is there in full, as far as a virtual dataset reads it."""
    of_whom = f"{_name(dataset)} is virtual: its source {file_name}"
    if file_name == ".":
        source = _part_of(dataset.file, name, of_whom, readers)
        _check_extent(source, end, of_whom)
        return
    reason, main = "was not found", Path(dataset.file.filename)
    for path in _places(file_name, main):
        try:
            with h5py.File(path, "r") as file:
                _check_extent(_part_of(file, name, of_whom, readers), end, of_whom)
                return
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = f"cannot be opened ({' '.join(str(error).split())})"
    raise Missing(f"{of_whom} {reason}; put it back, or copy {main.name} with all of its sources")


def _part_of(file: h5py.File, name: str, of_whom: str, readers: frozenset[Place]) -> h5py.Dataset:
    try:
        return dataset(file, name, readers)
    except KeyError:
        raise Missing(f"{of_whom} has no {name}; was another file put in its place?") from None


def _check_extent(source: h5py.Dataset, end: tuple[int, ...] | int, of_whom: str) -> None:
    if isinstance(end, int):
        is_whole, expected = end in (0, source.size), f"{end} numbers"
    else:
        is_whole = len(source.shape) == len(end) and not any(map(int.__lt__, source.shape, end))
        expected = f"at least {end}"
    if not is_whole:
        raise Missing(f"{of_whom} has the shape {source.shape}; expected {expected}: is it complete?")


def _places(name: str, main: Path) -> Iterator[Path]:
    """Yield where HDF5 looks for the source of a virtual dataset in the file ``main``, in its order."""
    if Path(name).is_absolute():
        yield Path(name)
        name = Path(name).name
    for prefix in filter(None, os.environ.get("HDF5_VDS_PREFIX", "").split(":")):
        yield Path(prefix.replace("${ORIGIN}", str(main.resolve().parent))) / name
    yield main.parent / name
    yield Path(name)
    yield main.resolve().parent / name


def reason(error: Exception) -> str:
    """Return HDF5's message in one line."""
    text = " ".join(str(error.args[-1] if error.args else error).split())
    return f"no HDF5 file, or an empty one ({text})" if _NONE in text else text


def advice(error: Exception, damaged: str) -> str:
    """Return advice on an error of HDF5.

    Parameters
    ----------
    error : that h5py raised
    damaged : what to do about a file that is truncated, damaged, or none of HDF5's
    """
    text = str(error).lower()
    if any(word in text for word in _VERSION):  # HDF5 cannot tell a newer file from bytes that are wrong
        return _NEWER + damaged
    return next((what_to_do for words, what_to_do in _ADVICE if any(word in text for word in words)), damaged)
