"""The files for clusters are what their launchers accept: Ray's schema, KubeRay's fields, a real SLURM where one is."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from zoombench.harness import spec
from zoombench.harness.ledger import Ledger

ROOT = Path(__file__).parents[1]
LAUNCHED = [ROOT / "ray_cluster.yaml", ROOT / "docs" / "cluster" / "on_premise.yaml"]
KUBERAY = ROOT / "docs" / "cluster" / "kuberay.yaml"
SLURM = ROOT / "docs" / "cluster" / "slurm.sh"

# The fields of KubeRay's v1 types (ray-operator/apis/ray/v1/rayjob_types.go and raycluster_types.go; authOptions came
# with 1.5.1). Of Kubernetes' own types: those that a pod needs here.
POD = {
    "spec": {
        "terminationGracePeriodSeconds": int,
        "containers": [
            {
                "name": str,
                "image": str,
                "env": [{"name": str, "value": str}],
                "resources": {
                    kind: dict.fromkeys(("cpu", "memory", "nvidia.com/gpu"), str) for kind in ("limits", "requests")
                },
                "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool}],
            }
        ],
        "volumes": [
            {
                "name": str,
                "persistentVolumeClaim": {"claimName": str},
                "hostPath": {"path": str},
                "configMap": {"name": str},
            }
        ],
    }
}
START = dict.fromkeys(("num-cpus", "object-store-memory"), str)  # ray start's options: text, even the numbers
GROUP = {"rayStartParams": START, "template": POD}
COUNTS = {"groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int}
RAY_JOB = {
    "apiVersion": str,
    "kind": str,
    "metadata": {"generateName": str},
    "spec": {
        "entrypoint": str,
        "backoffLimit": int,
        "shutdownAfterJobFinishes": bool,
        "ttlSecondsAfterFinished": int,
        "rayClusterSpec": {
            "rayVersion": str,
            "enableInTreeAutoscaling": bool,
            "autoscalerOptions": {"idleTimeoutSeconds": int},
            "authOptions": {"mode": str},
            "headGroupSpec": GROUP,
            "workerGroupSpecs": [GROUP | COUNTS],
        },
    },
}


def validate(config):
    """Ray's own schema, without asking any cloud."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(config))


def unknown(found, known, at=""):
    """Where a manifest has a field that is not known, or one of another type."""
    if isinstance(known, type):
        return [] if type(found) is known else [at]
    if isinstance(known, list):
        return [bad for one in found for bad in unknown(one, known[0], f"{at}[]")]
    return [
        bad
        for key, value in found.items()
        for bad in (unknown(value, known[key], f"{at}.{key}") if key in known else [f"{at}.{key}"])
    ]


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("path", LAUNCHED, ids=lambda path: path.name)
def test_a_file_for_rays_launcher_keeps_rays_schema(path):
    config = yaml.safe_load(path.read_text())
    validate(config)
    head, worker = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    assert "--dashboard-host=127.0.0.1" in head
    for command in (head, worker):
        assert "RAY_AUTH_MODE=token" in command
    assert "~/.ray/auth_token" in config["file_mounts"]


def test_gpu_workers_of_the_cloud_come_only_when_trials_wait():
    config = yaml.safe_load(LAUNCHED[0].read_text())
    assert config["available_node_types"]["gpu_worker"]["min_workers"] == 0
    assert config["available_node_types"]["head"]["resources"] == {"CPU": 0}


@pytest.mark.filterwarnings("ignore::Warning")
def test_the_check_by_rays_schema_can_fail():
    config = yaml.safe_load(LAUNCHED[0].read_text()) | {"head_nod_type": "head"}
    with pytest.raises(Exception, match="head_nod_type"):
        validate(config)


@pytest.mark.parametrize("path", LAUNCHED, ids=lambda path: path.name)
def test_what_the_launcher_runs_on_a_machine_is_sound_shell(path):
    config = yaml.safe_load(path.read_text())
    commands = [one for key, found in config.items() if key.endswith("_commands") for one in found]
    assert len(commands) > 4
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)


@pytest.mark.parametrize("path", LAUNCHED, ids=lambda path: path.name)
def test_ray_start_knows_the_options_that_it_is_given(path):
    from ray.scripts.scripts import start

    known = {name for option in start.params for name in option.opts}
    text = path.read_text() + SLURM.read_text()
    given = {one for line in re.findall(r"ray\"? start(?:.*\\\n)*.*", text) for one in re.findall(r"(--[a-z-]+)", line)}
    assert given <= known
    assert len(given) > 5


def test_the_manifest_for_kuberay_has_only_fields_that_kuberay_knows():
    job = yaml.safe_load(KUBERAY.read_text())
    assert unknown(job, RAY_JOB) == []
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert f"ray=={cluster['rayVersion']}" in (ROOT / "constraints.txt").read_text()
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_check_of_the_manifest_can_fail():
    job = yaml.safe_load(KUBERAY.read_text())
    job["spec"]["entryPoint"] = job["spec"].pop("entrypoint")
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    assert unknown(job, RAY_JOB) == [
        ".spec.rayClusterSpec.headGroupSpec.rayStartParams.num-cpus",
        ".spec.entryPoint",
    ]


