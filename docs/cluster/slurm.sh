#!/usr/bin/env bash
# A sweep as one SLURM job: Ray's head and the driver on the first node, a Ray worker on each other one.
#
#   sbatch docs/cluster/slurm.sh my_sweep.yaml /shared/results
#
# Change the lines marked CHANGE. Whatever ends the job (its time, a preemption, scancel), every trial writes a checkpoint,
# and the job puts itself back into the queue; it goes on there until the sweep is done. `scancel --full` ends it for good.
#SBATCH --job-name=zoombench
#SBATCH --nodes=2               # CHANGE
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8       # CHANGE: all of a node's, or your share of them
##SBATCH --gpus-per-node=4      # CHANGE: one # where there are GPUs
#SBATCH --time=12:00:00         # CHANGE
#SBATCH --signal=B:TERM@180     # tell this script three minutes before the time is over
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
head=$(on "${nodes[0]}" "$bin/python" -c 'import socket; print(socket.gethostbyname(socket.gethostname()))')
port=$((20000 + SLURM_JOB_ID % 20000))   # two jobs may share a node
ray_node() {  # node, then what `ray start` is told
    on "$1" "$bin/ray" start --block --num-cpus="${SLURM_CPUS_PER_TASK:-1}" --object-store-memory=200000000 \
        --temp-dir="/tmp/ray-$SLURM_JOB_ID-$1" "${@:2}" &
}

leave() {  # a signal came: Ctrl-C to the driver, whose trials write checkpoints; then back into the queue
    trap '' TERM INT
    [[ -z ${driver:-} ]] || kill -TERM "$driver" 2>/dev/null || true
    [[ -z ${driver:-} ]] || wait "$driver" || true
    scontrol requeue "$SLURM_JOB_ID" || true
    exit 143
}
trap leave TERM INT

ray_node "${nodes[0]}" --head --node-ip-address="$head" --port="$port" --include-dashboard=false
for node in "${nodes[@]:1}"; do ray_node "$node" --address="$head:$port"; done
for _ in {1..60}; do   # all nodes, or those that came within two minutes
    there=$("$bin/python" - "$head:$port" <<'PYTHON' || true
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print(sum(node["Alive"] for node in ray.nodes()))
PYTHON
    )
    [[ ${there:-0} -lt ${#nodes[@]} ]] || break
    sleep 2
done
echo "Ray has ${there:-no} of ${#nodes[@]} nodes at $head:$port"

"$bin/zoombench" run "$sweep" --address "$head:$port" --results "$results" &
driver=$!
code=0
wait "$driver" || code=$?
exit "$code"                    # the job's other steps end with it
