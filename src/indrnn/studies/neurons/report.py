"""The figures of single neurons as png, their numbers as json and md. Same runs, same bytes."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from indrnn import adding_numbers, aloud, configs, files
from indrnn.data import TEST
from indrnn.studies import summary
from indrnn.studies.neurons import (
    activations,
    draw_adding,
    draw_gradients,
    draw_weights,
    integrator,
    over_time,
    trained,
    weights,
)
from indrnn.studies.neurons.text import markdown

NAME = "neurons"


def publish(profile: str, out: Path) -> str:
    """Train or read all networks of a profile, look at them, write png, json, md into a folder; returns the md.

    Raises:
        UserError: there is no such profile, data are missing, or the profile's networks are trained elsewhere and are
            not there yet. Nothing is written then.
    """
    trained.check(profile)
    about = summary.about(f"make figures PROFILE={profile}") | {"profile": profile}
    about |= {"overrides": {"adding": trained.ADDING, "u": trained.SIX_LAYERS, "gradients": trained.GRADIENTS}}
    about["overrides"] = {name: found[profile] for name, found in about["overrides"].items()}
    data = configs.build(trained.ADDING[profile]).data
    about["chance"] = adding_numbers.chance(TEST, data.seq_len, data.test_examples)
    cuts: dict[int, list[integrator.Cut]] = {}
    for budget in trained.BUDGETS[profile]:
        for seed in trained.SEEDS:
            network = trained.trained(profile, trained.adding(profile, budget, seed))
            with aloud.Step("looking at its neurons one by one"):
                cuts.setdefault(budget, []).append(integrator.cut_down(network))
                if seed == trained.SEEDS[0]:
                    seen = activations.look(network)  # of the largest budget in the end
    u = weights.collect(trained.trained(profile, trained.six_layers(profile)))
    gradients: dict[str, list[over_time.Gradients]] = {}
    for model in trained.MODELS:
        for seed in trained.SEEDS:
            network = trained.trained(profile, trained.for_gradients(profile, model, seed))
            with aloud.Step("measuring its gradients over time"):
                gradients.setdefault(model, []).append(over_time.measure(model, network))
    text = markdown(about, cuts, seen, u, gradients)
    draw = {
        "p18_figure3_activations": partial(draw_adding.activations, seen),
        **pictures(cuts, about["chance"], u, gradients),
    }
    with aloud.Step("drawing"):
        for name, function in draw.items():
            files.replace_whole(out / f"{name}.png", function)
    files.write_whole(out / f"{NAME}.json", numbers(about, cuts, seen, u, gradients))
    files.write_whole(out / f"{NAME}.md", text)
    return text


def redraw(out: Path) -> list[str]:
    """Draw again what neurons.json holds all of; returns the names of the pictures.

    Not among them is P18 Figure 3, which shows the states of all neurons: the file has those that stand out.
    """
    draw = pictures(*read(out))
    for name, function in draw.items():
        files.replace_whole(out / f"{name}.png", function)
    return list(draw)


Numbers = tuple[dict[int, list[integrator.Cut]], float, weights.Weights, dict[str, list[over_time.Gradients]]]


def read(out: Path) -> Numbers:
    """What ``pictures`` needs of neurons.json."""
    found = json.loads(files.content(out / f"{NAME}.json"))
    cuts: dict[int, list[integrator.Cut]] = {}
    for cut in found["one_neuron"]:
        neurons = [integrator.Neuron(**neuron) for neuron in cut.pop("neurons")]
        cuts.setdefault(cut["updates"], []).append(integrator.Cut(**cut, neurons=neurons))
    gradients: dict[str, list[over_time.Gradients]] = {}
    for run in found["gradients"]:
        gradients.setdefault(run["model"], []).append(over_time.Gradients(**run))
    return cuts, found["chance"], weights.Weights(**found["u"]), gradients


def pictures(
    cuts: dict[int, list[integrator.Cut]],
    chance: float,
    u: weights.Weights,
    gradients: dict[str, list[over_time.Gradients]],
) -> dict[str, Callable[[Path], None]]:
    """What draws each picture but that of activations, by its name."""
    return {
        "p18_figure4_one_neuron": partial(draw_adding.one_neuron, cuts, chance),
        "p19_figure5_u": partial(draw_weights.histograms, u),
        "p19_table1_memory_length": partial(draw_weights.memory, u),
        "gradients_over_time": partial(draw_gradients.gradients, gradients),
    }


def numbers(
    about: dict[str, Any],
    cuts: dict[int, list[integrator.Cut]],
    seen: activations.Activations,
    u: weights.Weights,
    gradients: dict[str, list[over_time.Gradients]],
) -> str:
    """All that the figures show but for the states of the activations: those of the neurons that stand out."""
    shown = asdict(seen)
    first, second = shown.pop("first"), shown.pop("second")
    shown["spiking"] = {str(number): first[:, number].tolist() for number in seen.spiking}
    shown["integrator"] = {str(seen.integrator): second[:, seen.integrator].tolist()}
    found = about | {
        "activations": shown,
        "one_neuron": [asdict(cut) for some in cuts.values() for cut in some],
        "u": asdict(u),
        "gradients": [asdict(run) for some in gradients.values() for run in some],
    }
    text = json.dumps(short(found), indent=1, allow_nan=False)
    return re.sub(r"\[\s+([-+.e\d,\s]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text) + "\n"


def short(value: Any) -> Any:
    """Six digits of every number: there are tens of thousands."""
    if isinstance(value, dict):
        return {key: short(some) for key, some in value.items()}
    if isinstance(value, list | tuple):
        return [short(some) for some in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
