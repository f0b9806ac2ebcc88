"""Read, simulate and move particles, and paint them on a mesh."""

__all__ = [
    "cosmology",
    "decompose",
    "exact",
    "gadget",
    "gadget_hdf5",
    "gravity",
    "gravity_cpu",
    "kernels",
    "lpt",
    "paint",
    "particle_file",
    "particle_mesh",
    "records",
    "snapshot",
    "subvolumes",
    "transfer",
    "transforms",
    "units",
]
