"""The process that holds the embedded model: llama.cpp's OpenAI-compatible server on a free loopback port.

Run by path and without importing penstock, so that it is up in a second. The first line of its standard
input says what to serve; one line on its standard output says where, or why not. It then waits for its
standard input to end, which happens when the process that started it ends in any way, SIGKILL included.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, TextIO

os.environ["OMP_WAIT_POLICY"] = "passive"  # before OpenMP loads: spinning threads starve a busy machine
os.environ.setdefault("GGML_NO_BACKTRACE", "1")


def _serve(order: dict[str, Any]) -> Any:
    """Load the model and listen; the server lives as long as what is returned."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = order["model"]
    params.model_alias = {order["name"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [order["api_key"]]
    params.cors_origins = "null"
    params.n_parallel = order["slots"]
    params.n_ctx = order["slots"] * order["context"]
    params.kv_unified = False
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = order["threads"]
    params.cpuparams_batch.n_threads = order["threads"]
    params.n_threads_http = order["slots"] * 2
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
    os._exit(0)  # the server's threads are not Python's to join


def _claim_stdout() -> TextIO:
    """The real standard output for ourselves; whatever llama.cpp prints goes to standard error."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return ours


def main() -> None:
    """Serve until standard input ends."""
    order = json.loads(sys.stdin.buffer.readline() or b"{}")
    watcher = threading.Thread(target=_exit_with_parent, daemon=True)
    watcher.start()
    parent = _claim_stdout()
    server: Any = None
    try:
        server = _serve(order)
        answer = {"address": server.listening_address}
    except Exception as error:  # told to the parent, which knows what to say about it
        answer = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(answer), file=parent, flush=True)
    if server is not None:
        watcher.join()


if __name__ == "__main__":
    main()
