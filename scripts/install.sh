#!/usr/bin/env bash
# scripts/install.sh VENV
#
# Make the virtual environment VENV if it is missing, and install cosmogan into it, editable, with the MPI runtime and
# the test tools. Run again, it brings VENV up to date.
set -euo pipefail

readonly CPU_INDEX=https://download.pytorch.org/whl/cpu
readonly PINNED_TORCH=2.13.0

say() { echo "install: $*"; }

# The first Python that is new enough: `python3` may be an old one beside a newer python3.x.
find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "install: no Python >= 3.10 found on PATH" >&2
    return 1
}

# Debian and Ubuntu keep a part of venv in a package of its own; where that is missing, the system's pip will do.
make_venv() {
    local base
    base=$(find_python)
    say "making $VENV with $("$base" --version)"
    if "$base" -m venv "$VENV" >/dev/null 2>&1; then
        return
    fi
    if "$base" -m venv --without-pip "$VENV" && "$base" -m pip --python "$PY" install -qq pip; then
        return
    fi
    echo "install: '$base -m venv' does not work here; on Debian and Ubuntu: apt install python3-venv" >&2
    return 1
}

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi --list-gpus 2>/dev/null | grep -q '^GPU'; }

# Run pip with PyTorch's CPU index alone: an extra index of the user's would offer a newer build with CUDA.
pip_cpu_index() {
    env -u PIP_EXTRA_INDEX_URL -u PIP_FIND_LINKS PIP_CONFIG_FILE=/dev/null \
        "$PY" -m pip "$@" -qq --index-url "$CPU_INDEX"
}

# A CUDA build is several GB, so a machine without a GPU gets the CPU build.
install_torch() {
    if "$PY" -c 'import torch' 2>/dev/null; then
        say "torch is there: left as it is"
    elif has_gpu; then
        say "torch, for the GPU seen (several GB)"
        "$PY" -m pip install -qq 'torch>=2.4'
    elif pip_cpu_index index versions torch --timeout 5 --retries 0 >/dev/null 2>&1; then
        say "torch, CPU build (about 200 MB)"
        pip_cpu_index install 'torch>=2.4'
    else
        say "torch: no CPU index reachable: the pinned release $PINNED_TORCH"
        "$PY" -m pip install -qq "torch==$PINNED_TORCH"
    fi
}

VENV=$(realpath -m "${1:?usage: scripts/install.sh VENV}")
PY=$VENV/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1
cd "$(dirname "$0")/.."

"$PY" -m pip --version >/dev/null 2>&1 || make_venv
install_torch
say "cosmogan, what it needs, MPI and the test tools"
"$PY" -m pip install -qq --editable '.[mpi,test]'
"$PY" -c 'import torch, h5py, mpi4py; print(f"install: ready, torch {torch.__version__}")'
