"""What the figures of single neurons say, as Markdown: how each was made, its numbers, the verdict, provenance."""

import math
import statistics
from typing import Any

from indrnn.adding_numbers import SOLVED
from indrnn.configs import PROFILES
from indrnn.markdown_text import aligned, bullets
from indrnn.studies.neurons import integrator, over_time, trained, weights
from indrnn.studies.neurons.activations import Activations
from indrnn.studies.neurons.integrator import KINDS, Cut
from indrnn.studies.neurons.over_time import Gradients
from indrnn.studies.neurons.weights import Weights
from indrnn.studies.summary import geometric, plus_minus, where_from


def markdown(
    about: dict[str, Any],
    cuts: dict[int, list[Cut]],
    seen: Activations,
    u: Weights,
    gradients: dict[str, list[Gradients]],
) -> str:
    """The whole page."""
    profile = about["profile"]
    source = "trained for these figures, weights of the last update"
    if profile != trained.HERE:
        source = "finished runs of this machine, weights that validation chose"
    lines = [f"# What neurons remember ({profile})", ""]
    lines += bullets([f"Profile {profile}: {PROFILES[profile]}.", f"Networks: {source}."])
    lines += ["", "## P18 Figure 3: states over one sequence of the adding problem", "", *figure3(about, seen)]
    lines += ["", "## P18 Figure 4: one neuron alone", "", *figure4(cuts, about["chance"])]
    lines += ["", "## P19 Figure 5: recurrent weights of a trained network", "", *figure5(about, u)]
    lines += ["", "## P19 Table 1: how long a recurrent weight remembers", "", *table1(u)]
    lines += ["", "## Gradients over layers and time steps", "", *over_steps(about, gradients)]
    return "\n".join([*lines, "", *where_from(about)]) + "\n"


def figure3(about: dict[str, Any], seen: Activations) -> list[str]:
    T, marks = len(seen.values), " and ".join(str(mark + 1) for mark in seen.marks)
    way = "less" if seen.weight < 0 else "more"
    return bullets(
        [
            f"IndRNN, {' '.join(about['overrides']['adding'])}, {seen.updates:,} updates, seed {trained.SEEDS[0]}; one "
            f"sequence of T = {T} that no update has seen, marked at steps {marks}.",
            "Layer 1: the neurons whose states at both marks lie furthest above all their other states. Layer 2: the "
            "integrator of Figure 4, and on the right what its output unit, found again for it alone, answers to a "
            f"state. Its weight is {seen.weight:.3g}: the larger the marked values, the {way} this neuron adds.",
            f"Signature: {seen.signature}.",
        ]
    ) + ["", "![States of both layers](p18_figure3_activations.png)"]


def figure4(cuts: dict[int, list[Cut]], chance: float) -> list[str]:
    """How, both tables, the verdicts."""
    first = next(iter(cuts))
    seeds = len(cuts[first])
    lines = bullets(
        [
            "A neuron is ranked by r = min over a, c of the mean of (a h + c - y)² over "
            f"{integrator.SEQUENCES:,} training sequences that no update has seen, h its last state, y the target. The "
            "best one is the integrator; neurons whose state never varies are left out.",
            "The second layer is cut down to one neuron, layer 1 stays as trained, and weight and bias of the output "
            "unit are found again by least squares, in closed form, on as many other such sequences. The paper trains "
            "them. Test sequences choose nothing.",
            "Test mse (squared units; chance, the best constant answer on this test set, has "
            f"{chance:#.3g}); mean ± sample standard deviation ({seeds} seeds). Judged: one "
            f"neuron still solves the task, test mse below {SOLVED:g} in every seed. The median and the worst neuron "
            "show that this can fail. The paper's network has made 60,000 updates at T = 5000"
            + (
                f"; here {first:,} updates are the experiment's own budget, and the others are longer."
                if len(cuts) > 1
                else "."
            ),
        ]
    )
    rows, single = [], []
    for budget, found in cuts.items():
        for kind in KINDS:
            neurons = [cut.neuron(kind) for cut in found]
            row = [f"{budget:,}", kind, number([cut.full for cut in found]), number([x.before for x in neurons])]
            row += [number([x.after for x in neurons]), plus_minus([x.u for x in neurons], ".4f")]
            rows.append([*row, f"**{integrator.judge(found, kind)}**"])
        for cut in found:
            best = cut.neuron(KINDS[0])
            row = [f"{budget:,}", str(cut.seed), f"{cut.full:#.3g}", str(best.number), f"{best.u:.5f}"]
            row += [f"{value:#.3g}" for value in (best.residual, best.before, best.after)]
            single.append([*row, str(cut.alive), cut.signature])
    heads = ["updates", "neuron", "full network", "cut, output unit as trained", "cut, found again", "u", "verdict"]
    lines += ["", *aligned(heads, rows), "", "The best neuron of each network:", ""]
    heads = ["updates", "seed", "full network", "neuron", "u", "r", "as trained", "found again", "alive", "signature"]
    return [*lines, *aligned(heads, single), "", "![One neuron alone](p18_figure4_one_neuron.png)"]


