#!/usr/bin/env bash
# A sweep as one SLURM job: Ray's head and the driver on the first node, a Ray worker on each other one.
#
#   sbatch docs/cluster/slurm.sh my_sweep.yaml /shared/results
#
# Change the lines marked CHANGE. When its time is over or it is preempted, the job puts itself back into the queue, and
# goes on there from the trials' checkpoints (settings.checkpoint_seconds says how old they may be) until the sweep is done.
# `scancel` with a job's number ends it for good.
#SBATCH --job-name=zoombench
#SBATCH --nodes=2               # CHANGE
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8       # CHANGE: all of a node's, or your share of them
##SBATCH --gpus-per-node=4      # CHANGE: one # where there are GPUs
#SBATCH --time=12:00:00         # CHANGE
#SBATCH --signal=B:USR1@180     # tell this script three minutes before the time is over
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

sweep=$1 results=$2             # results: a folder that all nodes see under this path
cd "${ZOOMBENCH_HOME:-$SLURM_SUBMIT_DIR}"   # the checkout, on a file system that all nodes see
bin=${ZOOMBENCH_BIN:-$PWD/.venv/bin}
# CHANGE: export ZOOMBENCH_DATA=/local/data   # each node's own copy of the data sets

# A secret of this job keeps other users' programs out of its Ray; srun hands it to the nodes in the environment.
RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$("$bin/python" -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE RAY_AUTH_TOKEN
ulimit -n "$(ulimit -Hn)"

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
on() { srun --overlap --nodes=1 --ntasks=1 --nodelist="$1" "${@:2}"; }
head=$(on "${nodes[0]}" "$bin/python" -c 'import ray; print(ray.util.get_node_ip_address())')
port=$((20000 + SLURM_JOB_ID % 20000))   # two jobs may share a node
ray_node() {  # node, then what `ray start` is told
    on "$1" "$bin/ray" start --block --num-cpus="${SLURM_CPUS_PER_TASK:-1}" --object-store-memory=200000000 \
        --temp-dir="/tmp/ray-$SLURM_JOB_ID-$1" "${@:2}" &
}

leave() {  # stop the driver in order; what follows is done after that
    trap '' TERM USR1
    if [[ -n ${driver:-} ]]; then kill -TERM "$driver" 2>/dev/null || true; wait "$driver" || true; fi
    "$@"
    exit 143
}
trap 'leave scontrol requeue "$SLURM_JOB_ID"' USR1   # the time is nearly over
trap 'leave true' TERM   # scancel; or a preemption, after which SLURM itself requeues

there() {  # how many nodes Ray has
    "$bin/python" - "$head:$port" 2>/dev/null <<'PYTHON' || echo 0
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print(sum(node["Alive"] for node in ray.nodes()))
PYTHON
}
wait_for() { local end=$((SECONDS + 180)); while [[ $(there) -lt $1 && $SECONDS -lt $end ]]; do sleep 2; done; }

export RAY_raylet_start_wait_time_s=120   # a shared file system is slow when all nodes import from it at once
ray_node "${nodes[0]}" --head --node-ip-address="$head" --port="$port" --include-dashboard=false
wait_for 1
for node in "${nodes[@]:1}"; do ray_node "$node" --address="$head:$port"; done
wait_for "${#nodes[@]}"        # or go on with those that came
echo "Ray has $(there) of ${#nodes[@]} nodes at $head:$port"

"$bin/zoombench" run "$sweep" --address "$head:$port" --results "$results" &
driver=$!
code=0
wait "$driver" || code=$?
exit "$code"                    # the job's other steps end with it
