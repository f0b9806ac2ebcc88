"""What HDF5 says of a file that it cannot read, and what to do about it: most such files are whole."""

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


def reason(error: Exception) -> str:
    """Return what HDF5 says, in one line."""
    text = " ".join(str(error.args[-1] if error.args else error).split())
    return f"no HDF5 file, or an empty one ({text})" if _NONE in text else text


def advice(error: Exception, damaged: str) -> str:
    """Return what to do about it.

    Parameters
    ----------
    error : that h5py raised
    damaged : what to do about a file that is truncated, damaged, or none of HDF5's
    """
    text = str(error).lower()
    if any(word in text for word in _VERSION):  # HDF5 cannot tell a newer file from bytes that are wrong
        return _NEWER + damaged
    return next((told for words, told in _ADVICE if any(word in text for word in words)), damaged)
