#!/bin/bash
# sbatch slurm/validate.sh [CONFIG] [section.key=value ...]; without CONFIG: cosmogan.yaml in this folder, else the demo
#SBATCH --job-name=validate
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=16
#SBATCH --cpus-per-task=1
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@60
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# site.env lies beside this script. SLURM runs a copy of the script, so its folder is asked for.
export COSMOGAN_SITE=${COSMOGAN_SITE:-$(scontrol show job "$SLURM_JOB_ID" | sed -n '/^ *Command=/{s|.*Command=\(.*\)/[^/]*\.sh.*|\1|p;q}')/site.env}
source "$COSMOGAN_SITE" || exit
# hpc/batch.py starts ranks and threads, writes log and record, and requeues at the time limit
exec python -m hpc.batch validate "$@"
