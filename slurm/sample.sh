#!/bin/bash
# sbatch slurm/sample.sh [CONFIG] [section.key=value ...]: with no CONFIG, cosmogan.yaml here, else the demo
#SBATCH --job-name=sample
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=16
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --output=%x-%j.log
cd "${SLURM_SUBMIT_DIR:-.}" && source slurm/site.env
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
exec $COSMOGAN_MPIRUN python -m cosmogan.sample "$@"
