"""Every error that zoombench raises on purpose.

ZoombenchError
├── UsageError             the command or the sweep file is wrong: nothing has started, exit 2
│   ├── SweepFileError     a key, value or type in the sweep file; carries file and line
│   ├── UnknownName        no such method, dataset or trial; says what was probably meant
│   └── ResultsError       the results folder cannot be written or holds something unreadable
├── TrialError             ends one trial, never the sweep; becomes a row of the table
│   ├── NonFiniteLoss      the loss became nan or infinite: an outcome of the method
│   ├── DataError          a dataset or a file of it is not there, or not as its reader expects
│   │   └── BadFile        one picture cannot be read
│   ├── CheckpointError    a checkpoint does not fit the trial or cannot be read
│   ├── TimedOut           the trial took longer than the sweep allows
│   └── WorkerLost         the trial's process died without a word (killed, out of memory, node gone)
├── Preempted              the trial was asked to end, wrote a checkpoint and goes on later; not a failure
├── TrialBusy              another living process holds the trial's lock; not a failure
├── StorageLost            the results folder was away for longer than it is waited for; not a failure
│   └── DiskFull           there is no room left in it
├── WeightsError           weights to start from are not there, or do not fit their network
├── TrackingError          MLflow did not answer; the ledger keeps what it should have received
├── ShapeError             a tensor that does not fit
└── TableError             a results table that does not keep its own rules
"""


class ZoombenchError(Exception):
    """The root: catch this to catch everything that zoombench raises on purpose."""


class UsageError(ZoombenchError):
    """The command or the sweep file is wrong; nothing has started."""


class SweepFileError(UsageError):
    """A mistake in a sweep file, with file and line."""


class UnknownName(UsageError):
    """A name that is no method, dataset or trial."""


class ResultsError(UsageError):
    """The results folder cannot be used as it is."""


class TrialError(ZoombenchError):
    """Ends one trial and becomes its row in the table."""


class NonFiniteLoss(TrialError):
    """The loss became nan or infinite."""


class DataError(TrialError):
    """A dataset or a file of it is not there, or not as its reader expects."""


class BadFile(DataError):
    """One picture that cannot be read; `data.on_bad_file: skip` goes on without it."""


class CheckpointError(TrialError):
    """A checkpoint does not fit the trial or cannot be read."""


class WorkerLost(TrialError):
    """The process that ran the trial died without a word."""


class TimedOut(TrialError):
    """The trial took longer than the sweep allows."""


class Preempted(ZoombenchError):
    """The trial was asked to end, and wrote a checkpoint that it goes on from."""


class TrialBusy(ZoombenchError):
    """Another living process holds the trial."""


class StorageLost(ZoombenchError):
    """The results folder was away for longer than it is waited for."""


class DiskFull(StorageLost):
    """The results folder has had no room left for that long."""


class WeightsError(ZoombenchError):
    """Weights to start from are not there, or do not fit the network that they were named for."""


class TrackingError(ZoombenchError):
    """MLflow did not answer."""


class ShapeError(ZoombenchError):
    """A tensor or an image that does not fit what reads it."""


class TableError(ZoombenchError):
    """A results table that does not keep its own rules."""
