#!/bin/bash
# sbatch --array=0-31 slurm/gadget2.sh FOLDER: run a real GADGET-2 on the boxes of `python -m cosmogan.simulate CONFIG --gadget2 FOLDER`
# GADGET2=/path/to/Gadget2 is the program. Export it before, or in slurm/site.env.
#SBATCH --job-name=gadget2
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=16
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@1800
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A-%a.log
# site.env lies beside this script. SLURM runs a copy of the script, so its folder is asked for.
export COSMOGAN_SITE=${COSMOGAN_SITE:-$(scontrol show job "$SLURM_JOB_ID" | sed -n '/^ *Command=/{s|.*Command=\(.*\)/[^/]*\.sh.*|\1|p;q}')/site.env}
source "$COSMOGAN_SITE" && export GADGET2 COSMOGAN_MPIRUN || exit
box=$(printf '%s/box-%03d' "${1:?expected a folder}" "${SLURM_ARRAY_TASK_ID:?expected sbatch --array=FIRST-LAST, the boxes}")
# Before the time limit a file tells GADGET-2 to write its restart files and end. The job queues again and resumes.
trap 'touch "$box/stop"; stopped=yes' USR1
"$box/run.sh" &
while kill -0 $! 2> /dev/null; do
  wait $!
  status=$?
done
# not SLURM_JOB_ID: in one of the tasks it means the whole array
[ -n "$stopped" ] && [ $status = 0 ] && exec scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
exit $status
