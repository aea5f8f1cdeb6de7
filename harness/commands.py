"""What each command of the command line does: plan, subtract what is done, run the rest, report.

Heavy imports (torch, ray, mlflow, pandas) stand where they are needed: a command that needs none answers at once.
"""

import argparse
import shlex
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import yaml
from rich.console import Console

from . import estimating, failures, lookup, planned, preflight, reporting, results, spec, storage, sweepfile, tuning
from .errors import StorageLost, TrackingError, UsageError
from .ledger import Ledger, at
from .spec import Sweep, TrialSpec
from .sweepfile import Settings

DONE, FAILED, STOPPED, INTERRUPTED = 0, 3, 4, 130
TO_GO_ON = ("done.json", "failed.json", "traceback.txt", "events.jsonl", "metrics.jsonl", "tracked.json")
"""What `run` reads of trials before it runs any."""


def run_sweep(options: argparse.Namespace) -> int:
    """Plan, subtract what is done, run the rest, report."""
    if options.dry_run:
        return plan_sweep(options)
    ledger = _looked_at(options)
    sweep, chosen = _load(options, ledger)
    settings = _settings(options, sweep)
    options.address = None if options.serial else options.address
    console = Console()
    ledger.fetch([trial.id for trial in chosen], only=TO_GO_ON)
    if options.classes is None:
        missing = ledger.missing(chosen, retry_failed=options.retry_failed)
    else:
        missing = failures.of_classes(chosen, ledger, options.classes)
    if not options.address:  # a cluster has devices and disks of its own
        preflight.refuse_absent_devices(chosen, settings)
        preflight.refuse_absent_data(missing, settings.data)
    preflight.refuse_untold_data(missing, settings.data)
    preflight.refuse_unfit(missing)
    ledger = ledger.prepared()
    planned.record(sweep, ledger)
    warn_of_changed_code(chosen, ledger)
    try:
        say = partial(console.print, highlight=False, markup=False, soft_wrap=True)  # above a live table too
        with storage.waited_for(ledger.root, settings.storage_patience_minutes, say=say):
            return _run_missing(missing, sweep, chosen, ledger, settings, options, console)
    except StorageLost as error:
        print(f"\nStopped. {error}\nGo on with: {_command(options)}", flush=True)
        return STOPPED


def _run_missing(
    missing: list[TrialSpec],
    sweep: Sweep,
    chosen: list[TrialSpec],
    ledger: Ledger,
    settings: Settings,
    options: argparse.Namespace,
    console: Console,
) -> int:
    ran = bool(missing)
    while missing:
        skipped = sum(trial.skip is not None for trial in sweep.trials)
        console.print(
            f"{sweep.name}: {_trials(len(missing))} to run, {len(chosen) - len(missing)} done before"
            f"{f', {skipped} skipped' if skipped else ''}; results in {ledger.place}",
            highlight=False,
            soft_wrap=True,
        )
        here = None if options.address else estimating.slots_here(missing, settings)
        slots = 1 if options.serial else here or settings.trials_at_once
        try:
            with estimating.predicted(missing, sweep, ledger, settings, slots=slots):
                _run_trials(missing, sweep, ledger, settings, options, console)
        except KeyboardInterrupt:
            left = len(ledger.missing(chosen))
            print(
                f"\nStopped. {len(chosen) - left} of {_trials(len(chosen))} ended, "
                f"the others keep the checkpoints they have.\nGo on with: {_command(options)}",
                flush=True,
            )
            return INTERRUPTED
        known = {trial.id for trial in chosen}
        sweep = tuning.settled(sweep, ledger)
        chosen = _chosen(sweep, options)
        missing = [trial for trial in ledger.missing(chosen) if trial.id not in known]  # that tuning found settings for
    return _conclude(sweep, chosen, ledger, ran=ran, options=options)


def show_log(options: argparse.Namespace) -> int:
    """All that is known of one trial."""
    print("\n".join(failures.log(_looked_at(options), options.trial)))
    return DONE


