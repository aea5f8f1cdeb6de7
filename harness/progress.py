"""How far a sweep is: a live table on a terminal, plain lines elsewhere."""

import time
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .ledger import Ledger
from .spec import TrialSpec


class Progress:
    """Counts trials and epochs, and shows them. Use as a context manager."""

    def __init__(self, trials: int, epochs: int, *, already: int, console: Console) -> None:
        self.trials, self.epochs, self.already = trials, epochs, already
        self.console = console
        self.began = time.monotonic()
        self.first_epoch = 0.0
        """When the first epoch ended: what came before, starting processes, says nothing of the pace."""
        self.running: dict[str, tuple[TrialSpec, dict[str, Any]]] = {}
        self.reached: dict[str, int] = {}
        """Epochs that each trial has finished here."""
        self.done = self.failed = self.epochs_done = 0
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=2, transient=True)

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def say(self, line: str) -> None:
        """One line that stays, above the live table."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def started(self, spec: TrialSpec) -> None:
        """A trial begins, or goes on."""
        self.running[spec.id] = (spec, {})

    def scored(self, spec: TrialSpec, score: dict[str, Any]) -> None:
        """A new score of a trial."""
        self.running[spec.id] = (spec, score)
        if score["split"] == "train":
            self.epochs_done += 1
            self.reached[spec.id] = score["epoch"]
            self.first_epoch = self.first_epoch or time.monotonic()

    def ended(self, spec: TrialSpec, ledger: Ledger) -> None:
        """A trial ended: one line says how."""
        self.running.pop(spec.id, None)
        state = ledger.state(spec.id)
        if state == "done":
            self.done += 1
            scores = [s for s in ledger.scores(spec.id) if s["split"] == spec.judged]
            what = f"{scores[-1]['metric']} {scores[-1]['value']:.4g}" if scores else "done"
        elif state == "failed":
            self.failed += 1
            self.epochs -= spec.budget.epochs - self.reached.get(spec.id, 0)  # those it will not run
            failure = ledger.record(spec.id, "failed.json")
            what = f"FAILED {failure['error_class']}: {failure['message'].splitlines()[0]}"
        else:
            told = ledger.events(spec.id)[-1:]
            is_stopped = bool(told) and told[0]["event"] == "preempted"
            what = (
                "told to end: it goes on from its checkpoint"
                if is_stopped
                else "not finished here: lost, or held by another process"
            )
        self.say(f"[{self.done + self.failed}/{self.trials}] {spec.title}: {what}{self._left()}")

    def _left(self) -> str:
        if self.epochs_done < 2 or self.epochs_done >= self.epochs:
            return ""
        seconds = (time.monotonic() - self.first_epoch) / (self.epochs_done - 1) * (self.epochs - self.epochs_done)
        return f" (about {_duration(seconds)} left)"

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 2))
        if not self.running and not self.done + self.failed:
            table.add_row("starting Ray and its processes: half a minute on a slow machine")
        for spec, score in self.running.values():
            epoch = score.get("epoch", 0)
            said = f"{score['split']} {score['metric']} {score['value']:.4g}" if score else "starting"
            table.add_row(spec.title, f"epoch {epoch}/{spec.budget.epochs}", said)
        queued = self.trials - self.done - self.failed - len(self.running)
        counts = (
            f"{self.done} done, {len(self.running)} running, {queued} queued, {self.failed} failed"
            f"{f', {self.already} done before' if self.already else ''}; {_duration(time.monotonic() - self.began)}"
            f"{self._left()}"
        )
        bar = Table.grid(padding=(0, 2))
        bar.add_row(ProgressBar(total=max(1, self.epochs), completed=self.epochs_done, width=40), Text(counts))
        return Group(table, bar)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
