"""How many threads a training step is fastest on: small models wait for each other's threads longer than they compute."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import replace

import torch

from mythos.contract.budget import flops_training
from mythos.contract.config import Config, RecurrentConfig
from mythos.models.build import build_model
from mythos.models.dense import DenseModel
from mythos.models.recurrent import RecurrentModel
from mythos.train.device import Device, available_cores
from mythos.train.objectives import compute_loss
from mythos.train.optim import Optimizer
from mythos.train.schedule import LoopSampler, Plan

ROUNDS, PROBE_S = 7, 4.0
"""Steps that are timed of each count, or fewer where they take more seconds in all; the first of each is not timed."""
MUST_GAIN = 1.03
"""More threads are taken only where they are faster by this factor: they take a core from everything else."""
LARGE_S = 3.0
"""A step of more seconds at the matmul peak is one of large matmuls, which gain from every core."""


def choose_threads(config: Config, device: Device) -> Device:
    """The device with the thread count that steps are fastest on, which is then set.

    What `train.threads` says stands, and so does OMP_NUM_THREADS. A resumed run has to be given the count it had: another
    one rounds sums in another order.
    """
    cores, per_step = available_cores(), config.train.batch_size * config.train.sequence
    large = flops_training(config) * per_step > LARGE_S * device.peak_flops
    if config.train.threads or device.name != "cpu":
        return device
    threads = _wanted() or (cores if large or cores == 1 else 0)
    threads = threads or fastest(time_steps(config, device, counts(cores)))
    torch.set_num_threads(threads)
    return replace(device, threads=threads)


def _wanted() -> int:
    """The user's own OMP_NUM_THREADS; 0 where there is none."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() else 0


def counts(cores: int) -> list[int]:
    """1, 2, 4, … and all cores."""
    return [*(1 << power for power in range(cores.bit_length()) if 1 << power < cores), cores]


def fastest(seconds: dict[int, float]) -> int:
    """The thread count of the shortest step; a larger one has to gain."""
    best = min(seconds)
    for threads in sorted(seconds):
        if seconds[threads] * MUST_GAIN < seconds[best]:
            best = threads
    return best


def time_steps(config: Config, device: Device, candidates: list[int], budget_s: float = PROBE_S) -> dict[int, float]:
    """Median seconds of real training steps by thread count; the counts take turns, so that noise meets them all.

    The model is a throw-away one on one micro-batch of zeros at a typical depth, not compiled. Torch's random state is kept.
    """
    state, usual = torch.get_rng_state(), torch.get_num_threads()
    model = build_model(config.model)
    optimizer = Optimizer(model, config.train, dtype=device.update_dtype)
    plan = (
        LoopSampler(config).draw(config.objective.curriculum_steps)
        if isinstance(config.model, RecurrentConfig)
        else Plan()
    )
    taken: dict[int, list[float]] = {threads: [] for threads in candidates}
    deadline = float("inf")
    for _ in range(1 + ROUNDS):
        if time.perf_counter() > deadline:
            break
        for threads, seconds in taken.items():
            torch.set_num_threads(threads)
            began = time.perf_counter()
            _step(model, optimizer, config, plan, device)
            seconds.append(time.perf_counter() - began)
        deadline = min(deadline, time.perf_counter() + budget_s)
    torch.set_rng_state(state)
    torch.set_num_threads(usual)
    return {threads: statistics.median(seconds[1:]) for threads, seconds in taken.items()}


def _step(model: DenseModel | RecurrentModel, optimizer: Optimizer, config: Config, plan: Plan, device: Device) -> None:
    rows = config.train.batch_size // config.train.accumulate
    ids = torch.zeros(rows, config.train.sequence, dtype=torch.int64)
    with device.autocast():
        loss = compute_loss(model, ids, ids, config, plan, 0)
    loss.total.backward()
    optimizer.step()
