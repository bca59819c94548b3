"""Records: saved, found by filters, read page by page or as a stream, reviewed with a way back."""

from penstock.storage.filters import FieldFilter, Order, RecordFilter
from penstock.storage.records.changes import delete_matching, delete_records, save_record
from penstock.storage.records.identities import (
    RecordsState,
    RecordVersion,
    find_state,
    list_by_identities,
    list_by_ids,
    list_identities,
    list_versions,
)
from penstock.storage.records.reading import (
    Cause,
    Page,
    Position,
    count_matching,
    count_statuses,
    get_record,
    list_causes,
    list_page,
)
from penstock.storage.records.review import list_history, set_status, undo_edit, update_record
from penstock.storage.records.rows import find_cause
from penstock.storage.records.streaming import stream_records

__all__ = [
    "Cause",
    "FieldFilter",
    "Order",
    "Page",
    "Position",
    "RecordFilter",
    "RecordVersion",
    "RecordsState",
    "count_matching",
    "count_statuses",
    "delete_matching",
    "delete_records",
    "find_cause",
    "find_state",
    "get_record",
    "list_by_identities",
    "list_by_ids",
    "list_causes",
    "list_history",
    "list_identities",
    "list_page",
    "list_versions",
    "save_record",
    "set_status",
    "stream_records",
    "undo_edit",
    "update_record",
]