def number(values: list[float]) -> str:
    return plus_minus(values, "#.3g")


def figure5(about: dict[str, Any], u: Weights) -> list[str]:
    lines = bullets(
        [
            f"IndRNN, {' '.join(about['overrides']['u'])}, {u.updates:,} updates, seed {trained.SEEDS[0]}; data: "
            f"{u.data}. The paper's figure is of cross-subject NTU RGB+D after training to the end, where layers 1 to "
            "4 have a part below 0 and a part at the bound.",
            f"T = {u.seq_len}, γ = {u.gamma:g}: abs(u) is at most {u.bound:.4f}. Layers start uniform in [0, "
            "γ^(1/T)], the last one in [γ^(-1/T), γ^(1/T)].",
            f"Signature: {u.signature}.",
        ]
    )
    rows = []
    for layer, (before, after) in enumerate(zip(u.start, u.end, strict=True), 1):
        moved = statistics.fmean(abs(b - a) for a, b in zip(before, after, strict=True))
        row = [str(layer), f"{statistics.fmean(before):.3f}", f"{statistics.fmean(after):.3f}", f"{moved:.3f}"]
        below = sum(value < 0 for value in after) / len(after)
        rows.append([*row, f"{100 * below:.1f}", f"{100 * weights.at_bound(after, u.bound):.1f}"])
    heads = ["layer", "mean u before", "after", "mean abs(change)", "below 0 (%)", "at the bound (%)"]
    return [*lines, "", *aligned(heads, rows), "", "![Histograms of u](p19_figure5_u.png)"]


def table1(u: Weights) -> list[str]:
    lines = bullets(
        [
            "What a neuron keeps of a state after n steps is abs(u)^n of it, if nothing else comes in and the ReLU is "
            f"on. It has at least ε of it for n = ln ε / ln abs(u) steps; here ε = {weights.EPS:g}. At abs(u) of 1 or "
            "more there is no end. To keep at least ε and at most γ over T steps, abs(u) lies in [ε^(1/T), γ^(1/T)].",
            "The table: neurons of the network of Figure 5 that remember over so many steps (%).",
        ]
    )
    steps = sorted({1, 10, 100, u.seq_len})
    rows = [
        [str(layer), *(f"{100 * weights.remember(after, n):.1f}" for n in steps), f"{100 * endless(after):.1f}"]
        for layer, after in enumerate(u.end, 1)
    ]
    heads = ["layer", *(f"{n} step{'s' * (n > 1)}{' (T)' * (n == u.seq_len)}" for n in steps), "no end"]
    return [*lines, "", *aligned(heads, rows), "", "![Memory length](p19_table1_memory_length.png)"]


def endless(u: list[float]) -> float:
    return sum(abs(value) >= 1 for value in u) / len(u)


def over_steps(about: dict[str, Any], gradients: dict[str, list[Gradients]]) -> list[str]:
    some = next(iter(gradients.values()))[0]
    layers, T = len(some.end), len(some.end[0])
    lines = bullets(
        [
            f"{layers} layers each, {' '.join(about['overrides']['gradients'])}; data: {some.data}. Norm of the "
            "gradient of the last step's loss with respect to the state of a layer after step t (h, of the LSTM h and "
            "its cell together), through time and through the layers above, on one batch of training sequences.",
            "Dropout is off, and batch norm's statistics are constants from training data. Computed in float64. "
            f"Training computes in float32 and flushes to 0 what is below {over_time.SMALLEST:.1e}; a 0 here is below "
            "2e-308, or no path of active ReLUs leads to the loss at all.",
            f"Geometric means over {len(trained.SEEDS)} seeds, 0 where a seed has 0; losses in nats, mean ± sample "
            f"standard deviation (chance is ln 10 = {math.log(10):.2f}).",
        ]
    )
    rows = []
    for model, runs in gradients.items():
        for when, words in (("start", "before training"), ("end", f"{runs[0].updates:,} updates")):
            found = [getattr(run, when) for run in runs]
            loss = plus_minus([getattr(run, f"{when}_loss") for run in runs])
            places = [(layer, step) for layer in (0, layers - 1) for step in (0, T // 2, T - 1)]
            means = [geometric([norms[layer][step] for norms in found]) for layer, step in places]
            rows.append([model, words, loss, *(f"{mean:.1e}" if mean else "0" for mean in means)])
    heads = [f"layer {layer}, t = {step}" for layer in (1, layers) for step in (1, T // 2 + 1, T)]
    signatures = "; ".join(f"{model} {' '.join(run.signature for run in runs)}" for model, runs in gradients.items())
    lines += ["", *aligned(["model", "", "loss", *heads], rows), "", *bullets([f"Signatures: {signatures}."])]
    return [*lines, "", "![Gradients over time](gradients_over_time.png)"]
