"""Methods say `task: Task`; the run-time check of signatures can test a protocol only if it is marked so."""

from typing import runtime_checkable

from zoombench.harness.tasks import Task

runtime_checkable(Task)
