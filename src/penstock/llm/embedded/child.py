"""The process that holds the embedded model: llama.cpp's OpenAI-compatible server on a free loopback port.

Run by path and without importing penstock, so that it starts within a second. It reads its configuration as
one line of JSON from standard input, and writes its address or an error as one line of JSON to standard
output. It ends when its standard input does, which happens when its parent process ends, even by SIGKILL.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, TextIO

os.environ["OMP_WAIT_POLICY"] = (
    "passive"  # must be set before OpenMP loads: spinning threads slow down a busy machine
)
os.environ.setdefault("GGML_NO_BACKTRACE", "1")


def _serve(configuration: dict[str, Any]) -> Any:
    """Load the model and listen; the server lives as long as what is returned."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = configuration["model"]
    params.model_alias = {configuration["name"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [configuration["api_key"]]
    params.cors_origins = "null"
    params.n_parallel = configuration["slots"]
    params.n_ctx = configuration["slots"] * configuration["context"]
    params.kv_unified = False
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = configuration["threads"]
    params.cpuparams_batch.n_threads = configuration["threads"]
    params.n_threads_http = configuration["slots"] * 2
    params.cache_ram_mib = 0
    params.fit_params = False
    params.warmup = False
    params.ui = False
    params.endpoint_metrics = False
    params.endpoint_slots = False
    params.endpoint_props = False
    params.offline = True
    params.verbosity = 1
    return xllamacpp.Server(params)


def _exit_with_parent() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)  # the server's threads cannot be joined


def _claim_stdout() -> TextIO:
    """The standard output, for our answer alone; what llama.cpp prints goes to standard error from now on."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return output


def main() -> None:
    """Serve until standard input ends."""
    configuration = json.loads(sys.stdin.buffer.readline() or b"{}")
    watcher = threading.Thread(target=_exit_with_parent, daemon=True)
    watcher.start()
    parent = _claim_stdout()
    server: Any = None
    try:
        server = _serve(configuration)
        answer = {"address": server.listening_address}
    except Exception as error:  # reported to the parent, which explains it to the user
        answer = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(answer), file=parent, flush=True)
    if server is not None:
        watcher.join()


if __name__ == "__main__":
    main()
