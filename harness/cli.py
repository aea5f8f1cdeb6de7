"""zoombench on the command line: list, plan, run, retry, status, logs, profile, cluster-check, report, compare,
merge, sync, data.

Exit codes: 0 all trials done; 1 an error of ours; 2 a mistake in the command or the sweep file, nothing started;
3 finished, some trials failed; 4 stopped, `run` goes on; 130 Ctrl-C or SIGTERM, `run` goes on.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence

from .. import __version__
from . import cluster_check, commands, data, profiling, reporting
from .errors import UsageError, ZoombenchError

INTERNAL, USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's request to end is a Ctrl-C
    try:
        return int(options.command(options))
    except UsageError as error:
        print(f"zoombench: {error}", file=sys.stderr)
        return USAGE
    except ZoombenchError as error:
        print(f"zoombench: {type(error).__name__}: {error}", file=sys.stderr)
        return INTERNAL
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output has gone
        return INTERNAL


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="zoombench", description="Benchmark networks that learn where to look.")
    parser.add_argument("--version", action="version", version=f"zoombench {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: object, help: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=help, description=help)
        sub.set_defaults(command=command)
        return sub

    def add_results(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--results",
            default=os.environ.get("ZOOMBENCH_RESULTS", "results"),
            metavar="PLACE",
            help="results folder, or URL on an object store such as s3://bucket/folder (default: $ZOOMBENCH_RESULTS or "
            "./results)",
        )

    def add_sweep(sub: argparse.ArgumentParser, *, only: bool = True) -> None:
        sub.add_argument("sweep", nargs="?", help="sweep file, or the name of one of ours (default: quickstart)")
        add_results(sub)
        if only:
            sub.add_argument(
                "--only",
                action="append",
                default=[],
                metavar="KEY=LABEL",
                help="only these trials: method=, dataset=, budget=, seed= or purpose= (tuning, final); may be "
                "repeated, labels joined by commas",
            )

    def add_address(sub: argparse.ArgumentParser) -> None:
        named = os.environ.get("RAY_ADDRESS", "")
        sub.add_argument(
            "--address",
            default=None if named.startswith("http") else named or None,  # a job server's address is not a cluster's
            type=lambda text: None if text == "local" else text,
            metavar="RAY",
            help="a running Ray cluster, such as auto; local: a Ray of our own (default: $RAY_ADDRESS or local)",
        )

    def add_ways_to_run(sub: argparse.ArgumentParser) -> None:
        add_sweep(sub)
        sub.add_argument("--serial", action="store_true", help="one trial after another in this process, without Ray")
        add_address(sub)
        sub.add_argument("-n", "--dry-run", action="store_true", help="show what would run, and stop")
        sub.add_argument("--device", choices=("auto", "cpu", "cuda"), help="overrides settings.device")
        sub.add_argument("--precision", choices=("float32", "bf16", "fp16"), help="overrides settings.precision")
        sub.add_argument("--compile", action="store_true", default=None, help="overrides settings.compile")
        sub.add_argument("--workers", type=int, metavar="N", help="overrides settings.workers")
        sub.add_argument("--trials-at-once", type=int, metavar="N", help="overrides settings.trials_at_once")
        sub.set_defaults(slots=None, calibrate=False)  # of a dry run

    run = add("run", commands.run_sweep, "run the trials of a sweep that are not done, then write its report")
    add_ways_to_run(run)
    run.add_argument("--retry-failed", action="store_true", help="run failed trials again too, from their checkpoints")
    run.set_defaults(classes=None)
    retry = add("retry", commands.run_sweep, "run the failed trials of a sweep again, from their checkpoints")
    add_ways_to_run(retry)
    retry.set_defaults(retry_failed=True)
    retry.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="NAME",
        help="only those that failed of this error class, such as oom, nan, lost or DataError; may be repeated",
    )

    plan = add("plan", commands.plan_sweep, "show the trials of a sweep, which would run, and what that will cost")
    add_sweep(plan)
    plan.add_argument(
        "--slots", type=_count, metavar="N", help="trials that run together (default: as many as this machine can)"
    )
    plan.add_argument(
        "--calibrate", action="store_true", help="where nothing is known of a configuration, train some steps of it"
    )
    plan.add_argument("--steps", type=_count, default=100, metavar="N", help="steps of a calibration (default: 100)")
    plan.set_defaults(device=None, precision=None, compile=None, workers=None, trials_at_once=None)
    add_sweep(add("status", commands.show_status, "count the trials of a sweep by state, and say why some failed"))

    profile = add("profile", profiling.profile_sweep, "measure each method alone: latency, throughput, memory, energy")
    add_sweep(profile)
    profile.add_argument("--device", choices=("auto", "cpu", "cuda"), help="overrides settings.device")
    profile.add_argument(
        "--processes", type=_count, default=5, metavar="N", help="fresh processes of each, 3 or more (default: 5)"
    )
    profile.add_argument(
        "--calls",
        type=_count,
        default=200,
        metavar="N",
        help="timed calls of each kind in a process, at most (default: 200; a 99th percentile needs 368 in all)",
    )
    profile.add_argument(
        "--seconds", type=float, default=5.0, metavar="S", help="time for each kind of call in a process (default: 5)"
    )
    profile.add_argument("--again", action="store_true", help="measure anew what has been measured here")

    cluster = add("cluster-check", cluster_check.check_cluster, "say what each node of a Ray cluster has or lacks")
    cluster.add_argument("sweep", nargs="?", help="sweep file whose data are looked for on each node (default: none)")
    add_address(cluster)
    add_results(cluster)

    logs = add("logs", commands.show_log, "tell all that is known of one trial: events, scores, traceback")
    logs.add_argument("trial", metavar="TRIAL", help="the trial's id, or how it starts")
    add_results(logs)

    def add_sources(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "sources",
            nargs="*",
            metavar="SWEEP_OR_TABLE",
            help="sweep files or names; or tables of anyone's results, .csv or .parquet, with columns method, dataset, "
            "seed, metric, value, higher_is_better and more (reports/reading.py); several are joined "
            "(default: quickstart)",
        )
        add_results(sub)
        sub.add_argument("--metric", metavar="NAME", help="this metric only (default: every one)")
        sub.add_argument(
            "--margin",
            action="append",
            default=[],
            metavar="METRIC=NUMBER",
            help="a difference that does not matter, in the metric's unit, such as accuracy=0.01; may be repeated",
        )
        sub.add_argument(
            "--unpaired",
            action="store_true",
            help="the same seed of two methods shares nothing: compare means by Welch's t (default: seeds are pairs)",
        )
        sub.add_argument(
            "--alpha",
            type=float,
            help="error that all claims together may make; intervals are at 1 - alpha (default: 0.05)",
        )

    report = add("report", reporting.write_report, "write the report of sweeps or of anyone's table from what is there")
    add_sources(report)
    report.add_argument(
        "--reference", metavar="METHOD", help="what the others are compared with (default: the sweep's)"
    )
    report.add_argument(
        "--format",
        choices=("html", "tex", "csv", "md", "pdf", "png", "svg"),
        default="html",
        help="a page with its table; or LaTeX (booktabs), CSV or Markdown to standard output; or figures for a paper, "
        "files of pdf, png or svg with their captions in figures.tex (default: html)",
    )
    report.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="folder of the page or of the figures, or file of another format (default: the sweep's folder, else "
        "./report; figures in figures/ there)",
    )
    report.add_argument(
        "--all-pictures",
        action="store_true",
        help="show also pictures of data whose terms forbid to pass them on; the page then goes to ./report",
    )
    compare = add("compare", reporting.compare_methods, "compare two methods of a sweep or of a table, seed by seed")
    compare.add_argument("methods", nargs=2, metavar="METHOD", help="the first is compared with the second")
    add_sources(compare)
    compare.set_defaults(all_pictures=False)
    merge = add("merge", reporting.merge_tables, "join results tables; a trial that is in two of them is compared")
    merge.add_argument("tables", nargs="+", metavar="TABLE", help="results.parquet, results.csv, or a folder of one")
    merge.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where the joined table is written")
    add_sweep(add("sync", commands.sync_tracking, "send MLflow what it has not received"), only=False)
    sets = add("data", None, "data sets: what they are, their terms, what is wrong with a copy, a cache of it")
    of_data = sets.add_subparsers(required=True, metavar="COMMAND")

    def add_data(name: str, command: object, help: str, *, named: bool = True) -> argparse.ArgumentParser:
        sub = of_data.add_parser(name, help=help, description=help)
        sub.set_defaults(command=command, set=[])
        if named:
            sub.add_argument("name", metavar="NAME", help="a data set, as `zoombench data list` shows them")
            sub.add_argument("--set", action="append", metavar="KEY=VALUE", help="a setting of it; may be repeated")
        sub.add_argument("--root", metavar="FOLDER", help="folder of data sets (default: $ZOOMBENCH_DATA)")
        return sub

    add_data("list", data.list_sets, "list data sets: task, access, whether they are there", named=False)
    add_data("info", data.show_info, "show what a data set is, its terms, where to get it and what is expected on disk")
    check = add_data("check", data.check_set, "check a copy of a data set; exit code 1 and a table if it is wrong")
    check.add_argument(
        "--decode",
        nargs="?",
        type=_count,
        const=sys.maxsize,
        metavar="N",
        help="decode every picture, or N of them (default: read lengths and headers only)",
    )
    check.add_argument("--csv", metavar="FILE", help="write everything that is wrong into this file")
    cache = add_data("cache", data.make_cache, "decode every picture of a data set once; it is then read from there")
    cache.add_argument(
        "--limit-gib", type=float, default=20.0, metavar="N", help="refuse a larger cache (default: 20 GiB)"
    )
    cache.add_argument("--workers", type=_count, default=1, metavar="N", help="processes that decode (default: 1)")
    listing = add("list", commands.list_names, "list methods, datasets or the sweeps that ship with zoombench")
    listing.add_argument("what", choices=("methods", "datasets", "sweeps"))
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text}, expected a whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
