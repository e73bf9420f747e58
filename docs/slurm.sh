#!/bin/bash
# Run a script of siftvton on several machines of a Slurm cluster, with one process for each GPU.
#
#   sbatch docs/slurm.sh scripts/train.py --config configs/vitonhd.yaml train.batch_size=2 train.accumulation=1 \
#       output=/shared/outputs/train
#
# infer.py and evaluate.py run in the same way. Submit it from the repository. All machines must see the repository, the
# data and the output folder under the same paths. Replace the numbers below by those of your cluster.

#SBATCH --job-name=siftvton
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=12:00:00
#SBATCH --dependency=singleton
#SBATCH --signal=TERM@300
# One task for each machine: torchrun, which starts the processes of its machine. It gets the GPUs and all cores.
# singleton: jobs of one name and user run one after the other, so each one continues the run of the one before.
# TERM@300: SIGTERM 300 seconds before the time limit; training then saves a checkpoint and ends.

set -euo pipefail
if (($# == 0)); then
    echo "slurm.sh: names no script; use e.g. sbatch docs/slurm.sh scripts/train.py --config configs/vitonhd.yaml" >&2
    exit 2
fi

# The processes meet on the first machine. The port depends on the job, because two jobs can share a machine.
mapfile -t machines < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
meeting="${machines[0]}:$((20000 + SLURM_JOB_ID % 20000))"

# Slurm does not set the number of GPUs in a job without GPUs; then one process runs on each machine.
processes="${SLURM_GPUS_ON_NODE:-1}"

# srun ignores --cpus-per-task of sbatch since Slurm 22.05, so it is repeated here. Without it, all loader processes share
# one core. --kill-on-bad-exit ends the job on all machines as soon as one machine fails.
srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=1 \
    torchrun --nnodes "$SLURM_NNODES" --nproc_per_node "$processes" \
    --rdzv_backend c10d --rdzv_endpoint "$meeting" --rdzv_id "$SLURM_JOB_ID" "$@"
