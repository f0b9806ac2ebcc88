#!/bin/bash
# sbatch slurm/gadget2.sh PARAMETERFILE: a real GADGET-2 run, whose snapshots preprocess then reads
#SBATCH --job-name=gadget2
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=16
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
cd "${SLURM_SUBMIT_DIR:-.}" && source slurm/site.env
exec $COSMOGAN_MPIRUN "${GADGET2:-Gadget2}" "$1"
