"""How long one update of a language model takes per token, on one CPU core: P18 Section 5.3.1's network and LSTMs.

Shapes: T time, B columns, N neurons. The updates are those of train; times as in ``indrnn.bench.cpu.layers``.
"""

from functools import partial
from typing import Any

import torch

from indrnn import configs, markdown_text
from indrnn.bench.cpu.layers import best, products
from indrnn.training import run

# Of few columns, so that a round takes seconds. All networks are as wide as the paper's.
COMMON = ("experiment=ptb_char", "data.batch_size=16", "recipe.hidden_size=2000")
NETWORKS = {
    "IndRNN, 6 layers": ("model=indrnn",),
    "LSTM, 1 layer": ("model=lstm",),
    "LSTM, 6 layers": ("model=lstm", "model.num_layers=6"),
}
FIRST = next(iter(NETWORKS))
PRODUCTS = "matrix products of IndRNN's layers"


def times(rounds: int) -> list[dict[str, Any]]:
    """An update of every network, taking turns, and the matrix products of the first alone."""
    calls, sizes = {}, {}
    for name, overrides in NETWORKS.items():
        cfg = configs.build([*COMMON, *overrides])
        T, B, N = cfg.data.seq_len, cfg.data.batch_size, cfg.recipe.hidden_size
        (_, task), x = run.build(cfg), torch.randint(cfg.data.output_size, (B, T))
        calls[name] = partial(task.make_update, (x, x, None, False))
        sizes[name] = sum(p.numel() for p in task.network.parameters())
        if name == FIRST:
            # Operands of their own for every layer, so that they are not in the cache already, as in the network.
            layers = [
                (torch.randn(T, B, N), torch.randn(T, B, N), layer.weight_ih.detach())
                for layer in task.network.body.layers
            ]
            calls[PRODUCTS] = partial(all_products, layers)
    found = best(calls, rounds, warm_up=1)
    return [
        {"what": name, "T": T, "B": B, "N": N, "parameters": sizes.get(name), "ms": ms}
        | {"us_per_token": 1e3 * ms / (T * B), "ratio": ms / found[FIRST]}
        for name, ms in found.items()
    ]


def all_products(layers: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> None:
    """Those of all layers; the decoder's are less than a hundredth."""
    for operands in layers:
        products(*operands)


def markdown(rows: list[dict[str, Any]]) -> list[str]:
    """The section of ``make bench``."""
    T, B, N = (rows[0][key] for key in ("T", "B", "N"))
    heads = ["update", "parameters", "ms", "µs per token", "ratio"]
    cells = [
        [x["what"], f"{x['parameters']:,}" if x["parameters"] else "-", f"{x['ms']:.0f}"]
        + [f"{x['us_per_token']:.0f}", f"{x['ratio']:.2f}"]
        for x in rows
    ]
    lines = ["", f"## An update of the character language model, T = {T}, B = {B}, N = {N}", ""]
    lines += markdown_text.aligned(heads, cells)
    return [*lines, "", "Ratio: how many times the time of the first row. All with embedding, decoder, clipping, Adam."]
