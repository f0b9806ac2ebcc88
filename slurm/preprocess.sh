#!/bin/bash
# sbatch slurm/preprocess.sh [CONFIG] [section.key=value ...]: with no CONFIG, cosmogan.yaml here, else the demo
#SBATCH --job-name=preprocess
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=16
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@60
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
source slurm/site.env || exit  # submit from the folder that has slurm/ in it
# Ranks, threads, log and record, and another begin when the time is up: hpc/batch.py
exec python -m hpc.batch preprocess "$@"