def test_the_script_for_slurm_is_sound_shell():
    subprocess.run(["bash", "-n", SLURM], check=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(condition, *, seconds=400):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)


@pytest.fixture
def slurm():
    """A real SLURM of two nodes on this machine; gives the environment of its commands."""
    tools = {
        name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("munged", "slurmctld", "slurmd")
    }
    if not all(tools.values()) or os.geteuid() != 0:
        pytest.skip("SLURM is not installed here, or this is not root (Debian: apt install slurm-wlm munge)")
    folder, host, started = Path(tempfile.mkdtemp(prefix="zoombench-slurm-")), socket.gethostname(), []
    try:
        folder.chmod(0o755)
        for name in ("state", "spool", "munge"):
            (folder / name).mkdir()
        (folder / "munge" / "key").write_bytes(os.urandom(1024))
        (folder / "munge" / "key").chmod(0o600)
        for path in (folder / "munge", folder / "munge" / "key"):
            shutil.chown(path, "munge", "munge")
        ports = [free_port() for _ in range(3)]
        (folder / "slurm.conf").write_text(
            f"ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={ports[0]}\nSlurmUser=root\n"
            f"StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool/%n\nSlurmctldPidFile={folder}/ctld.pid\n"
            f"SlurmdPidFile={folder}/%n.pid\nSlurmctldLogFile={folder}/ctld.log\nSlurmdLogFile={folder}/%n.log\n"
            f"AuthType=auth/munge\nAuthInfo=socket={folder}/munge/socket\nProctrackType=proctrack/pgid\n"
            "TaskPlugin=task/none\nSelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nReturnToService=2\n"
            "MpiDefault=none\nKillWait=60\n"
            + "".join(f"NodeName=n{n} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[n]} CPUs=1\n" for n in (1, 2))
            + "PartitionName=p Nodes=ALL Default=YES State=UP\n"
        )
        munge = {f"--{key}": f"{folder}/munge/{key}" for key in ("socket", "pid-file", "log-file", "seed-file")}
        words = [tools["munged"], "--foreground", "--force", f"--key-file={folder}/munge/key"]
        words += [f"{key}={value}" for key, value in munge.items()]
        as_munge = {"user": "munge", "group": "munge", "extra_groups": []}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        started.append(subprocess.Popen(words, **quiet, **as_munge))
        wait_for((folder / "munge" / "socket").exists)
        configured = ["-D", "-f", f"{folder}/slurm.conf"]
        started.append(subprocess.Popen([tools["slurmctld"], *configured], **quiet))
        started += [subprocess.Popen([tools["slurmd"], *configured, "-N", f"n{n}"], **quiet) for n in (1, 2)]
        environment = os.environ | {"SLURM_CONF": f"{folder}/slurm.conf"}

        def idle():
            words = ["sinfo", "--noheader", "--format=%D %t"]
            return subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout

        wait_for(lambda: idle().split() == ["2", "idle"])
        yield environment
        subprocess.run(["scancel", "--user=root"], env=environment, check=False)
        wait_for(lambda: idle().split() == ["2", "idle"])
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in reversed(started):
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_slurm_job_that_is_told_to_end_goes_on_from_its_checkpoints_in_the_queue(slurm, sweep_file, tmp_path):
    budget = {"image_size": 16, "epochs": 60, "batch": 16, "gpus": 0}
    path = sweep_file(budgets={"b": budget}, seeds=2)
    results, trials = Ledger(tmp_path / "results"), spec.load(path).runnable
    environment = slurm | {"ZOOMBENCH_BIN": str(Path(sys.executable).parent)}

    def ask(*words):
        return subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    options = ("--parsable", "--cpus-per-task=1", "--output=job.log", "--time=10")
    job = ask("sbatch", *options, str(SLURM), str(path), str(results.root)).strip()
    events = lambda: [event for trial in trials for event in results.events(trial.id)]  # noqa: E731
    log = tmp_path / "job.log"
    try:
        wait_for(lambda: sum(event["event"] == "epoch" for event in events()) > 4)
        ask("scancel", "--signal=USR1", "--batch", job)  # what --signal=B:USR1@180 does
        wait_for(lambda: "Stopped." in log.read_text())
        assert ask("squeue", "--noheader", "--format=%t", f"--jobs={job}").strip() in ("PD", "CG", "R", "CF")
        ask("scontrol", "update", f"JobId={job}", "StartTime=now")  # SLURM lets a requeued job wait for two minutes
        wait_for(lambda: all(results.state(trial.id) == "done" for trial in trials))
        wait_for(lambda: "2 of 2 trials done" in log.read_text())
    except AssertionError as error:
        raise AssertionError(log.read_text()[-3000:] if log.exists() else "no job") from error
    for trial in trials:
        epochs = [event["epoch"] for event in results.events(trial.id) if event["event"] == "epoch"]
        assert sorted(epochs) == list(range(1, 61)), "an epoch was repeated, or left out"
    assert any(event.get("attempt") == 2 for event in events()), "it was never interrupted"
