"""In which numbers a method computes: float32 or, chosen operation by operation by torch's autocast, 16 bits.

The same for training, judging and measuring. float32 is torch's own: its switches for TF32 (off for products of
matrices, on for cuDNN's convolutions) are left as they are.
"""

import torch

from .sweepfile import Precision


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context that a forward pass belongs in; a backward pass runs outside it."""
    short = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=short, enabled=precision != "float32")


def gradient_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """What keeps gradients within the range of 16-bit floats; of the other precisions it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
