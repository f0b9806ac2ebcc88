#!/usr/bin/env bash
# scripts/install_reference.sh VENV
#
# Add the independent codes that some tests compare with, nbodykit and Pylians, to an existing virtual environment.
#
# Plain pip comes first, where it can work: sources that their set-up scripts fetch come from github.com, and Corrfunc
# wants GSL. Anywhere else they are built from what the package registry alone holds, without Corrfunc, which nbodykit
# imports only for pair counting. The wheels built are kept in ${XDG_CACHE_HOME:-~/.cache}/cosmogan-wheels, so that
# the next environment takes a minute and not ten. Needs a C and C++ compiler, make and Python's headers.
set -euo pipefail

readonly NBODYKIT=0.3.16 PYLIANS=0.12
# What the two import beside the packages built below; Corrfunc is left out. Pylians states Cython < 3, and the others
# take any, once they are built.
readonly PLAIN_PACKAGES=(astropy pyerfa pandas dask cachey sympy numexpr six scipy h5py pyfftw hdf5plugin 'cython<3')
readonly BUILT_PACKAGES=(pfft_python-0.1.24 mpsort-0.1.19 bigfile-0.1.52 kdcount-0.3.30 mcfit-0.0.22 pmesh-0.1.59
    classylss-0.3.1 "nbodykit-$NBODYKIT" "pylians-$PYLIANS")

say() { echo "reference: $*"; }

# run NAME COMMAND...: keep the output of a long command in a log, and show the end of it if the command fails.
run() {
    local log=$WORK/$1.log
    shift
    if ! "$@" >"$log" 2>&1; then
        echo "reference: failed: $*" >&2
        tail -n 30 "$log" >&2
        return 1
    fi
}

# --- the environment ----------------------------------------------------------------------------

