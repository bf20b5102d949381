"""The recurrent family against the same model written plainly (`_plain.py`): routing, training step, decoding, memory.

    python benchmarks/recurrent.py [--only moe,step,decode,memory] [--quick] [--profile] [--json FILE]

Every ratio compares medians of one run in which both take turns, so that a busy machine is busy for both. Both hold the
same weights, and their outputs are compared before anything is timed. No token halts early unless a line says so.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mythos.memory import keep_freed_memory
from mythos.threads import share_cores

share_cores()
keep_freed_memory()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _plain import MixtureOfExperts, PlainModel  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402

from mythos.contract.budget import flops_training, parameters  # noqa: E402
from mythos.contract.config import Config, ObjectiveConfig, RecurrentConfig, TrainConfig  # noqa: E402
from mythos.models.build import build_model, compile_for_training  # noqa: E402
from mythos.models.cache import Cache  # noqa: E402
from mythos.models.halting import Replay  # noqa: E402
from mythos.models.moe import MoE  # noqa: E402
from mythos.models.recurrent import RecurrentModel  # noqa: E402
from mythos.train.device import Device, matmul_peak  # noqa: E402
from mythos.train.objectives import compute_loss, cross_entropy  # noqa: E402
from mythos.train.optim import Optimizer  # noqa: E402
from mythos.train.schedule import Plan  # noqa: E402

Work = Callable[[], Any]

ROUTED = RecurrentConfig(
    width=256, n_experts=64, experts_per_token=4, expert_width=64, n_shared_experts=0, n_heads=4, n_kv_heads=4
)
ROUTED_TOKENS = 512
LOOPS = 8
STEP = Config(
    model=RecurrentConfig(
        vocab_size=8192,
        width=384,
        context=256,
        n_heads=6,
        n_kv_heads=2,
        ffn_width=1024,
        prelude_layers=2,
        coda_layers=2,
        loops=LOOPS,
        max_loops=LOOPS,
        n_experts=16,
        experts_per_token=4,
        expert_width=192,
        n_shared_experts=1,
    ),
    train=TrainConfig(batch_size=8, sequence=256, optimizer="adamw"),
    objective=ObjectiveConfig(loop_sampling="fixed", supervised_depths=1, router_z_loss=0.0, router_bias_rate=0.0),
)
DECODE = RecurrentConfig(
    vocab_size=1000,
    width=256,
    context=256,
    n_heads=8,
    n_kv_heads=2,
    ffn_width=384,
    loops=16,
    max_loops=16,
    n_experts=8,
    experts_per_token=2,
    expert_width=64,
    n_shared_experts=1,
)
PROMPT, GENERATED = 64, 32
DEPTHS = (1, 2, 4, 8, 16)
MEMORY_LOOPS = (4, 8, 16, 32)


def take_turns(cases: dict[str, Work], repeats: int) -> dict[str, float]:
    """Median seconds of each case. Each runs once to warm up; a case that returns seconds is believed."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(repeats + 1):
        for name, work in cases.items():
            start = time.perf_counter()
            own = work()
            if turn:
                seconds[name].append(own if isinstance(own, float) else time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def line(case: str, ours: float, plain: float, target: float) -> dict[str, Any]:
    """A row of the table: seconds of ours and of the plain model, and how many times as fast we should be."""
    return {"case": case, "ours_s": ours, "plain_s": plain, "ratio": plain / ours, "target": target}


def must_agree(ours: torch.Tensor, plain: torch.Tensor) -> None:
    """A benchmark of two different functions would mean nothing."""
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-3)


# Mixture of experts ---------------------------------------------------------------------------------------------------


def measure_moe(repeats: int) -> dict[str, Any]:
    """One routed layer, without shared experts, in float32."""
    torch.manual_seed(0)
    ours = MoE(ROUTED)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.05)
    plain = MixtureOfExperts(ROUTED)
    with torch.no_grad():
        plain.load_from(ours)
    x = torch.randn(1, ROUTED_TOKENS, ROUTED.width)
    upstream = torch.randn_like(x)

    def forward(layer: Work) -> Work:
        def work() -> None:
            with torch.no_grad():
                layer(x)

        return work

    def both_ways(layer: Any, call: Work) -> Work:
        def work() -> None:
            given = x.clone().requires_grad_()
            call(given).backward(upstream)
            for parameter in layer.parameters():
                parameter.grad = None

        return work

    def routed(given: torch.Tensor) -> torch.Tensor:
        return ours(given)[0]

    must_agree(routed(x), plain(x))
    first = take_turns({"ours": forward(routed), "plain": forward(plain)}, 3 * repeats)
    second = take_turns({"ours": both_ways(ours, routed), "plain": both_ways(plain, plain)}, 3 * repeats)
    return {
        "lines": [
            line("MoE forward", first["ours"], first["plain"], 4),
            line("MoE forward + backward", second["ours"], second["plain"], 12),
        ]
    }


