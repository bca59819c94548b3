"""Writing a running job's records, model calls and progress, in groups.

``group_commit`` decides what goes into which group and who waits for it, ``sinks`` writes a group in one
transaction, ``statements`` has the SQL.
"""

from penstock.storage.writer.group_commit import UPDATE_DELAY, Writer
from penstock.storage.writer.waiting import wait_until_settled

__all__ = ["UPDATE_DELAY", "Writer", "wait_until_settled"]
