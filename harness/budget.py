"""Budget and Training: what a trial may spend, and the recipe it is trained with.

Torch-free, so that a sweep file can be checked in well under a second.
"""

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Budget(BaseModel):
    """A named allowance, the same for every method."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(ge=4, le=4096)
    """Side in pixels of the square image that the task network sees."""
    overview_size: int | None = Field(default=None, ge=4, le=4096)
    """Side in pixels of the low-resolution view that decides where to look; image_size when left out."""
    epochs: int = Field(ge=1)
    batch: int = Field(default=64, ge=1)
    cpus: int = Field(default=1, ge=1)
    """CPU threads of one trial. Not part of a trial's id."""
    gpus: float | None = Field(default=None, ge=0)
    """GPUs of one trial, fractions allowed; left out: 1 where there is a GPU, else 0. Not part of a trial's id."""

    @field_validator("gpus")
    @classmethod
    def _whole_above_one(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError("gpus is a whole number, or a fraction of one")
        return gpus

    @property
    def overview(self) -> int:
        """Side in pixels of the overview."""
        return self.overview_size or self.image_size


class Training(BaseModel):
    """The optimizer and its schedule, the same for every method: AdamW under a one-cycle schedule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup: float = Field(default=0.15, gt=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    clip: float = Field(default=5.0, gt=0)
    """Largest norm of the gradient."""
