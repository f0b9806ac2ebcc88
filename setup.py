"""Package cosmogan: the libraries hpc and cosmogan, and the experiments under configs/."""

import re
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).parent


TESTED_WITH = [
    # An independent reader and writer of snapshots that the tests compare with.
    'pynbody; python_version >= "3.11"',
    # Its interpreter runs the kernels for GPUs on a CPU; torch's CUDA builds bring it.
    'triton; platform_system == "Linux"',
]


def version() -> str:
    """Return the version that the package states, without importing it (its imports may not be installed yet)."""
    text = (ROOT / "cosmogan" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if match is None:
        raise ValueError('cosmogan/__init__.py: no line `__version__ = "…"` found')
    return match.group(1)


def readme() -> str:
    """Return the text of README.md, or nothing in a tree that does not carry it."""
    path = ROOT / "README.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


setup(
    name="cosmogan",
    version=version(),
    description="Generative adversarial networks for the cosmic web, from N-body snapshots to statistics",
    long_description=readme(),
    long_description_content_type="text/markdown",
    author="the cosmogan developers",
    license="MIT",
    python_requires=">=3.10",
    packages=[
        "hpc",
        "hpc.cluster",
        "cosmogan",
        "cosmogan.config",
        "cosmogan.nbody",
        "cosmogan.statistics",
        "cosmogan.shards",
        "cosmogan.gan",
        "cosmogan.simulations",
        "cosmogan.training",
        "cosmogan.selection",
        "cosmogan.sampling",
        "cosmogan.validation",
        "cosmogan.reporting",
        "cosmogan.configs",
        "hpc.clusters",
    ],
    # The experiments stand at the top of the repository, where a user looks for them; a plain install carries them
    # inside the package. (An editable install leaves them where they are: cosmogan.config.configs_folder finds both.)
    package_dir={"cosmogan.configs": "configs", "hpc.clusters": "configs/cluster"},
    package_data={
        "cosmogan": ["data/*.safetensors", "data/*.json", "data/*.md"],
        "cosmogan.configs": ["*.yaml"],
        "hpc.clusters": ["*.yaml"],
    },
    ext_modules=[
        # Plain C, called by ctypes. A product and a sum stay two instructions: the same densities on any processor.
        Extension(
            "cosmogan.nbody._kernels",
            ["cosmogan/nbody/_kernels.c", "cosmogan/nbody/_gravity.c"],
            depends=["cosmogan/nbody/_located.h"],
            extra_compile_args=["-O3", "-std=gnu11", "-ffp-contract=off"],
        )
    ],
    install_requires=[
        # Which build of torch (CPU, CUDA, ROCm) is the machine's business: scripts/install.sh picks one.
        "torch>=2.4",
        "numpy",
        "scipy",
        "h5py",
        "numba",
        "pyyaml",
        # From version 4 its wheel finds the MPI library at run time: a site's own, or the one of the extra `mpi`.
        "mpi4py>=4",
        "submitit",
        "safetensors",
        "matplotlib",
        "tensorboard",
    ],
    extras_require={
        # mpirun and the MPI library, for machines that have none; works as root and with more ranks than cores.
        "mpi": ["mpich"],
        # Independent codes that the tests compare with. They rarely build with plain pip: `make reference` does it.
        "reference": ["nbodykit==0.3.16", "Pylians==0.12"],
        "test": ["pytest", "pytest-timeout", "pytest-xdist", "ruff", "mypy", "types-PyYAML", *TESTED_WITH],
    },
    zip_safe=False,
)