# Training step --------------------------------------------------------------------------------------------------------


class Training:
    """Our model, its optimizer and one batch of random tokens: a step is a call."""

    def __init__(self, device: Device, model: RecurrentModel) -> None:
        self.device, self.model = device, model.train()
        self.optimizer = Optimizer(model, STEP.train, dtype=device.update_dtype)
        self.inputs, self.targets = random_batch()
        self.plan = Plan(LOOPS, (LOOPS,), LOOPS)

    def __call__(self) -> None:
        with self.device.autocast():
            loss = compute_loss(self.model, self.inputs, self.targets, STEP, self.plan, step=0)
        loss.total.backward()
        self.optimizer.step()


class PlainTraining:
    """The same of the plain model, in float32."""

    def __init__(self, model: PlainModel) -> None:
        self.model = model.train()
        self.optimizer = Optimizer(model, STEP.train)
        self.inputs, self.targets = random_batch()

    def __call__(self) -> None:
        cross_entropy(self.model(self.inputs, LOOPS), self.targets).backward()
        self.optimizer.step()


def random_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and next tokens, [B, T] each; the same at every call."""
    generator = torch.Generator().manual_seed(0)
    size = (STEP.train.batch_size, STEP.train.sequence + 1)
    ids = torch.randint(0, STEP.model.vocab_size, size, generator=generator)
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def fresh(config: RecurrentConfig) -> RecurrentModel:
    """A model with the same initial weights at every call."""
    torch.manual_seed(0)
    model = build_model(config)
    assert isinstance(model, RecurrentModel)
    return model


def measure_step(repeats: int, threads: int, compiled: bool) -> dict[str, Any]:
    """Forward, loss, backward and update at 8 loops: bf16 autocast against float32."""
    assert isinstance(STEP.model, RecurrentConfig)
    device = Device("cpu", "bf16", threads, matmul_peak("cpu", torch.bfloat16, seconds=1.0))
    model = fresh(STEP.model)
    plain = PlainModel(STEP.model).load_from(model)
    ids = random_batch()[0][:1]
    with torch.no_grad():
        must_agree(model(ids).logits, plain(ids, LOOPS))
    cases: dict[str, Work] = {"eager": Training(device, model), "plain": PlainTraining(plain)}
    found: dict[str, Any] = {"parameters": parameters(STEP.model).total}
    if compiled:
        cases["compiled"] = Training(device, fresh(STEP.model))
        compile_for_training(cases["compiled"].model)
        start = time.perf_counter()
        cases["compiled"]()
        found["compile_s"] = time.perf_counter() - start
    seconds = take_turns(cases, repeats)
    if "compiled" in seconds:
        found["compile_s"] -= seconds["compiled"]
    peak = max(device.peak_flops, matmul_peak("cpu", torch.bfloat16, seconds=1.0))
    flops = flops_training(STEP, LOOPS, 1) * ids.shape[1] * STEP.train.batch_size
    targets = {"eager": 2.5, "compiled": 3.5}
    return {
        **found,
        "lines": [
            line(f"training step, {name}", seconds[name], seconds["plain"], target)
            for name, target in targets.items()
            if name in seconds
        ],
        "flops_per_step": flops,
        "matmul_peak_bf16": peak,
        "share_of_peak": {name: flops / value / peak for name, value in seconds.items()},
    }


# Decoding -------------------------------------------------------------------------------------------------------------


def measure_decode(repeats: int) -> dict[str, Any]:
    """One token at a time after a prompt: at all 16 loops, and where every token stops earlier."""
    model = fresh(DECODE).eval()
    plain = PlainModel(DECODE).load_from(model).eval()
    ids = torch.randint(0, DECODE.vocab_size, (1, PROMPT + GENERATED), generator=torch.Generator().manual_seed(0))
    checked = []

    @torch.inference_mode()
    def ours(depth: int | None = None) -> float:
        """Median seconds of a token that stops after `depth` loops (None: runs them all)."""
        cache, seconds = Cache(), []
        model(ids[:, :PROMPT], DECODE.loops, cache=cache)
        rule = Replay(torch.full((1, 1), depth)) if depth is not None else None
        for at in range(PROMPT, PROMPT + GENERATED):
            start = time.perf_counter()
            logits = model(ids[:, at : at + 1], DECODE.loops, cache=cache, exit=rule).logits
            seconds.append(time.perf_counter() - start)
        checked[:] = [logits] if depth is None else checked
        return statistics.median(seconds)

    @torch.inference_mode()
    def theirs(threads: int | None = None) -> float:
        """The same of the plain model, on so many threads."""
        usual, cache = torch.get_num_threads(), {}
        torch.set_num_threads(threads or usual)
        plain(ids[:, :PROMPT], DECODE.loops, cache)
        seconds = []
        for at in range(PROMPT, PROMPT + GENERATED):
            start = time.perf_counter()
            logits = plain(ids[:, at : at + 1], DECODE.loops, cache, at)
            seconds.append(time.perf_counter() - start)
        torch.set_num_threads(usual)
        must_agree(checked[0], logits)
        return statistics.median(seconds)

    found = take_turns({"ours": ours, "plain": theirs, "one thread": lambda: theirs(1)}, repeats)
    halted = take_turns({str(depth): (lambda depth=depth: ours(depth)) for depth in DEPTHS}, repeats)
    milliseconds = [1000 * halted[str(depth)] for depth in DEPTHS]
    slope, intercept = np.polyfit(DEPTHS, milliseconds, 1)
    left = np.array(milliseconds) - (slope * np.array(DEPTHS) + intercept)
    return {
        "parameters": parameters(DECODE).total,
        "lines": [line("decode, 16 loops, per token", found["ours"], found["plain"], 3)],
        "plain_on_one_thread_s": found["one thread"],
        "ratio_on_one_thread": found["one thread"] / found["ours"],
        "ms_at_loops": dict(zip(DEPTHS, milliseconds, strict=True)),
        "ms_per_loop": float(slope),
        "ms_at_zero": float(intercept),
        "r_squared": float(1 - (left**2).sum() / np.var(milliseconds) / len(DEPTHS)),
    }


# Memory ---------------------------------------------------------------------------------------------------------------


def measure_memory() -> dict[str, Any]:
    """Bytes of tensors that a step takes beyond weights and optimizer, with and without recomputing the loops."""
    assert isinstance(STEP.model, RecurrentConfig)
    model = fresh(STEP.model).train()
    found: dict[str, Any] = {"keep": {}, "recompute": {}}
    for loops in MEMORY_LOOPS:
        for name, checkpoint in (("keep", False), ("recompute", True)):
            found[name][loops] = {
                "held": _held_bytes(model, loops, checkpoint),
                "peak": _peak_bytes(model, loops, checkpoint),
            }
    return found


def _loss(model: RecurrentModel, loops: int, checkpoint: bool) -> torch.Tensor:
    inputs, targets = random_batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (logits,), _ = model.unroll(inputs, loops, checkpoint=checkpoint)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def _held_bytes(model: RecurrentModel, loops: int, checkpoint: bool) -> int:
    """Distinct storages that autograd holds between forward and backward, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes: dict[int, int] = {}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)  # so that no address is used twice
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _loss(model, loops, checkpoint)
    return sum(size for address, size in sizes.items() if address not in weights)


