"""Ten updates of dense networks beside the equations written down plainly, in float64: what starts where, what decays.

Shapes: T time, B batch, N neurons.
"""

import pytest
import torch
from hydra.utils import instantiate
from small_language import own_text, task_of, text_of
from torch import Tensor, nn
from torch.nn import functional as F

from indrnn import configs
from indrnn.errors import UserError
from indrnn.networks.last_transition import LastTransition
from indrnn.tasks import Regression
from indrnn.tasks.schedules import Constant

RATE, DECAY, CLIP = 2e-4, 1e-4, 10.0
BLOCKS = [2, 1]
Weights = dict[str, Tensor]


def norm(P: Weights, name: str, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """γ (x - mean) / sqrt(var + ε) + β, of x (T, B, N)."""
    mean = x.mean(axes, keepdim=True)
    var = ((x - mean) ** 2).mean(axes, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt() * P[f"{name}.weight"] + P[f"{name}.bias"]


def layer(P: Weights, name: str, x: Tensor, h: Tensor | None, before: bool) -> tuple[Tensor, Tensor]:
    """P18 Eq. (2) step by step; batch norm frame-wise before it, or over batch and time after it."""
    z = x @ P[f"{name}.weight_ih"].T + P[f"{name}.bias"]
    z = norm(P, f"{name}.norm", z, (1,)) if before else z
    h, out = torch.zeros_like(z[0]) if h is None else h, []
    for step in z:
        h = torch.relu(step + P[f"{name}.u"] * h)
        out.append(h)
    y = torch.stack(out)
    return (y if before else norm(P, f"{name}.norm", y, (0, 1))), h.detach()


def dense(P: Weights, x: Tensor, states: dict[str, Tensor], before: bool, names: str = "") -> Tensor:
    """P19 Fig. 3c; ``states`` by the names of the layers, as they are after it."""

    def through(name: str, x: Tensor) -> Tensor:
        y, states[name] = layer(P, name, x, states.get(name), before)
        return y

    number = 0
    for block, layers in enumerate(BLOCKS):
        if block == 0 and f"{names}first.u" in P:
            x = through(f"{names}first", x)
        for _ in range(layers):
            bottleneck = through(f"{names}bottlenecks.{number}", x)
            x = torch.cat([x, through(f"{names}denses.{number}", bottleneck)], dim=2)
            number += 1
        last = f"{names}transitions.{block}"
        if f"{last}.layer.u" in P:
            x = norm(P, f"{last}.norm", through(f"{last}.layer", x), (1,))
        else:
            x = through(last, x)
    return x


class PlainAdam:
    """Adam with coupled weight decay on the names it is given, after clipping; then u goes back into its bound."""

    def __init__(self, P: Weights, decayed: set[str], bound: float):
        self.P, self.decayed, self.bound, self.t = P, decayed, bound, 0
        self.m, self.v = ({name: torch.zeros_like(p) for name, p in P.items()} for _ in range(2))

    def step(self, loss: Tensor) -> None:
        self.t += 1
        gradients = torch.autograd.grad(loss, list(self.P.values()))
        for (name, p), g in zip(list(self.P.items()), gradients, strict=True):
            g = g.clamp(-CLIP, CLIP) + (DECAY * p.detach() if name in self.decayed else 0)
            self.m[name] = 0.9 * self.m[name] + 0.1 * g
            self.v[name] = 0.999 * self.v[name] + 0.001 * g**2
            m, v = self.m[name] / (1 - 0.9**self.t), self.v[name] / (1 - 0.999**self.t)
            new = p.detach() - RATE * m / (v.sqrt() + 1e-8)
            self.P[name] = (new.clamp(-self.bound, self.bound) if name.endswith(".u") else new).requires_grad_()


def copied(network: nn.Module) -> Weights:
    return {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}


def furthest(network: nn.Module, P: Weights) -> float:
    assert network.state_dict().keys() >= P.keys()
    return max((p - P[name]).abs().max().item() for name, p in network.named_parameters())


def digits_task(*more: str):
    overrides = [
        "experiment=smnist",
        "model=dense_indrnn",
        "model.growth=2",
        f"model.blocks={BLOCKS}",
        "data.seq_len=6",
    ]
    overrides += [f"model.dropout_{place}=0" for place in ("first", "bottleneck", "dense", "transition")]
    cfg = configs.build([*overrides, *more])
    torch.manual_seed(0)
    task = instantiate(cfg.task, network=instantiate(cfg.model)).double()
    task.clip, task.clip_by = cfg.trainer.clip, cfg.trainer.clip_by
    return task


def ten_of_digits(task, decayed: set[str], P: Weights) -> float:
    """How far ten updates of the task and of the equations end apart."""
    rng = torch.Generator().manual_seed(1)
    adam = PlainAdam(P, decayed, bound=5 ** (1 / 6))
    for _ in range(10):
        x, y = torch.randn(8, 6, 1, generator=rng, dtype=torch.float64), torch.randint(10, (8,), generator=rng)
        task.make_update((x, y))
        last = dense(P, x.transpose(0, 1), {}, before=False)[-1]
        adam.step(F.cross_entropy(last @ P["head.weight"].T + P["head.bias"], y))
    return furthest(task.network, P)


def test_on_digits_every_scale_is_decayed():
    task = digits_task()
    P = copied(task.network)
    decayed = {name for name in P if not name.endswith((".u", "bias"))}
    assert {"first.norm.weight", "transitions.1.norm.weight", "head.weight", "first.weight_ih"} <= decayed
    assert ten_of_digits(task, decayed, P) < 1e-12


def test_on_digits_without_it_the_updates_are_others():
    """At fast and quick, whose published runs were made so, they are those of matrices alone."""
    apart = []
    for change, bound in (("task.decay_norm=null", 1e-12), ("task.decay_norm=all", 1)):
        task = digits_task(change)
        P = copied(task.network)
        apart.append(ten_of_digits(task, {name for name in P if P[name].ndim > 1}, P))
        assert apart[-1] < bound
    assert apart[1] > 1e-6
    for profile in ("fast", "quick"):
        assert configs.build([f"experiment={profile}/pmnist"]).task.decay_norm is None


def ten_of_words(task, decayed: set[str], P: Weights, data) -> float:
    states: dict[str, Tensor] = {}
    adam = PlainAdam(P, decayed, bound=0.99)
    for update in range(10):
        batch = data.train_batch(update)
        task.make_update(batch)
        x, y, lengths, fresh = batch
        assert lengths is None
        states = {} if fresh else states
        h = dense(P, P["embedding.weight"][x.t()], states, before=True, names="body.")
        logits = h @ P["embedding.weight"].T + P["head.bias"]
        adam.step(F.cross_entropy(logits.flatten(0, 1), y.t().flatten()))
    return furthest(task.network, P)


def words_task(*more: str):
    dropouts = ("dropout_dense", "dropout_bottleneck", "dropout_transition", "dropout_output")
    still = [f"model.{name}=0" for name in dropouts] + ["recipe.dropout_embedding=0", "recipe.dropout_words=0"]
    task = task_of("ptb_word", "dense_indrnn", *still, *more).double()
    task.clip, task.clip_by = CLIP, "value"
    return task


def is_extra(name: str) -> bool:
    """Whether a parameter is the scale of the batch norm that the authors call extra."""
    return name == "body.transitions.1.norm.weight"


@pytest.fixture
def data(tmp_path):
    return text_of(own_text(tmp_path / "text"), offset=0)


def test_of_a_dense_language_network_the_extra_scale_starts_at_1_and_is_decayed(data):
    task = words_task()
    P = copied(task.network)
    scales = {name for name in P if name.endswith("norm.weight")}
    assert sum(map(is_extra, scales)) == 1 and len(scales) == 2 * 3 + 2 + 1
    for name in scales:
        assert torch.equal(P[name], torch.full_like(P[name], 1.0 if is_extra(name) else torch.tensor(0.1).item()))
    decayed = {name for name in P if P[name].ndim > 1 or is_extra(name)}
    # Biases before a batch norm have no gradient but rounding, which Adam divides by its own size.
    assert ten_of_words(task, decayed, P, data) < 1e-8


def test_not_decayed_it_ends_elsewhere(data):
    task = words_task()
    P = copied(task.network)
    apart = ten_of_words(task, {name for name in P if P[name].ndim > 1}, P, data)
    assert 1e-5 < apart < 1
    others = words_task("task.last_scale=null").network.body
    assert torch.equal(others.transitions[1].norm.weight[0], others.denses[0].norm.weight[0])


@pytest.mark.parametrize(
    "experiment, expected", [("ptb_word", True), ("fast/ptb_word", True), ("quick/ptb_word", False)]
)
def test_of_the_residual_network_too_it_is_decayed(experiment, expected):
    """Published at quick without; it starts at 1 as all its scales."""
    task = task_of(experiment, "res_indrnn")
    (end,) = (module for module in task.network.modules() if isinstance(module, LastTransition))
    decayed, others = task.adam.param_groups
    assert any(p is end.norm.weight for p in (decayed if expected else others)["params"])
    assert not any(p is end.layer.norm.weight for p in decayed["params"]) and (end.norm.weight == 1).all()
    assert len(decayed["params"]) + len(others["params"]) == len(list(task.network.parameters()))


def test_another_word_is_refused():
    with pytest.raises(UserError, match="task.decay_norm must be all, last or null, not none"):
        Regression(nn.Linear(2, 1), Constant(1e-3), 0, 1, 1, decay_norm="none")
