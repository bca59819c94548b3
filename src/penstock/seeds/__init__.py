"""Seeds: what a run starts from.

A seed is the variables of a record and how many records to make from them. JSONL, CSV and Parquet files are
read as a stream, so such a file may be larger than memory; JSON and Markdown files are loaded whole. What
comes from a pipe is copied to a temporary file first, so that it too can be read more than once. Parquet
files and uploads are read in processes of their own, whose memory is limited.
"""

from penstock.seeds.formats.detection import SeedFormat
from penstock.seeds.limits import MAX_DEPTH, MAX_REPETITIONS, MAX_UNPACKED_BYTES, MAX_UPLOAD_BYTES
from penstock.seeds.model import Seed, UnusableSeed, parse_seeds, split_seed
from penstock.seeds.opening import open_seeds
from penstock.seeds.source import SeedSource
from penstock.seeds.upload import UploadReader, parse_upload

__all__ = [
    "MAX_DEPTH",
    "MAX_REPETITIONS",
    "MAX_UNPACKED_BYTES",
    "MAX_UPLOAD_BYTES",
    "Seed",
    "SeedFormat",
    "SeedSource",
    "UnusableSeed",
    "UploadReader",
    "open_seeds",
    "parse_seeds",
    "parse_upload",
    "split_seed",
]