def _peak_bytes(model: RecurrentModel, loops: int, checkpoint: bool) -> int:
    """Most bytes of tensors alive at once during forward and backward, gradients included, beyond those before."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        _loss(model, loops, checkpoint).backward()
    for parameter in model.parameters():
        parameter.grad = None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return int(np.cumsum([event.nbytes() for event in events]).max())


# Where the time goes --------------------------------------------------------------------------------------------------


def profile_parts(threads: int) -> None:
    """The operators with the most self time: of our training step, and of 16 decoded tokens."""
    assert isinstance(STEP.model, RecurrentConfig)
    step = Training(Device("cpu", "bf16", threads, 1.0), fresh(STEP.model))
    model, cache = fresh(DECODE).eval(), Cache()
    ids = torch.randint(0, DECODE.vocab_size, (1, PROMPT + 32))

    @torch.inference_mode()
    def decode() -> None:
        at = cache.length or PROMPT
        if not cache.length:
            model(ids[:, :at], cache=cache)
        for position in range(at, at + 16):
            model(ids[:, position : position + 1], cache=cache)

    for name, work in (("our training step", step), ("16 tokens of our decoding", decode)):
        work()
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            work()
        times = sorted(((e.self_cpu_time_total, e.count, e.key) for e in profiler.key_averages()), reverse=True)
        total = sum(value for value, _, _ in times)
        print(f"\n{name}: {total / 1e3:.0f} ms in operators")
        for value, count, key in times[:14]:
            print(f"{value / total:>7.1%} {count:>7} x {value / count:>9.1f} us  {key}")


# ----------------------------------------------------------------------------------------------------------------------


def report(results: dict[str, Any]) -> None:
    """Print what was measured."""
    lines = [row for part in results.values() if isinstance(part, dict) for row in part.get("lines", [])]
    if lines:
        print(f"{'case':<30} {'ours ms':>10} {'plain ms':>10} {'ratio':>7} {'target':>7}")
    for row in lines:
        ours, plain = 1000 * row["ours_s"], 1000 * row["plain_s"]
        print(f"{row['case']:<30} {ours:>10.2f} {plain:>10.2f} {row['ratio']:>7.2f} {row['target']:>7.1f}")
    if step := results.get("step"):
        shares = ", ".join(f"{name} {share:.0%}" for name, share in step["share_of_peak"].items())
        print(
            f"\ntraining step: {step['parameters']:,} parameters, {step['flops_per_step'] / 1e9:,.0f} GFLOPs; "
            f"of the bf16 matmul peak of {step['matmul_peak_bf16'] / 1e9:,.0f} GFLOP/s: {shares}"
        )
        if "compile_s" in step:
            print(f"compiling took {step['compile_s']:.0f} s")
    if decode := results.get("decode"):
        times = ", ".join(f"{depth}: {ms:.2f}" for depth, ms in decode["ms_at_loops"].items())
        print(
            f"\ndecode: ours takes one thread by itself; the plain model on one: {1000 * decode['plain_on_one_thread_s']:.2f} ms, "
            f"ratio {decode['ratio_on_one_thread']:.2f}"
        )
        print(f"{decode['parameters']:,} parameters; ms per token at executed loops {times}")
        print(
            f"= {decode['ms_per_loop']:.3f} ms per loop + {decode['ms_at_zero']:.3f} ms, R² {decode['r_squared']:.4f}"
        )
    if memory := results.get("memory"):
        print(
            f"\n{'memory of a step, MiB':<24}{'loops':>6} {'held':>9} {'peak':>9} {'recomputed: held':>18} {'peak':>9}"
        )
        for loops in MEMORY_LOOPS:
            cells = [memory[name][loops][what] / 2**20 for name in ("keep", "recompute") for what in ("held", "peak")]
            print(f"{'':<24}{loops:>6} {cells[0]:>9,.0f} {cells[1]:>9,.0f} {cells[2]:>18,.0f} {cells[3]:>9,.0f}")
        print("held: kept by autograd for the backward pass; peak: most alive at once, gradients included")


def main() -> None:
    """Measure, print, and write the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="moe,step,decode,memory", help="parts to measure, separated by commas")
    parser.add_argument("--quick", action="store_true", help="three repetitions instead of nine; no compiling")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="also show the operators with the most self time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    repeats = 3 if options.quick else 9
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "moe": lambda: measure_moe(repeats),
        "step": lambda: measure_step(repeats, options.threads, compiled=not options.quick),
        "decode": lambda: measure_decode(repeats),
        "memory": measure_memory,
    }
    if strange := [name for name in options.only.split(",") if name and name not in parts]:
        parser.error(f"unknown part {strange[0]!r}; choose among {', '.join(parts)}")
    print(f"torch {torch.__version__}, {options.threads} threads, medians of {repeats}")
    results: dict[str, Any] = {"torch": torch.__version__, "threads": options.threads, "repeats": repeats}
    results |= {name: measure() for name, measure in parts.items() if name in options.only.split(",")}
    report(results)
    if options.profile:
        profile_parts(options.threads)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
