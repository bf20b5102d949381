"""A checkpoint as lm-eval sees a model: log-likelihoods of continuations, of whole texts, and greedy or sampled answers.

B rows, T inputs of a row, V vocabulary. A prompt opens with the token that opens every document in training, as prompts do
in `mythos generate`; so an empty context needs no case of its own. Importing this needs lm-eval.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from torch import Tensor

from mythos.contract.errors import DataError
from mythos.evals.bits import batches
from mythos.infer.engine import generate_ids
from mythos.infer.exits import make_exit
from mythos.infer.sampling import Sampling

if TYPE_CHECKING:
    from mythos.checkpoint import Checkpoint

Ids = Sequence[int]
MOST_NEW_TOKENS = 256
"""Length of an answer where the task names none, as in lm-eval."""


class HarnessModel(LM):
    """Requests in, answers out, in the same order. `progress` gets (requests scored, requests in all).

    `window` is the most inputs of a forward pass: longer contexts lose their beginning.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        window: int,
        loops: int | None,
        exit: str,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        super().__init__()
        self.checkpoint, self.tokenizer, self.model = checkpoint, checkpoint.tokenizer, checkpoint.model
        self.window, self.loops, self.rule = window, loops, make_exit(exit, checkpoint.config.model)
        self.vocab = min(self.tokenizer.vocab_size, checkpoint.config.model.vocab_size)
        self.progress = progress
        self.loops_run = self.tokens_run = 0

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Of each (context, continuation): log p(continuation | context), and whether every token of it is the likeliest."""
        return self.score(self.encode_pairs([request.args for request in requests]))

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """log p(text | opening token); a long text in windows that score every token once, the last one a full window."""
        pairs, owners = [], []
        for owner, request in enumerate(requests):
            ids = self.tokenizer.encode(request.args[0])
            for window in get_rolling_token_windows(ids, self.tokenizer.start, self.window, context_len=1):
                pairs.append(make_disjoint_window(window))
                owners.append(owner)
        totals = [0.0] * len(requests)
        for owner, (log_probability, _) in zip(owners, self.score(pairs), strict=True):
            totals[owner] += log_probability
        return totals

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """The model's continuation of each (context, settings), up to a stop text, the end of the text or `max_gen_toks`."""
        answers = []
        for request in requests:
            answers.append(self.answer(*request.args))
            self.progress(len(answers), len(requests))
        return answers

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[Ids, Ids]]:
        """Ids of contexts and continuations, encoded together and cut where the context's own tokens end.

        Spaces that end a context belong to the continuation, because tokens begin with them. Where the two melt into one
        token the continuation is encoded by itself.
        """
        stripped = [context.rstrip() for context, _ in pairs]
        after = [context[len(kept) :] + text for (context, text), kept in zip(pairs, stripped, strict=True)]
        befores = self.tokenizer.encode_batch(stripped)
        wholes = self.tokenizer.encode_batch([context + text for context, text in pairs])
        found: list[tuple[Ids, Ids]] = []
        for text, before, whole in zip(after, befores, wholes, strict=True):
            found.append(([self.tokenizer.start, *before], whole[len(before) :] or self.tokenizer.encode(text)))
        return found

    def score(self, pairs: Sequence[tuple[Ids, Ids]]) -> list[tuple[float, bool]]:
        """(log p(continuation | context), whether greedy) of token ids; a context may lose its beginning.

        Pairs that differ in their last token alone, as the answers to a multiple choice often do, share a row.
        """
        results = [(0.0, True)] * len(pairs)
        sharing: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, (context, continuation) in enumerate(pairs):
            check_fits(continuation, self.window)
            if continuation:  # an empty one is certain
                sharing[(*context, *continuation)[-self.window - 1 : -1]].append(number)
        done = 0
        for batch in batches(sharing, self.model.config.vocab_size, len):
            log_probs = self.log_probs(batch)
            for row, inputs in zip(log_probs, batch, strict=True):
                for number in sharing[inputs]:
                    continuation = pairs[number][1]
                    results[number] = self.judge(row[len(inputs) - len(continuation) : len(inputs)], continuation)
                done += len(sharing[inputs])
            self.progress(done, len(pairs))
        return results

    def judge(self, log_probs: Tensor, continuation: Ids) -> tuple[float, bool]:
        """log_probs [T, V] of what follows each input, of which the last ones predict the T tokens of the continuation."""
        wanted = torch.tensor(continuation, dtype=torch.int64, device=log_probs.device)
        total = log_probs.gather(-1, wanted.unsqueeze(-1)).double().sum()
        return float(total), bool((log_probs[:, : self.vocab].argmax(-1) == wanted).all())

    @torch.inference_mode()
    def log_probs(self, rows: Sequence[Ids]) -> Tensor:
        """Log-probabilities float32 [B, T, V] of what follows each token of the rows, padded at the end, where none looks."""
        device = next(self.model.parameters()).device
        inputs = torch.zeros((len(rows), max(map(len, rows))), dtype=torch.int64, device=device)
        for number, row in enumerate(rows):
            inputs[number, : len(row)] = torch.tensor(row)
        output = self.model(inputs, self.loops, exit=self.rule)
        for row, loops in zip(rows, output.telemetry.loops, strict=True):
            self.loops_run += int(loops[: len(row)].sum())
            self.tokens_run += len(row)
        return output.logits.float().log_softmax(-1)

    @property
    def mean_loops(self) -> float:
        """Loops per token that was read with a request, or generated for one; NaN before the first."""
        return self.loops_run / self.tokens_run if self.tokens_run else float("nan")

    def answer(self, context: str, settings: dict[str, Any]) -> str:
        """What follows the context until a text of `settings["until"]`, which is left out.

        Where both do not fit, the context loses its beginning, but not more than half of the window.
        """
        most = int(settings.get("max_gen_toks", MOST_NEW_TOKENS))
        ids = self.tokenizer.encode(context)
        ids = [self.tokenizer.start, *ids][-(self.window - min(most, self.window // 2)) :]
        stops = settings.get("until") or []
        stops = [stop for stop in ([stops] if isinstance(stops, str) else stops) if stop]
        sampling, end = self.sampling(settings), {self.tokenizer.eot}
        decoder, text = self.tokenizer.stream(), ""
        for step in generate_ids(
            self.model, ids, min(most, self.window - len(ids)), sampling, self.loops, self.rule, end
        ):
            text += decoder.push(step.id)
            self.loops_run, self.tokens_run = self.loops_run + step.loops, self.tokens_run + 1
            if any(stop in text for stop in stops):
                break
        return min((text.partition(stop)[0] for stop in stops), key=len, default=text)

    def sampling(self, settings: dict[str, Any]) -> Sampling:
        """Greedy unless the task gives a temperature and does not forbid samples."""
        temperature = 0.0 if settings.get("do_sample") is False else float(settings.get("temperature") or 0.0)
        top_k, top_p = int(settings.get("top_k") or 0), float(settings.get("top_p") or 1.0)
        return Sampling(temperature, top_k, top_p, vocab=self.vocab)


def check_fits(continuation: Ids, window: int) -> None:
    """Raises DataError for a continuation of which only a part could be scored."""
    if len(continuation) > window:
        raise DataError(
            f"A task asks for the probability of {len(continuation)} tokens; a window has {window}.",
            "Use a model with a longer context, or another task.",
        )