# Wheels fit one Python, one kind of machine and one MPI.
cache_folder() {
    local key
    key=$("$PY" -c '
import platform, re, sys
from mpi4py import MPI
library = re.match(r"[A-Za-z ]+", MPI.Get_library_version()).group().replace("Version", "").strip()
print(f"cp{sys.version_info[0]}{sys.version_info[1]}-{platform.machine()}-{library.lower().replace(chr(32), chr(45))}")')
    echo "$STORE/$key"
}

# Hold torch, numpy and all else at the version that is there: a resolver may fetch another build of torch.
# Cython is free: it changes below.
hold_versions() { "$PY" -m pip freeze | grep -E '^[A-Za-z0-9_.-]+==' | grep -vi '^cython==' >"$WORK/held.txt"; }

pip_install() { "$PY" -m pip install -qq --constraint "$WORK/held.txt" "$@"; }

# --- the first way: plain pip -------------------------------------------------------------------

plain_pip_can_work() {
    command -v gsl-config >/dev/null &&
        "$PY" -c 'import urllib.request; urllib.request.urlopen("https://github.com", timeout=5)' 2>/dev/null
}

plain_pip() {
    say "plain pip: nbodykit $NBODYKIT and Pylians $PYLIANS"
    run plain-pip pip_install "nbodykit==$NBODYKIT" "Pylians==$PYLIANS"
}

# --- the second way: the registry alone ---------------------------------------------------------

# wheel_file NAME VERSION: the wheel in the cache, or nothing (some builders write the name in lower case).
wheel_file() { find "$CACHE" -iname "$1-$2-*.whl" -print -quit 2>/dev/null || true; }

# build NAME VERSION [SOURCE]: put the wheel into the cache, unless it is there. Without isolation, so that it is
# compiled against the numpy and the MPI of this environment.
build() {
    local name=$1 version=$2 source=${3:-$1==$2}
    [[ -z $(wheel_file "$name" "$version") ]] || return 0
    say "building $name $version"
    run "$name" "$PY" -m pip wheel -qq --no-deps --no-build-isolation --wheel-dir "$WORK/$name" "$source"
    mv "$WORK/$name"/*.whl "$CACHE/"
}

# fetch NAME VERSION: download a source archive and unpack it in $WORK/sources.
fetch() {
    run "fetch-$1" "$PY" -m pip download -qq --no-deps --no-build-isolation --no-binary :all: \
        --dest "$WORK/archives" "$1==$2"
    tar xzf "$WORK/archives/${1//-/_}-$2.tar.gz" -C "$WORK/sources"
}

# pfft-python fetches the C library PFFT from github.com, unless its archive lies in depends/. The sources of the
# release 0.1.12 carried one. Its set-up script no longer runs with today's Cython, so that pip stops after unpacking:
# what it unpacked is what is wanted.
build_pfft() {
    [[ -z $(wheel_file pfft_python 0.1.24) ]] || return 0
    local source=$WORK/sources/pfft_python-0.1.24 release=1.0.8-alpha2-fftw3 archive
    fetch pfft-python 0.1.24
    mkdir "$WORK/pfft-old"
    TMPDIR=$WORK/pfft-old "$PY" -m pip download -qq --no-clean --no-deps --no-build-isolation --no-binary :all: \
        --dest "$WORK/pfft-old" pfft-python==0.1.12 >"$WORK/pfft-old.log" 2>&1 || true
    archive=$(find "$WORK/pfft-old" -name "pfft-$release.tar.gz" -print -quit)
    if [[ -z $archive ]]; then
        echo "reference: pfft-$release.tar.gz not found in the sources of pfft-python 0.1.12" >&2
        tail -n 30 "$WORK/pfft-old.log" >&2
        return 1
    fi
    cp "$archive" "$source/depends/"
    # Two jobs and not four: the other packages are built at the same time.
    sed -i -e "s/^PFFT_VERSION=.*/PFFT_VERSION=$release/" -e 's/make -j 4/make -j 2/' \
        "$source/depends/install_pfft.sh"
    build pfft_python 0.1.24 "$source"
}

# classylss fetches CLASS from github.com, unless its archive lies in depends/. The registry's package classy is the
# same code of the same version, in a folder of another name.
build_classylss() {
    [[ -z $(wheel_file classylss 0.3.1) ]] || return 0
    fetch classylss 0.3.1
    fetch classy 3.3.1.0
    mv "$WORK/sources/classy-3.3.1.0" "$WORK/sources/class_public-3.3.1"
    tar czf "$WORK/sources/classylss-0.3.1/depends/class-v3.3.1.tar.gz" -C "$WORK/sources" class_public-3.3.1
    build classylss 0.3.1 "$WORK/sources/classylss-0.3.1"
}

# Pylians is built in isolation, because it wants Cython < 3 where the others want Cython 3.
build_pylians() {
    [[ -z $(wheel_file pylians "$PYLIANS") ]] || return 0
    say "building Pylians $PYLIANS"
    run pylians "$PY" -m pip wheel -qq --no-deps --wheel-dir "$WORK/pylians" "Pylians==$PYLIANS"
    mv "$WORK/pylians"/*.whl "$CACHE/"
}

build_the_rest() {
    build mpsort 0.1.19
    build bigfile 0.1.52
    build kdcount 0.3.30
    build mcfit 0.0.22
    build pmesh 0.1.59
    build nbodykit "$NBODYKIT"
    build_classylss
    build_pylians
}

build_all() {
    local pfft
    mkdir -p "$CACHE" "$WORK/sources"
    pip_install setuptools wheel 'cython>=3'
    # PFFT takes nearly as long as all the others together.
    build_pfft &
    pfft=$!
    build_the_rest
    wait "$pfft"
}

# find_wheels: fill the list of wheels, or fail if one is not in the cache.
find_wheels() {
    local package wheel
    WHEELS=()
    for package in "${BUILT_PACKAGES[@]}"; do
        wheel=$(wheel_file "${package%-*}" "${package##*-}")
        [[ -n $wheel ]] || return 1
        WHEELS+=("$wheel")
    done
}

registry_alone() {
    CACHE=$(cache_folder)
    if find_wheels; then
        say "from the wheels in $CACHE"
    else
        say "from the registry alone; the wheels will be kept in $CACHE"
        build_all
        find_wheels
    fi
    pip_install "${PLAIN_PACKAGES[@]}"
    pip_install --no-deps "${WHEELS[@]}"
}

# ------------------------------------------------------------------------------------------------

# MPI first: the wheels of pmesh and pfft were perhaps built in an environment that is gone, and use the MPI library
# that is loaded already.
check_imports() {
    "$PY" -W ignore -c '
import mpi4py.MPI, torch, nbodykit.lab, pmesh, Pk_library, MAS_library
print("reference: ready, nbodykit", nbodykit.__version__, "on", mpi4py.MPI.Get_library_version().split("\n")[0].strip())'
}

clean_up() {
    # A background build is still running if this one failed.
    jobs -p | xargs --no-run-if-empty kill 2>/dev/null || true
    rm -rf "$WORK"
}

VENV=$(realpath "${1:?usage: scripts/install_reference.sh VENV}")
PY=$VENV/bin/python
STORE=${XDG_CACHE_HOME:-$HOME/.cache}/cosmogan-wheels
mkdir -p "$STORE"
# Beside the wheels, because /tmp is small on some machines and swept on others.
WORK=$(mktemp -d "$STORE/build.XXXXXX")
trap clean_up EXIT
export PATH=$VENV/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
unset MPICC
# Of several MPI libraries on the machine, the one beside the package itself is looked for first.
# shellcheck disable=SC2016  # $ORIGIN is for the dynamic linker
export LDFLAGS='-Wl,-rpath,$ORIGIN/../../..'

hold_versions
if ! plain_pip_can_work || ! plain_pip; then
    registry_alone
fi
check_imports
