"""Puts known defects back, one at a time, into a copy of the code, and checks that a test turns red: `make mutants`.

Each is a defect that published code of this kind has or had, or that is easily made here. A mutant is an exact piece of
text and what replaces it; where the text is no longer found, or the tests stay green, the run fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("mythos", "mythos_tui", "tests", "configs", "docs", "pyproject.toml")

INVARIANTS = "tests/models/test_invariants.py"
SWITCHES = "tests/models/test_switches.py"
MECHANISMS = "tests/models/test_mechanisms.py"
CHUNKS = "tests/models/test_equivalence.py::test_chunks_and_company"
ALERTS, POLICIES = "tests/train/test_alerts.py", "tests/train/test_policies.py"
IMAGES, CONTROL = "tests/test_tensor_file.py", "tests/train/test_control.py"
LOST = "tests/train/test_nothing_lost.py"
OBJECTIVE, WORKER = "tests/train/test_objective.py", "tests/train/test_worker.py"
ROWS = f"{INVARIANTS}::test_a_token_that_stopped_costs_no_further_row_of_the_block"
BIAS = f"{INVARIANTS}::test_no_pass_moves_the_router_bias_and_a_step_moves_it_once"


@dataclass(frozen=True)
class Mutant:
    """A defect: the file that gets it, pieces of text with what replaces each, and the tests that are run on it."""

    defect: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...] = (INVARIANTS,)


def mutant(defect: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    """A defect of a single edit."""
    return Mutant(defect, f"mythos/{file}", ((old, new),), tests or (INVARIANTS,))


UPDATE = "layer.update_bias(load, rate)"
MUTANTS = (
    # Experts
    mutant("router bias that nothing updates", "train/loop.py", UPDATE, "pass", BIAS),
    mutant("router bias updated twice per step", "train/loop.py", UPDATE, f"{UPDATE}; {UPDATE}", BIAS),
    mutant(
        "router bias updated by every pass, evaluation included",
        "models/moe.py",
        "up, out = self._cast or (self.up, self.out)",
        "self.update_bias(stats.load, 0.01); up, out = self._cast or (self.up, self.out)",
        BIAS,
    ),
    mutant(
        "router bias added to the gate as well",
        "models/moe.py",
        "gates = logits.gather(1, chosen)",
        "gates = (logits + self.router_bias).gather(1, chosen)",
        MECHANISMS,
    ),
    mutant(
        "router bias added to the gate as well, decode",
        "models/lone.py",
        "gates = logits.gather(0, chosen)",
        "gates = (logits + self.bias).gather(0, chosen)",
        f"{INVARIANTS}::test_a_bias_that_shifts_the_choice_never_scales_what_the_experts_say",
    ),
    mutant(
        "router bias drifts off its centre",
        "models/moe.py",
        "self.router_bias -= self.router_bias.mean()",
        "pass",
        BIAS,
    ),
    mutant(
        "halted tokens counted in the expert load, training",
        "models/recurrent.py",
        "counted = run.active if halts else None",
        "counted = None",
        MECHANISMS,
    ),
    mutant(
        "padding counted in the expert load, inference",
        "models/recurrent.py",
        "chosen, memory, selection.valid",
        "chosen, memory, None",
        MECHANISMS,
    ),
    mutant(
        "frozen router that learns",
        "models/moe.py",
        'requires_grad_(config.router == "learned")',
        "requires_grad_(True)",
        SWITCHES,
    ),
    # Halting
    mutant(
        "ACT weights that fall short of 1 where a token never halts",
        "models/ledger.py",
        "filled = stop if self.config.act_remainder else said",
        "filled = said",
    ),
    mutant(
        "ACT weights that exceed what is left",
        "models/halting.py",
        "torch.minimum(self.p, left)",
        "self.p",
        MECHANISMS,
    ),
    mutant(
        "ponder cost without its remainder",
        "models/halting.py",
        "+ torch.where(active & stop, left, 0.0)",
        "+ 0.0",
        MECHANISMS,
    ),
    mutant(
        "halting that saves no computation once there is a cache",
        "models/recurrent.py",
        "Selection.of(run.active) if",
        "Selection.of(run.active) if not start and",
        ROWS,
    ),
    mutant(
        "halted tokens computed and thrown away",
        "models/cache.py",
        "n = int(counts.max())",
        "n = active.shape[1]",
        ROWS,
    ),
    mutant(
        "halted tokens' keys and values go on changing, training",
        "models/recurrent.py",
        "Causal(mask, frozen, ~run.active) if freeze else Causal(mask)",
        "Causal(mask)",
        "tests/models/test_equivalence.py::test_unroll_equals_the_sparse_path",
    ),
    mutant(
        "a window that chunks do not keep to",
        "models/cache.py",
        "return mask & (seen > asking - self.window) if self.window else mask, False",
        "return mask, False",
        "tests/models/test_equivalence.py::test_chunks_and_company",
    ),
    mutant(
        "a window one token too wide",
        "models/cache.py",
        ".tril().triu(1 - window)",
        ".tril().triu(-window)",
        "tests/models/test_equivalence.py::test_unroll_equals_the_sparse_path",
    ),
    mutant(
        "a gate that takes the state before a loop for the one after",
        "models/ledger.py",
        "self.gate(unit(before), unit(state))",
        "self.gate(unit(state), unit(state))",
        "tests/interop/test_hf_recurrent.py::test_tokens_stop_where_ours_stop",
    ),
    mutant(
        "a gate that is told that what is right after a loop may stop",
        "evals/gate_fit.py",
        "torch.stack((costs[loop + 1], costs[loop]), dim=-1)",
        "torch.stack((costs[loop + 1], costs[loop + 1]), dim=-1)",
        "tests/evals/test_calibration.py",
    ),
    mutant(
        "documents of a row that see each other",
        "models/recurrent.py",
        "mask = None if documents is None else within_documents(documents)",
        "mask = None",
        "tests/models/test_documents.py",
    ),
    mutant(
        "rows of nobody that leave a gradient in the experts",
        "models/experts.py",
        "share = torch.cat((gates.reshape(-1), gates.new_zeros(1)))",
        "share = torch.cat((gates.reshape(-1), gates.new_ones(1)))",
        "tests/models/test_experts.py",
    ),
    mutant(
        "halted tokens' keys and values missing at later loops of the cache",
        "models/recurrent.py",
        "cache.freeze_from(executed, end)",
        "pass",
    ),
    mutant(
        "halted tokens' keys and values of an earlier call, not of their last loop",
        "models/recurrent.py",
        "layer.copy_from(cache.loop(loop - 1), start, positions.end)",
        "pass",
        CHUNKS,
    ),
    mutant(
        "read-outs before a token's exit write the Coda's cache",
        "models/recurrent.py",
        "if not rule.reads_out or ids.shape[1] == 1:",
        "if True:",
        CHUNKS,
    ),
    mutant(
        "an exit rule that remembers the chunk before",
        "infer/exits.py",
        "    def start(self) -> None:\n        self._last = None",
        "    def start(self) -> None:\n        pass",
        "tests/infer/test_exits.py",
    ),
    # Attention and its cache
    mutant(
        "causal mask of a cached chunk aligned to its first key",
        "models/cache.py",
        "if index is None and self.start == 0 and not",
        "if index is None and not",
    ),
    mutant(
        "cached chunk of several tokens without a mask",
        "models/cache.py",
        "if index is None and self.end - self.start == 1:",
        "if index is None:",
    ),
    mutant(
        "MLA that caches its rotary key once per head",
        "models/mla.py",
        "(latent, k_rot), mask, causal = memory.write((latent, k_rot))",
        "(latent, k_rot), mask, causal = memory.write((latent, k_rot.unsqueeze(2).repeat(1, 1, self.heads, 1)))\n"
        "        k_rot = k_rot[:, :, 0]",
        f"{INVARIANTS}::test_mla_keeps_one_latent_and_one_rotary_key_per_token_and_not_per_head",
    ),
    mutant(
        "rotary angles rounded to the dtype of the heads",
        "models/rope.py",
        "cos, sin = self._angles(positions, x.dtype == torch.float64)",
        "cos, sin = (angle.to(x.dtype) for angle in self._angles(positions, x.dtype == torch.float64))",
        MECHANISMS,
    ),
    Mutant(
        "rotary angles in a buffer that a cast of the model rounds",
        "mythos/models/rope.py",
        (
            ("class Rope:", "class Rope(torch.nn.Module):"),
            ("        self.dim = dim\n", "        super().__init__()\n        self.dim = dim\n"),
            (
                "    def _table(",
                "        self.register_buffer('cos', self._table(64, torch.device('cpu'))[0], persistent=False)\n\n"
                "    def _table(",
            ),
            ("        return held\n", "        return getattr(self, 'cos', held[0]), held[1]\n"),
        ),
        (f"{INVARIANTS}::test_angles_survive_a_cast_of_the_model",),
    ),
    mutant(
        "a sequence that outgrows the context unnoticed",
        "models/recurrent.py",
        "check_length(cache.length + ids.shape[1], self.config.context)",
        "pass",
        f"{INVARIANTS}::test_a_sequence_that_outgrows_the_context_is_refused_on_every_way",
    ),
    mutant(
        "a tied head that is a matrix of its own",
        "models/recurrent.py",
        "self.head = None if c.tie_embeddings else nn.Linear",
        "self.head = nn.Linear",
        f"{INVARIANTS}::test_a_tied_head_survives_initialisation_file_and_cast",
    ),
    mutant(
        "temperature 0 that draws",
        "infer/sampling.py",
        "if sampling.temperature == 0:",
        "sampling = Sampling(sampling.temperature or 1.0, sampling.top_k, sampling.top_p, vocab=sampling.vocab)\n    if False:",
        f"{INVARIANTS}::test_at_temperature_zero_nothing_is_left_to_chance",
    ),
    mutant("no loop at all, and no complaint", "models/recurrent.py", "if loops < 1:", "if loops < 0:", MECHANISMS),
    # The recurrence
    mutant(
        "an A that rounds to exactly 1",
        "models/injection.py",
        "return torch.exp(-(self.dt_min + (self.dt_max - self.dt_min) * share))",
        "return torch.exp(-torch.exp(raw.clamp(-20, 20)))",
        MECHANISMS,
    ),
    mutant(
        "an A computed in bfloat16", "models/injection.py", "else self.raw_dt.float()", "else self.raw_dt", MECHANISMS
    ),
    mutant(
        "per-loop adapters inert at initialisation",
        "models/recurrent.py",
        "nn.init.normal_(self.lora.scale, 1.0, 0.3)",
        "nn.init.zeros_(self.lora.scale)",
        f"{INVARIANTS}::test_per_loop_adapters_differ_between_loops_and_learn_from_the_first_step",
    ),
    mutant(
        "per-loop adapters that are the same at every loop",
        "models/lora.py",
        "self.scale[min(loop, self.scale.shape[0] - 1)]",
        "self.scale[0]",
        f"{INVARIANTS}::test_per_loop_adapters_differ_between_loops_and_learn_from_the_first_step",
    ),
    mutant(
        "random initial states that depend on the cut into chunks",
        "models/recurrent.py",
        "self._noise[start : start + e.shape[1]]",
        "self._noise[: e.shape[1]]",
        CHUNKS,
    ),
    mutant(
        "the loop's code left in the state",
        "models/recurrent.py",
        "entering = h + self.loop_code(loop, h) if self.config.loop_index_embedding else h",
        "entering = h = h + self.loop_code(loop, h) if self.config.loop_index_embedding else h",
        SWITCHES,
    ),
    # Training
    mutant(
        "truncated backpropagation that truncates nothing",
        "models/recurrent.py",
        "with torch.no_grad() if gradient_loops and loop < n_loops - gradient_loops else nullcontext():",
        "with nullcontext():",
        f"{INVARIANTS}::test_truncated_gradients_are_those_of_a_detached_state",
    ),
    mutant(
        "truncated backpropagation that keeps one loop too few",
        "models/recurrent.py",
        "loop < n_loops - gradient_loops else",
        "loop <= n_loops - gradient_loops else",
        f"{INVARIANTS}::test_truncated_gradients_are_those_of_a_detached_state",
    ),
    mutant(
        "labels shifted twice",
        "train/cross_entropy.py",
        "    rows, wanted = logits.flatten(0, 1), targets.flatten()\n",
        "    rows, wanted = logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten()\n",
        f"{OBJECTIVE}::test_a_cyclic_stream_is_learnt_and_continued",
    ),
    mutant(
        "mixed exits that train without stopping anyone",
        "train/objectives.py",
        "_unroll(model, batch, config, plan, exits)",
        "_unroll(model, batch, config, plan)",
        f"{OBJECTIVE}::test_mixed_exits_train_what_inference_does",
    ),
    mutant(
        "a gate fitted while the model goes on learning",
        "train/loop.py",
        "parameter.requires_grad_(not plan.gate_only)",
        "parameter.requires_grad_(True)",
        f"{OBJECTIVE}::test_in_the_last_steps_the_gate_learns_on_a_frozen_model",
    ),
    mutant(
        "Muon in one arithmetic whatever the run's",
        "train/loop.py",
        "self.device.update_dtype)",
        "torch.bfloat16)",
        "tests/train/test_muon.py::test_it_iterates_in_the_arithmetic_of_the_run",
    ),
    mutant(
        "weight decay on norms, biases and the injection",
        "train/optim.py",
        '"weight_decay": 0.0',
        '"weight_decay": config.weight_decay',
        f"{OBJECTIVE}::test_injection_norms_and_biases_know_neither_decay_nor_muon",
    ),
    mutant(
        "numbers of a step that keep its graph",
        "train/objectives.py",
        "self.telemetry.release()",
        "pass",
        "tests/train/test_meter.py",
    ),
    mutant(
        "a gate's own loss in the curve of the model",
        "train/loop.py",
        'loss.parts["cross_entropy"] if plan.gate_only else loss.total,',
        "loss.total,",
        f"{OBJECTIVE}::test_in_the_last_steps_the_gate_learns_on_a_frozen_model",
    ),
    # Resuming
    mutant(
        "a command for the last worker that the next one obeys",
        "train/launch.py",
        "    take_commands(paths)\n",
        "",
        f"{WORKER}::test_a_resume_clears_up_and_tells_what_stands_in_its_way",
    ),
    mutant(
        "a resumed run that is still told as its last worker left it",
        "train/launch.py",
        '"state": "starting", ',
        "",
        "tests/cli/test_cli.py::test_whoever_gives_a_finished_run_more_steps_follows_those",
    ),
    # Saving
    mutant(
        "a copy into memory that was laid out otherwise",
        "tensor_file.py",
        "if before is not None and alike else",
        "if before is not None else",
        IMAGES,
    ),
    mutant(
        "a copy that is the training's own tensors",
        "train/keeper.py",
        "in_host_memory if wait else self._copy",
        "in_host_memory",
        f"{CONTROL}::test_the_training_goes_on_while_a_checkpoint_is_written",
    ),
    mutant(
        "a save that rests while it is waited for",
        "train/keeper.py",
        "        self._hurry.set()\n",
        "",
        f"{CONTROL}::test_a_save_that_is_waited_for_does_not_rest",
    ),
    mutant(
        "a file of no known hash that is taken for whole",
        "contract/checkpoints.py",
        "not check_hash or any(kind in entry and file_hash(file, kind)",
        "not check_hash or all(kind not in entry or file_hash(file, kind)",
        "tests/contract/test_checkpoints.py",
    ),
    mutant(
        "a checkpoint that is thinned out though a pointer names it",
        "train/checkpoint.py",
        ', pointer(paths, "latest"), pointer(paths, "best")}',
        "}",
        f"{LOST}::test_pointers_that_could_not_be_written_are_put_right_by_the_next_checkpoint",
    ),
    mutant(
        "a save between two lines whose time is taken off twice",
        "train/worker.py",
        "        self.trainer.seconds_done += time.perf_counter() - began\n        if self.saved.error",
        "        self._exclude(began)\n        if self.saved.error",
        f"{LOST}::test_a_save_between_two_lines_makes_no_step_fast",
    ),
    mutant(
        "a resumed run that knows nothing of its last evaluation",
        "train/worker.py",
        "self.evaluated = go_on(",
        "_ = go_on(",
        f"{LOST}::test_the_best_checkpoint_outlives_a_resume_that_stops_before_its_first_step",
    ),
    # Parts of a step
    mutant(
        "parts that weigh alike however much they ask for",
        "train/loop.py",
        "asked=self._asked(batch.targets)",
        "asked=None",
        "tests/train/test_distributed.py::test_micro_batches_of_one_process_add_up_to_the_batch",
    ),
    mutant(
        "an overflow that stops one optimizer alone",
        "train/optim.py",
        "        self._share_overflow(norm, learning)\n",
        "",
        "tests/train/test_device.py",
    ),
    mutant(
        "a lens that sees past the window",
        "inspect/lens.py",
        "before.triu(1 - self.window) if self.window else before",
        "before",
        "tests/inspect/test_lens.py::test_the_lens_is_what_the_model_says_where_it_stops",
    ),
    # Guard
    mutant(
        "a spike's threshold ignored, everything above the median is one",
        "train/alerts.py",
        'limit("spike_sigmas")',
        "0.0",
        ALERTS,
    ),
    mutant("a spike's threshold out of reach", "train/alerts.py", 'limit("spike_sigmas")', "1e9", ALERTS),
    mutant(
        "an alert told with every record of its trouble",
        "train/alerts.py",
        "if self.told or not (at_once or lasts):",
        "if not (at_once or lasts):",
        ALERTS,
    ),
    mutant(
        "a skip that comes a step late",
        "train/brake.py",
        "found = (broken, *_spikes(known, here))",
        "now = (broken, *_spikes(known, here)); found = vars(self).get('late', [torch.zeros_like(broken)] * 3); self.late = now",
        "tests/train/test_brake.py",
        POLICIES,
    ),
    mutant(
        "a step that is left out all the same moves the router biases",
        "train/loop.py",
        "if skipped is not None:",
        "if False:",
        "tests/train/test_brake.py",
    ),
    mutant("the policy skip ignored", "train/brake.py", 'kind) == "skip"', 'kind) == ""', POLICIES),
    mutant("the policy pause ignored", "train/records.py", 'alert.action == "pause"', "False", POLICIES),
    mutant("the policy stop ignored", "train/records.py", 'alert.action == "stop"', "False", POLICIES),
    mutant(
        "a resumed run that forgets what its steps were like",
        "train/loop.py",
        'tensors |= {f"brake.{kind}": tensor for kind, tensor in self.brake.state().items()}',
        "pass",
        "tests/train/test_brake.py",
    ),
)


@dataclass(frozen=True)
class Verdict:
    """What the tests said: `failed` names the first that turned red, `trouble` why there is no verdict."""

    failed: str = ""
    trouble: str = ""
    seconds: float = 0.0


def run_tests(copy: Path, tests: Sequence[str]) -> Verdict:
    """Run tests of the copy on the code of the copy, up to the first that fails."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",  # a stale one could hide a mutation made within the same second
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-rf", *tests]
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    failed = re.search(r"^FAILED tests/(\S+)", done.stdout, re.M)
    if done.returncode == 1 and failed:
        return Verdict(failed=failed[1], seconds=seconds)
    trouble = (
        "" if done.returncode == 0 else f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}"
    )
    return Verdict(trouble=trouble, seconds=seconds)


