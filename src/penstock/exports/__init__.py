"""Exports: records as files that people and training code read.

Everything streams: memory does not grow with the number of records. Where a file needs to know all columns
before its first row (CSV without a mapping, Parquet), the rows go through a temporary file first.

Values are written unchanged. This includes cells that begin with ``=``, ``+``, ``-`` or ``@``, although a
spreadsheet may read them as formulas: this is training data, and a changed character is a changed example.
Import the columns of such a CSV file as text.
"""

from penstock.exports.card import write_card
from penstock.exports.files import export, export_dataset, list_targets, open_export
from penstock.exports.formats import EXTENSIONS, FORMATS
from penstock.exports.rows import ExportReport, preview
from penstock.exports.text import iter_lines
from penstock.redaction import mask_secrets

__all__ = [
    "EXTENSIONS",
    "FORMATS",
    "ExportReport",
    "export",
    "export_dataset",
    "iter_lines",
    "list_targets",
    "mask_secrets",
    "open_export",
    "preview",
    "write_card",
]
