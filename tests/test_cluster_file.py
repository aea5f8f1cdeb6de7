"""ray_cluster.yaml is what Ray's cluster launcher accepts."""

from pathlib import Path

import pytest
import yaml

CLUSTER = Path(__file__).parents[1] / "ray_cluster.yaml"


def validate(config):
    """Ray's own schema, without asking any cloud."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(config))


@pytest.mark.filterwarnings("ignore::Warning")
def test_the_cluster_file_keeps_rays_schema():
    config = yaml.safe_load(CLUSTER.read_text())
    validate(config)
    assert config["available_node_types"]["gpu_worker"]["min_workers"] == 0
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][1]


@pytest.mark.filterwarnings("ignore::Warning")
def test_the_test_above_can_fail():
    config = yaml.safe_load(CLUSTER.read_text()) | {"head_nod_type": "head"}
    with pytest.raises(Exception, match="head_nod_type"):
        validate(config)
