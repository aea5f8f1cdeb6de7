"""Equal tuning: every method tries as many configurations on the validation split, then trains anew with the best one.

A sweep with a section `tuning` has two kinds of trials. Tuning trials never see the test split. Once those of a method,
dataset and budget have ended, the ledger says which configuration won, and its final trials are planned with it, under
seeds that no tuning trial had. So nothing needs to be kept between the two: whoever loads the sweep finds the same.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml
from pydantic import ValidationError

from .budget import Training
from .errors import ResultsError
from .ledger import Ledger, write_text
from .lookup import closest, complaint, explain
from .search_space import Distribution, Tuning
from .spec import Choice, Sweep, TrialSpec, checkpoints, choose
from .sweepfile import Lines

Place = tuple[str, str, str]
"""Labels of a method, a dataset and a budget: what is tuned by itself."""
TRAINING = "training."
"""How the name of a hyper-parameter of the recipe begins; others are settings of a method."""


@dataclass(frozen=True)
class Draw:
    """One configuration, and what its trials gave."""

    trials: tuple[TrialSpec, ...]
    """One for each tuning seed."""
    score: float | None
    """Mean validation score after the last epoch; nan where a trial failed, None while one has not ended."""
    failures: tuple[str, ...]
    """Error classes."""

    @property
    def number(self) -> int:
        """Which draw it is; 0 is the sweep file's own configuration."""
        assert self.trials[0].draw is not None
        return self.trials[0].draw


@dataclass(frozen=True)
class Search:
    """All draws of one method, dataset and budget."""

    draws: tuple[Draw, ...]

    @property
    def winner(self) -> Draw | None:
        """The best by validation score, the earlier one of equals; None while draws are open, or if all failed."""
        finished = [draw for draw in self.draws if draw.score is not None and not math.isnan(draw.score)]
        if not finished or self.open:
            return None
        sign = 1 if self.draws[0].trials[0].task.metric.higher_is_better else -1
        return max(finished, key=lambda draw: sign * (draw.score or 0.0))

    @property
    def open(self) -> int:
        """Draws that have not ended."""
        return sum(draw.score is None for draw in self.draws)

    @property
    def failed(self) -> int:
        """Draws that lose because a trial of theirs failed."""
        return sum(bool(draw.failures) for draw in self.draws)

    def settle(self, final: TrialSpec) -> TrialSpec:
        """A final trial with the winner's settings, or with the reason why it has none."""
        asked = self.draws[0].trials[0]
        final = replace(final, method=asked.method, training=asked.training, weights=asked.weights, draw=None, drawn={})
        final = replace(final, skip=None, waits=None)
        if self.open:
            return replace(final, waits=f"{self.open} of {len(self.draws)} draws of its tuning have not ended")
        if (winner := self.winner) is None:
            causes = Counter(cause for draw in self.draws for cause in draw.failures)
            told = ", ".join(f"{cause} x {count}" for cause, count in causes.items())
            how_many = "its only draw" if len(self.draws) == 1 else f"all {len(self.draws)} draws"
            return replace(
                final, skip=f"tuning found no settings: {how_many} failed ({told}); `zoombench retry` runs them again"
            )
        won = winner.trials[0]
        return replace(
            final, method=won.method, training=won.training, weights=won.weights, draw=won.draw, drawn=won.drawn
        )


