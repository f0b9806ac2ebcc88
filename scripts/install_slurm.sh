#!/usr/bin/env bash
# scripts/install_slurm.sh: SLURM's daemons, from the packages of Debian or Ubuntu, for the tests in tests/slurm
#
# The tests start a cluster of their own on this machine, and end it again.
set -euo pipefail
export PATH=$PATH:/usr/sbin

if command -v slurmctld > /dev/null && command -v slurmd > /dev/null && command -v munged > /dev/null; then
    echo "install_slurm: SLURM is here already"
    exit
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "install_slurm: expected root and apt-get; install slurm-wlm and munge, or go without the tests in tests/slurm" >&2
    exit 1
fi
apt-get update
apt-get install -y --no-install-recommends slurm-wlm munge
