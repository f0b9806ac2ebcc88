#!/bin/bash
# sbatch slurm/train.sh [CONFIG] [section.key=value ...]: with no CONFIG, cosmogan.yaml here, else the demo
#SBATCH --job-name=train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=4
#SBATCH --time=12:00:00
#SBATCH --output=%x-%j.log
#SBATCH --signal=TERM@120
cd "${SLURM_SUBMIT_DIR:-.}" && source slurm/site.env
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
# one task a GPU; a job that ran out of time goes on when the same line is submitted again
exec srun --kill-on-bad-exit=1 python -m cosmogan.train "$@"