def planned(sweep: Sweep, ledger: Ledger) -> Sweep:
    """A sweep with its tuning trials, and its final ones as far as the ledger knows who won.

    Raises SweepFileError for a space that does not fit the methods, and for a dataset without a validation split.
    """
    tuning, first = sweep.file.tuning, sweep.file.seeds[0]
    if tuning is None:
        return sweep
    _refuse_absent_validation(sweep)
    finals = [trial for trial in sweep.trials if trial.seed == first]
    methods = {final.method.label: final.method for final in finals}
    spaces = _spaces(tuning, methods, sweep.lines)
    tried = {
        label: _configurations(methods[label], sweep, tuning, space, sweep.lines) for label, space in spaces.items()
    }
    trials = tuple(
        replace(
            final,
            method=tried[final.method.label][number][0],
            training=tried[final.method.label][number][1],
            drawn=tried[final.method.label][number][2],
            weights=checkpoints(tried[final.method.label][number][0], final.budget),
            seed=seed,
            purpose="tuning",
            draw=number,
        )
        for number in range(tuning.trials)  # draws outermost: a search that is stopped early is balanced over methods
        for seed in tuning.seed_numbers
        for final in finals
        if final.skip is None and number < len(tried[final.method.label])
    )
    return settled(replace(sweep, trials=(*trials, *sweep.trials)), ledger)


def settled(sweep: Sweep, ledger: Ledger) -> Sweep:
    """The same sweep once more trials have ended: its final trials as the ledger now has them."""
    found = searches(sweep.trials, ledger)
    return replace(
        sweep,
        trials=tuple(
            found[place(trial)].settle(trial) if trial.purpose == "final" and place(trial) in found else trial
            for trial in sweep.trials
        ),
    )


def place(trial: TrialSpec) -> Place:
    """What a trial is tuned with."""
    return trial.method.label, trial.dataset.label, trial.budget_label


def searches(trials: Iterable[TrialSpec], ledger: Ledger) -> dict[Place, Search]:
    """The tuning trials among these as searches, with what the ledger knows of them."""
    grouped: dict[Place, dict[int, list[TrialSpec]]] = {}
    tried = [trial for trial in trials if trial.purpose == "tuning"]
    ledger.fetch([trial.id for trial in tried], only=["done.json", "failed.json", "metrics.jsonl"])
    for trial in tried:
        if trial.draw is not None:
            grouped.setdefault(place(trial), {}).setdefault(trial.draw, []).append(trial)
    return {
        at: Search(tuple(_draw(tuple(own), ledger) for _, own in sorted(draws.items())))
        for at, draws in grouped.items()
    }


def record(sweep: Sweep, ledger: Ledger) -> None:
    """Write winners.yaml: what each search found, to read; nothing reads it back."""
    found = searches(sweep.trials, ledger)
    if found:
        text = yaml.safe_dump([_told(at, search) for at, search in found.items()], sort_keys=False, allow_unicode=True)
        write_text(ledger.sweep_folder(sweep.name) / "winners.yaml", text)


def in_words(drawn: dict[str, Any]) -> str:
    """The values of a configuration in one line."""
    return ", ".join(f"{name} {value}" for name, value in drawn.items())


def _told(at: Place, search: Search) -> dict[str, Any]:
    default, winner = search.draws[0], search.winner
    told: dict[str, Any] = dict(zip(("method", "dataset", "budget"), at, strict=True))
    told |= {"draws": len(search.draws), "failed": search.failed, "not_ended": search.open}
    told |= {"default": default.trials[0].drawn, "default_score": default.score}
    if winner:
        told |= {"winner": winner.number, "settings": winner.trials[0].drawn, "score": winner.score}
    return told | {"metric": default.trials[0].task.metric.name}


def _draw(trials: tuple[TrialSpec, ...], ledger: Ledger) -> Draw:
    scores, failures = [], []
    for trial in trials:
        state = ledger.state(trial.id)
        if state == "failed":
            failures.append(str(ledger.record(trial.id, "failed.json")["error_class"]))
        elif state == "done":
            scores.append(deciding_score(trial, ledger)["value"])
    if len(scores) + len(failures) < len(trials):
        return Draw(trials, None, tuple(failures))
    return Draw(trials, math.nan if failures else sum(scores) / len(scores), tuple(failures))


def deciding_score(trial: TrialSpec, ledger: Ledger) -> dict[str, Any]:
    """The last score of the split that a finished trial is judged by. Raises ResultsError without one."""
    told = [
        score
        for score in ledger.scores(trial.id)
        if score["split"] == trial.judged and score["metric"] == trial.task.metric.name
    ]
    if not told:
        raise ResultsError(
            f"{ledger.folder(trial.id)} is marked done and holds no {trial.judged} score. Delete done.json there; the "
            "trial then runs again."
        )
    return told[-1]


