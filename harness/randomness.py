"""Seeds for each purpose, and the state of every global generator that a method may draw from."""

import hashlib
import random
from typing import Any

import numpy as np
import torch


def stream_seed(*parts: object) -> int:
    """A seed for one purpose, so that drawing more for one never moves another."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:7], "little")


def seed_everything(*parts: object) -> None:
    """Seed every generator that a method may draw from without being handed one."""
    seed = stream_seed(*parts)
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def get_random_state(device: torch.device) -> dict[str, Any]:
    """The state of those generators, in values that `torch.load(weights_only=True)` reads."""
    kind, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if device.type == "cuda" else None,
        "random": random.getstate(),
        "numpy": (kind, np.asarray(keys).tolist(), *rest),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """What get_random_state gave."""
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
    random.setstate(state["random"])
    np.random.set_state(state["numpy"])