def judge(copy: Path, one: Mutant) -> Verdict:
    """The verdict on a mutant; its file is put back afterwards."""
    path = copy / one.file
    if not path.is_file():
        return Verdict(trouble="there is no such file")
    original = mutated = path.read_text(encoding="utf-8")
    for old, new in one.edits:
        if mutated.count(old) != 1:
            return Verdict(trouble=f"found {mutated.count(old)} times, not once: {old.strip()}")
        mutated = mutated.replace(old, new)
    path.write_text(mutated, encoding="utf-8")
    try:
        verdict = run_tests(copy, one.tests)
    finally:
        path.write_text(original, encoding="utf-8")
    return verdict if verdict.failed or verdict.trouble else Verdict(trouble="SURVIVED", seconds=verdict.seconds)


def make_copy(directory: Path) -> None:
    """What the tests need, in `directory`. Raises SystemExit where the tests would import other code than that."""
    for name in COPIED:
        source, target = ROOT / name, directory / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    where = "import mythos; print(mythos.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=directory, env=environment, capture_output=True, text=True, check=True
    )
    if not Path(found.stdout.strip()).is_relative_to(directory):
        raise SystemExit(f"the copy is not what would be tested: {found.stdout}")


def main(words: Sequence[str]) -> int:
    """All mutants, or those whose defect or file contains one of `words`. Returns the exit code."""
    chosen = [one for one in MUTANTS if not words or any(word in f"{one.defect} {one.file}" for word in words)]
    if not chosen:
        raise SystemExit(f"no mutant is about {' or '.join(words)}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve()
        make_copy(copy)
        sound = run_tests(copy, list(dict.fromkeys(test for one in chosen for test in one.tests)))
        print(f"{'code as it is':<72} {sound.failed or sound.trouble or 'passes'} ({sound.seconds:.0f} s)", flush=True)
        if sound.failed or sound.trouble:
            return 1
        survivors = 0
        for one in chosen:
            verdict = judge(copy, one)
            survivors += not verdict.failed
            caught = verdict.failed or f"!! {verdict.trouble}"
            print(f"{one.defect:<72} {one.file:<28} {caught} ({verdict.seconds:.0f} s)", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} defects turn a test red")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
