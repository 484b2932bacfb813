#!/bin/bash
# One model trained by all processes of a Slurm job: sbatch docs/slurm_train.sh runs/big.zarr --out runs/model
#
# What follows the script goes to `gnvpro train`. Fit nodes, processes and time to your site; on GPU nodes add
# --gres=gpu:4, set PER_NODE=4 and pass --device cuda. The data set's folder is on a file system that all nodes see.
#SBATCH --job-name=gnvpro-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
# Asked to end two minutes before the time is over, all processes save the best model so far.
#SBATCH --signal=TERM@120
set -euo pipefail

PER_NODE="${PER_NODE:-${SLURM_CPUS_PER_TASK:-1}}"
NODES="${SLURM_NNODES:-1}"
# Without Slurm, on this machine alone, to try it: PER_NODE=2 bash docs/slurm_train.sh runs/big.zarr --out runs/model
if [ -z "${SLURM_JOB_ID:-}" ]; then
  exec torchrun --standalone --nproc-per-node "$PER_NODE" -m gnvpro train "$@"
fi
FIRST="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export OMP_NUM_THREADS=1
exec srun torchrun --nnodes "$NODES" --nproc-per-node "$PER_NODE" \
  --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$FIRST:29400" -m gnvpro train "$@"