def plan_sweep(options: argparse.Namespace) -> int:
    """One line a trial: what it is, its id, and what `run` would do with it; then what that will cost."""
    ledger = _looked_at(options)
    sweep, chosen = _load(options, ledger)
    settings = _settings(options, sweep)
    ledger.fetch([trial.id for trial in chosen], only=["done.json", "metrics.jsonl"])
    wanted = {trial.id for trial in spec.select(sweep.trials, options.only)}
    tried = ("draw", "tuned settings") if sweep.file.tuning else ()
    rows = [("trial", "method", "dataset", "budget", "seed", *tried, "epochs", "what run does")]
    shown = [trial for trial in sweep.trials if trial.id in wanted or trial.skip]
    verbs = {"planned": "run", "started": "go on", "done": "done", "failed": "failed before", "running": "running now"}
    counts: Counter[str] = Counter()
    to_run = []
    for trial in shown:
        what = f"skip: {trial.skip}" if trial.skip else f"wait: {trial.waits}" if trial.waits else ""
        what = what or verbs[_state(trial, ledger)]
        counts[what.split(":")[0]] += 1
        to_run += [trial] if what.split(":")[0] in ("run", "go on", "wait") else []
        drawn = ("" if trial.draw is None else str(trial.draw), tuning.in_words(trial.drawn)) if tried else ()
        labels = (trial.method.label, trial.dataset.label, trial.budget_label)
        rows.append(
            ("-" if trial.waits else trial.id, *labels, str(trial.seed), *drawn, str(trial.budget.epochs), what)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(f"{sweep.name} ({sweep.path})")
    for row in rows:  # not a rich table: of ten thousand trials that took five seconds
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    todo = ("run", "go on", "skip", "wait")
    print(", ".join(f"{count} to {what}" if what in todo else f"{count} {what}" for what, count in counts.items()))
    for line in preflight.absent_data(chosen, sweep.settings.data):
        print(line)
    untold = preflight.untold(chosen)
    if untold:
        print(f"The ids of trials on {', '.join(untold)} are provisional: they lack what the data's index files hold.")
    warn_of_changed_code(chosen, ledger)
    if options.calibrate:
        try:
            estimating.calibrate(to_run, sweep, ledger, settings, steps=options.steps)
        except KeyboardInterrupt:
            print("\nStopped. What is calibrated stays; the same command goes on from there.", flush=True)
            return INTERRUPTED
    for line in estimating.lines(to_run, sweep, ledger, settings, slots=options.slots):
        print(line)
    return DONE


def show_status(options: argparse.Namespace) -> int:
    """Counts by state, the failures by cause, the trials under way."""
    ledger = _looked_at(options)
    sweep, chosen = _load(options, ledger)
    states = {trial.id: _state(trial, ledger) for trial in chosen}
    ledger.fetch([one for one in states if states[one] == "failed"], only=["failed.json", "traceback.txt"])
    ledger.fetch([one for one in states if states[one] in ("started", "running")], only=["metrics.jsonl"])
    counts = Counter(states.values())
    finals = Counter(states[trial.id] for trial in chosen if trial.purpose == "final")
    finals["skipped"] = sum(trial.skip is not None for trial in sweep.trials)
    finals["waiting"] = _waiting(sweep, options)
    kinds = ("done", "running", "started", "planned", "failed")
    shown = ", ".join(f"{finals[s]} {s}" for s in (*kinds, "skipped", *(("waiting",) if sweep.file.tuning else ())))
    print(f"{sweep.name}: {shown}; results in {ledger.place}")
    if sweep.file.tuning:
        print(f"  tuning trials: {', '.join(f'{counts[s] - finals[s]} {s}' for s in kinds)}")
    for trial in chosen:
        if states[trial.id] in ("started", "running"):
            epochs = sum(s["split"] == "train" for s in ledger.scores(trial.id))
            print(f"  {states[trial.id]}  {trial.id}  {trial.title}: epoch {epochs} of {trial.budget.epochs}")
    print("\n".join(failures.lines(chosen, ledger)), end="\n" if counts["failed"] else "")
    is_done = counts["done"] == len(chosen) and not finals["waiting"]
    return FAILED if counts["failed"] else DONE if is_done else STOPPED


def sync_tracking(options: argparse.Namespace) -> int:
    """Send what MLflow lacks."""
    from . import tracking

    ledger = _looked_at(options)
    sweep = planned.load(options.sweep, ledger)
    ledger = ledger.prepared()
    ledger.fetch([trial.id for trial in sweep.runnable])
    sent = tracking.sync(sweep, sweep.runnable, ledger)
    ledger.publish(sweep.name, [trial.id for trial in sent])
    print(f"{_trials(len(sent))} sent to {tracking.tracking_uri(ledger)}")
    return DONE


def list_names(options: argparse.Namespace) -> int:
    """Names and first lines; a file that cannot be read is listed with the reason."""
    if options.what == "sweeps":
        paths = sorted(sweepfile.SWEEPS.glob("*.yaml"))
        width = max(len(path.stem) for path in paths)
        for path in paths:
            first = path.read_text(encoding="utf-8").split("\n")[0]
            print(f"{path.stem:{width}} {first.lstrip('# ')}")
        return DONE
    kind: lookup.Kind = "method" if options.what == "methods" else "dataset"
    for name in lookup.names(kind):
        try:
            declared = lookup.declaration(kind, name)
            settings = yaml.safe_dump(declared.resolve({}), default_flow_style=True, sort_keys=False, width=10**6)
            defaults = settings.strip().strip("{}")  # can be copied into a sweep file
            print(f"{name:24} {declared.summary}")
            print(f"{'':24} settings: {defaults or 'none'}")
        except (UsageError, ValueError, yaml.YAMLError) as error:
            print(f"{name:24} unavailable: {error}")
    return DONE


def _looked_at(options: argparse.Namespace) -> Ledger:
    """The ledger as it stands now, wherever its files are."""
    ledger = at(options.results)
    ledger.refresh()
    return ledger


def _load(options: argparse.Namespace, ledger: Ledger) -> tuple[Sweep, list[TrialSpec]]:
    """The sweep, and those of its trials that can run and were asked for."""
    sweep = planned.load(options.sweep, ledger)
    return sweep, _chosen(sweep, options)


def _chosen(sweep: Sweep, options: argparse.Namespace) -> list[TrialSpec]:
    chosen = {trial.id for trial in spec.select(sweep.trials, options.only) if trial.is_runnable}
    return [trial for trial in sweep.runnable if trial.id in chosen]


def _waiting(sweep: Sweep, options: argparse.Namespace) -> int:
    """How many of the trials that were asked for have no settings yet."""
    return sum(trial.waits is not None for trial in spec.select(sweep.trials, options.only))


def _settings(options: argparse.Namespace, sweep: Sweep) -> Settings:
    asked: dict[str, Any] = {
        key: getattr(options, key) for key in ("device", "precision", "compile", "workers", "trials_at_once")
    }
    for key in ("workers", "trials_at_once"):
        if asked[key] is not None and asked[key] < (1 if key == "trials_at_once" else 0):
            raise UsageError(f"--{key.replace('_', '-')} {asked[key]}: expected a positive number.")
    return sweep.settings.model_copy(update={key: value for key, value in asked.items() if value is not None})


def _run_trials(
    missing: list[TrialSpec],
    sweep: Sweep,
    ledger: Ledger,
    settings: Settings,
    options: argparse.Namespace,
    console: Console,
) -> None:
    from . import tracking
    from .execution import execute, git_commit, give_up
    from .progress import Progress

    commit = git_commit()
    left = sum(trial.budget.epochs for trial in missing) - sum(
        score["split"] == "train" for trial in missing for score in ledger.scores(trial.id)
    )
    progress = Progress(len(missing), left, already=len(sweep.runnable) - len(missing), console=console)
    with progress, tracking.following(sweep, missing, ledger, say=progress.say):
        if options.serial:
            for trial in missing:
                progress.started(trial)
                heard = partial(progress.scored, trial)
                outcome: str = "lost"
                while outcome == "lost" and not give_up(trial, ledger, "one of its processes was killed"):
                    outcome = execute(trial, ledger, settings, commit=commit, retry=options.retry_failed, listen=heard)
                progress.ended(trial, ledger)
                if outcome == "preempted":
                    raise KeyboardInterrupt
        else:
            from . import sweep as on_ray

            on_ray.launch(
                missing,
                ledger,
                settings,
                commit=commit,
                progress=progress,
                retry=options.retry_failed,
                address=options.address,
            )


def _conclude(
    sweep: Sweep,
    chosen: list[TrialSpec],
    ledger: Ledger,
    *,
    ran: bool,
    options: argparse.Namespace,
) -> int:
    """Say where the sweep stands, bring report and tracking up to date, choose the exit code."""
    if ran:
        ledger.refresh()
    states = Counter(ledger.state(trial.id) for trial in chosen)
    waiting = _waiting(sweep, options)
    left, total = states["planned"] + states["started"] + waiting, len(chosen) + waiting
    report = ledger.sweep_folder(sweep.name) / "report.html"
    if ran or not report.exists() or _report_is_older(report, sweep, ledger):
        report = _report(sweep, ledger)
        ran = True
    else:
        print(f"Nothing to do: {states['done']} of {_trials(total)} done{_failed(states['failed'], options)}.")
    _bring_tracking_up_to_date(sweep, ledger, again=ran)
    failures.write_csv(sweep.runnable, ledger, report.with_name("failures.csv"))
    ledger.publish(sweep.name, [trial.id for trial in sweep.runnable])
    print("\n".join(failures.lines(chosen, ledger)), end="\n" if states["failed"] else "")
    if left:
        print(f"{_trials(left)} not finished. Go on with: {_command(options)}")
    if ran:
        print(f"{states['done']} of {_trials(total)} done{_failed(states['failed'], options)}.")
    print(f"report: {report}")
    return STOPPED if left else FAILED if states["failed"] else DONE


def _failed(count: int, options: argparse.Namespace) -> str:
    return f", {count} failed (`{_command(options, 'retry')}` runs them again)" if count else ""


def _report_is_older(report: Path, sweep: Sweep, ledger: Ledger) -> bool:
    """Whether a trial ended, or the sweep file changed, after the report was written."""
    written = report.stat().st_mtime
    ends = [ledger.folder(trial.id) / name for trial in sweep.runnable for name in ("done.json", "failed.json")]
    return any(path.exists() and path.stat().st_mtime > written for path in [*ends, report.with_name("resolved.yaml")])


def _bring_tracking_up_to_date(sweep: Sweep, ledger: Ledger, *, again: bool) -> None:
    """Send what is owed, and after a new report that too; say what could not be sent."""
    from . import tracking

    if again or tracking.pending(sweep, sweep.runnable, ledger):
        try:
            tracking.sync(sweep, sweep.runnable, ledger)
        except TrackingError as error:
            owed = len(tracking.pending(sweep, sweep.runnable, ledger))
            command = shlex.join(["zoombench", "sync", sweepfile.short_name(sweep.path), "--results", ledger.place])
            print(f"tracking: {error}. {_trials(owed)} kept in the ledger; `{command}` sends them.")


def _report(sweep: Sweep, ledger: Ledger) -> Path:
    """Write table and page, beside the resolved sweep file that they belong to."""
    from ..reports import page
    from . import tracking

    planned.record(sweep, ledger)
    ledger.fetch([trial.id for trial in sweep.runnable])
    source = reporting.of_sweep(sweep, ledger, tracking.run_ids(sweep.runnable, ledger))
    folder = ledger.sweep_folder(sweep.name)
    return storage.patiently(folder, lambda: page.write(source.table, source.about, folder))


def warn_of_changed_code(trials: Sequence[TrialSpec], ledger: Ledger, *, stream: TextIO | None = None) -> None:
    """Say which finished trials were made by other code of their method or data set than today's."""
    for name, made in results.changed_since(trials, ledger).items():
        print(
            f"note: {_trials(len(made))} finished under an older {name}. If the edit changes its numbers, raise "
            "VERSION in that file: they then run again.",
            file=stream,
        )


def _trials(count: int) -> str:
    return f"{count} trial{'' if count == 1 else 's'}"


def _state(trial: TrialSpec, ledger: Ledger) -> str:
    """The ledger's state, with the trials that some living process is at set apart."""
    state = ledger.state(trial.id)
    return "running" if state != "done" and ledger.is_held(trial.id) else state


def _command(options: argparse.Namespace, verb: str = "run") -> str:
    """The words that continue what was asked, or that retry what failed."""
    words = ["zoombench", verb, *([options.sweep] if options.sweep else [])]
    if options.results != "results":
        words += ["--results", options.results]
    words += ["--serial"] if options.serial else []
    words += ["--address", options.address] if options.address else []
    for term in options.only:
        words += ["--only", term]
    return shlex.join(words)
