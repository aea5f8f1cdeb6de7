"""How a batch is learned from: forward and backward in pieces that fit the memory, then one step of the optimizer.

Nothing here waits for the device: what the host wants to know is kept there until it is asked for.
"""

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import precision
from .contract import Method, given
from .errors import TrialError
from .parallel import Ranks, cut
from .randomness import get_random_state, set_random_state
from .recipe import recipe
from .spec import TrialSpec
from .sweepfile import Settings


class Learner:
    """The optimizer, the schedule and the gradient scaler of a trial, and whether its method is compiled."""

    def __init__(
        self, method: Method, spec: TrialSpec, settings: Settings, ranks: Ranks, device: torch.device, *, examples: int
    ) -> None:
        self.spec, self.settings, self.ranks, self.device = spec, settings, ranks, device
        self.method = method
        self.forward: nn.Module = method
        """What is called in training: the method, or what averages its gradients over the ranks."""
        self.batch = min(spec.budget.batch, examples)
        self.steps = max(1, examples // spec.budget.batch)
        """Of one epoch."""
        groups = method.parameter_groups(spec.training.learning_rate)
        self.optimizer, self.schedule = recipe(
            spec.training,
            groups,
            steps=self.steps,
            epochs=spec.budget.epochs,
            fused=settings.precision == "fp16",  # any other would read back at each step whether it is to be left out
        )
        self.scaler = precision.gradient_scaler(settings.precision, device)
        self._sizes = [len(piece) for piece in self.share(range(self.batch))]
        self._left_out = torch.zeros((), dtype=torch.int64, device=device)
        self.compiled = False
        self._compiles: Callable[..., None] | None = None
        """Whom to tell if the method cannot be compiled; None once that is known."""

    def begin(self, method: Method, note: Callable[..., None]) -> None:
        """Take the method as the ranks share it."""
        self.method = method
        if self.settings.compile:
            torch.compiler.reset()  # or what a used process has compiled before counts against this trial
            method.compile(dynamic=False)  # a shape's code then does not depend on the shapes before it
            self.compiled, self._compiles = True, note

    def start_epoch(self) -> None:
        """Look at what is trained: start_epoch of the method may have frozen or freed parameters."""
        self.forward = self.ranks.wrap(self.method)
        self._parameters = list(self.method.parameters())

    def uncompiled(self) -> contextlib.AbstractContextManager[Any]:
        """Where the method is called as it is: batches of other sizes would each be compiled for a few calls."""
        return torch.compiler.set_stance("force_eager") if self.compiled else contextlib.nullcontext()

    def share(self, batch: Sequence[int]) -> list[list[int]]:
        """The examples of a batch that are this rank's, in pieces that go through the network one after another.

        Each piece is of all ranks, so that BatchNorm sees the same examples together however many there are.
        """
        return [self.ranks.share(piece) for piece in cut(batch, self.spec.budget.pieces(len(batch)))]

    def step(self, inputs: dict[str, Tensor], target: Tensor) -> Tensor:
        """One step on this rank's share of a batch; the loss, so weighted that its mean over ranks is the batch's."""
        if self._compiles is None:
            return self._step(inputs, target)
        # A compiler speaks up when it is first used. What it may have moved until then is put back.
        random, state = get_random_state(self.device), copy.deepcopy(self.method.state_dict())
        note, self._compiles = self._compiles, None
        try:
            return self._step(inputs, target)
        except torch._dynamo.exc.TorchDynamoException as error:
            said = [line for line in str(error).splitlines() if line][:2]  # the first may name but the compiler
            note("not compiled", why=" ".join([f"{type(error).__name__}:", *said]))
            self.compiled = False
            self.method._compiled_call_impl = None  # torch has no public way back
            self.method.load_state_dict(state)
            set_random_state(random)
            self.ranks.release()
            self.start_epoch()
            return self._step(inputs, target)

    def _step(self, inputs: dict[str, Tensor], target: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        whole: Tensor | None = None
        for number, (some, of_some) in enumerate(_split(inputs, target, self._sizes), start=1):
            with contextlib.nullcontext() if number == len(self._sizes) else self.ranks.apart(self.forward):
                with precision.autocast(self.settings.precision, self.device):
                    loss: Tensor | None = self.forward(**given(self.method, some), target=of_some).loss
                if loss is None:
                    raise TrialError(
                        f"{self.spec.method.name}: forward was given a target and returned an Output without loss."
                    )
                loss = self.ranks.scale(loss, share=len(of_some), batch=self.batch)
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            whole = loss.detach() if whole is None else whole + loss.detach()
        assert whole is not None
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, self.spec.training.clip)
        self.scaler.step(self.optimizer)
        if self.scaler.is_enabled():
            self._left_out += ~norm.isfinite()
            self.scaler.update()
        self.schedule.step()
        return whole

    @property
    def skipped_steps(self) -> int:
        """Steps left out because gradients did not fit 16 bits: the scale is then halved, and the next one tries."""
        return int(self._left_out)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "skipped_steps": self.skipped_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What state_dict gave; a trial may go on in another precision, and its scaler then starts anew."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.scaler.is_enabled() and state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        self._left_out.fill_(state.get("skipped_steps", 0))


def _split(inputs: dict[str, Tensor], target: Tensor, sizes: Sequence[int]) -> list[tuple[dict[str, Tensor], Tensor]]:
    """A batch in pieces of these sizes."""
    if len(sizes) == 1:
        return [(inputs, target)]
    parts = {name: torch.split(tensor, list(sizes)) for name, tensor in inputs.items()}
    return [
        ({name: parts[name][at] for name in parts}, of_some)
        for at, of_some in enumerate(torch.split(target, list(sizes)))
    ]
