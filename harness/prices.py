"""What computing costs where the sweep runs, as `settings.cost` says it. Nothing here enters a trial's id."""

from pydantic import BaseModel, ConfigDict, Field


class Prices(BaseModel):
    """Prices and factors by which hours become money, energy and carbon dioxide; what is left out is not told."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    price_per_gpu_hour: float | None = Field(default=None, gt=0)
    price_per_cpu_hour: float | None = Field(default=None, gt=0)
    """Of one CPU, for trials that hold no GPU."""
    currency: str = Field(default="EUR", min_length=1, max_length=8)
    watts: float | None = Field(default=None, gt=0)
    """What one GPU draws with its share of the machine, or one CPU for trials that hold no GPU. Left out: what finished
    trials' GPUs were seen to use, where NVML told."""
    kg_co2_per_kwh: float | None = Field(default=None, gt=0)
