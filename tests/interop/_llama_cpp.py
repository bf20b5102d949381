"""llama.cpp in a process of its own: text → ids, greedy continuations and log-probabilities, over its server on loopback.

Of its own, because a server that is let go now and then waits forever; a process can be killed.

    python tests/interop/_llama_cpp.py FILE CONTEXT        prints the server's address and serves until its input ends
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self


class LlamaCpp:
    """One model, for a `with`."""

    def __init__(self, file: Path, context: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(file), str(context)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        lines = (line.strip() for line in self._process.stdout)
        address = next((line for line in lines if line.startswith("http://")), None)
        if address is None:
            self._process.wait()
            raise RuntimeError(f"llama.cpp does not load {file}: {self._process.stderr.read()[-2000:]}")
        self._connection = http.client.HTTPConnection(address.removeprefix("http://"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.kill()
        self._process.communicate()

    def ids(self, text: str) -> list[int]:
        """Ids of a prompt."""
        return self._post("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]

    def greedy(self, text: str, count: int) -> list[int]:
        """The likeliest continuation; shorter where the model ends the text."""
        return self._complete(text, count)["tokens"]

    def likeliest(self, text: str, count: int) -> dict[int, float]:
        """Log-probabilities of the `count` likeliest next tokens."""
        found = self._complete(text, 1, n_probs=count)["completion_probabilities"][0]["top_logprobs"]
        return {token["id"]: token["logprob"] for token in found}

    def _complete(self, text: str, count: int, **settings: Any) -> Any:
        choice = {"temperature": 0, "n_predict": count, "return_tokens": True, "cache_prompt": False}
        return self._post("/completion", {"prompt": text, **choice, **settings})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = json.load(response)
        assert response.status == 200, answer
        return answer


def serve(file: str, context: int) -> None:
    """Keys and values are float32, so that what differs from ours is the file's own doing."""
    from xllamacpp import CommonParams, Server, ggml_type, llama_flash_attn_type

    params = CommonParams()
    params.model.path = file
    params.n_ctx, params.n_parallel, params.n_threads_http = context, 1, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = ggml_type.GGML_TYPE_F32
    params.flash_attn_type = llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.warmup = params.fit_params = params.ui = params.cache_prompt = False
    params.verbosity = -1
    server = Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
