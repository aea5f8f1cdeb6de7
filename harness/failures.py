"""What went wrong in a sweep: the failures by cause, as lines, as a table, and all that is known of one trial."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from .errors import UnknownName
from .ledger import Ledger, write_text
from .spec import TrialSpec

OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError")
NICKNAMES = {"oom": OUT_OF_MEMORY, "nan": ("NonFiniteLoss",), "lost": ("WorkerLost",)}
"""Short names of error classes, for the command line."""
COLUMNS = ("trial_id", "method", "dataset", "budget", "seed", "error_class", "attempts", "time", "message")
LAST_SCORES = 8


def failed(trials: Iterable[TrialSpec], ledger: Ledger) -> dict[str, list[tuple[TrialSpec, dict[str, str]]]]:
    """The failed trials by error class, in the order of the classes' names, each with what failed.json says."""
    causes: dict[str, list[tuple[TrialSpec, dict[str, str]]]] = {}
    for trial in trials:
        if ledger.state(trial.id) == "failed":
            failure = ledger.record(trial.id, "failed.json")
            causes.setdefault(failure["error_class"], []).append((trial, failure))
    return dict(sorted(causes.items()))


def of_classes(trials: Iterable[TrialSpec], ledger: Ledger, wanted: Sequence[str]) -> list[TrialSpec]:
    """The trials that failed of these error classes, or of any where none is named.

    Raises UnknownName for a class that no trial failed of.
    """
    causes = failed(trials, ledger)
    if not wanted:
        return [trial for of_one in causes.values() for trial, _ in of_one]
    chosen: list[TrialSpec] = []
    for name in wanted:
        classes = NICKNAMES.get(name.lower(), (name,))
        found = [trial for one in classes for trial, _ in causes.get(one, ())]
        if not found:
            raise UnknownName(
                f"no trial failed of {name}. Trials failed of: {', '.join(causes) or 'nothing'}. Short names: "
                f"{', '.join(NICKNAMES)}."
            )
        chosen += found
    return chosen


def lines(trials: Iterable[TrialSpec], ledger: Ledger) -> list[str]:
    """One line a cause, two a trial of it."""
    said = []
    for error_class, found in failed(trials, ledger).items():
        said.append(f"  failed  {error_class} ({len(found)} trial{'' if len(found) == 1 else 's'})")
        for trial, failure in found:
            said.append(f"    {trial.id}  {trial.title}: {failure['message'].splitlines()[0]}")
            said.append(f"      traceback in {ledger.folder(trial.id) / 'traceback.txt'}")
    return said


def write_csv(trials: Iterable[TrialSpec], ledger: Ledger, path: Path) -> None:
    """Write the failures as CSV, one row each; without failures there is no file."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows = 0
    for error_class, found in failed(trials, ledger).items():
        for trial, failure in found:
            place = (trial.id, trial.method.label, trial.dataset.label, trial.budget_label, trial.seed)
            said = (error_class, failure.get("attempts", ""), failure["time"], failure["message"])
            writer.writerow(place + said)
            rows += 1
    if rows:
        write_text(path, stream.getvalue())
    else:
        path.unlink(missing_ok=True)


def log(ledger: Ledger, start_of_id: str) -> list[str]:
    """All that is known of a trial: what it is, what happened, its last scores, and the traceback of its failure.

    Raises UnknownName where no trial's id, or more than one, starts so.
    """
    matching = [name for name in ledger.known() if name.startswith(start_of_id)]
    if len(matching) != 1:
        why = f"{len(matching)} trials' ids start so: {', '.join(matching[:5])}" if matching else "none starts so"
        raise UnknownName(f"{start_of_id!r} is no trial in {ledger.place}: {why}. `zoombench plan` lists the ids.")
    trial_id = matching[0]
    said = []
    if plain := ledger.record(trial_id, "trial.json"):
        spec = TrialSpec.from_json(plain)
        said.append(f"{trial_id}  {spec.title}")
    said.append(f"folder: {ledger.folder(trial_id)}")
    for event in ledger.events(trial_id):
        facts = {key: value for key, value in event.items() if key not in ("event", "time", "code")}
        said.append(f"{event['time']}  {event['event']:10}  {', '.join(f'{k} {v}' for k, v in facts.items())}")
    scores = ledger.scores(trial_id)
    said += [
        f"{score['split']} {score['metric']} after epoch {score['epoch']}: {score['value']:.6g}"
        for score in scores[-LAST_SCORES:]
    ]
    if traceback := ledger.record(trial_id, "failed.json").get("traceback"):
        said.append(str(traceback).rstrip())
    return said