def _spaces(tuning: Tuning, methods: dict[str, Choice], lines: Lines) -> dict[str, dict[str, Distribution]]:
    """By method label, its hyper-parameters: those of all methods, under its own of the same name."""
    common: dict[str, Distribution] = {}
    own: dict[str, dict[str, Distribution]] = {label: {} for label in methods}
    for key, entry in tuning.space.items():
        at = ("tuning", "space", key)
        if key in methods:
            for name, given in entry.items():
                known = [*methods[key].config, *(TRAINING + one for one in Training.model_fields)]
                own[key][name] = _distribution(name, given, known, (*at, name), lines)
        elif key.startswith(TRAINING):
            common[key] = _distribution(key, entry, [TRAINING + one for one in Training.model_fields], at, lines)
        else:
            known = [*methods, *(TRAINING + one for one in Training.model_fields)]
            raise lines.error(
                at, f"no method of this label, and no {TRAINING}… that all methods have.{closest(key, known)}"
            )
    return {label: common | mine for label, mine in own.items()}


def _distribution(name: str, given: Any, known: Sequence[str], at: tuple[str, ...], lines: Lines) -> Distribution:
    if name not in known:
        raise lines.error(at, f"no setting {name!r} to tune.{closest(name, known)} Known: {', '.join(known)}.")
    if not isinstance(given, dict):
        raise lines.error(at, f"expected a distribution, such as {{uniform: [0, 1]}}, found {given!r}.")
    try:
        return Distribution.model_validate(given, strict=True)
    except ValidationError as error:
        told = explain(error, Distribution.model_fields)
        raise lines.error((*at, *complaint(error)["loc"]), f"{told[:-1]}, found {given!r}.") from error


def _configurations(
    method: Choice, sweep: Sweep, tuning: Tuning, space: dict[str, Distribution], lines: Lines
) -> list[tuple[Choice, Training, dict[str, Any]]]:
    """Every configuration of a method, the sweep file's own first; that one alone where there is nothing to tune."""
    recipe = sweep.file.training.model_dump()
    defaults = {
        name: recipe[name.removeprefix(TRAINING)] if name.startswith(TRAINING) else method.config[name]
        for name in space
    }
    made = [(method, sweep.file.training, defaults)]
    for number in range(1, tuning.trials if space else 1):
        drawn = {name: one.draw(name, number, tuning.draw_seed) for name, one in space.items()}
        of_recipe = {name.removeprefix(TRAINING): v for name, v in drawn.items() if name.startswith(TRAINING)}
        own = {name: value for name, value in drawn.items() if not name.startswith(TRAINING)}
        entry = (sweep.file.methods[method.label] or {}) | own
        at = ("tuning", "space", method.label)
        try:
            training = Training.model_validate(recipe | of_recipe, strict=True)
        except ValidationError as error:
            name = TRAINING + str(complaint(error)["loc"][0])
            where = (*at, name) if name in tuning.space.get(method.label, {}) else ("tuning", "space", name)
            told = explain(error, Training.model_fields)
            raise lines.error(where, f"draw {number} does not fit: {told}") from error
        made.append((choose("method", method.label, entry, lines, at=at) if own else method, training, drawn))
    return made


def _refuse_absent_validation(sweep: Sweep) -> None:
    """A dataset says in a setting `validation_…` how many examples it holds out; a trial looks at the split itself."""
    for dataset in {trial.dataset.label: trial.dataset for trial in sweep.trials}.values():
        for key, value in dataset.config.items():
            if key.startswith("validation") and value == 0:
                raise sweep.lines.error(
                    ("datasets", dataset.label, key),
                    f"{key} is 0, and tuning is judged by the validation split. Hold some examples out, or leave the "
                    "section tuning out.",
                )
