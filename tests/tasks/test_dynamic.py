"""Dynamic evaluation: what it computes, what it leaves alone, that it helps. Shapes: T time, B columns, V tokens."""

import copy

import numpy as np
import pytest
import torch
from small_language import overrides, own_text, task_of, text_of
from test_config import MODELS
from test_run import folder, rows_of
from torch import nn
from torch.nn import functional as F

from indrnn import configs, record
from indrnn.data import TEST, VAL
from indrnn.data.text import PADDING
from indrnn.errors import UserError
from indrnn.tasks.dynamic import Dynamic
from indrnn.training.run import train

USUAL = {"learning_rate": 1e-3, "decay": 0.02, "epsilon": 1e-5, "segment": 7, "clip": 10.0}


@pytest.fixture(autouse=True)
def one_thread():
    """As in a run; two threads on a busy machine wait for each other."""
    torch.set_num_threads(1)


class Reader:
    """Mean nll of a batch in the dtype of the network; carries the state and remembers the weights it had."""

    def __init__(self, network: nn.Module):
        self.network, self.state, self.weights = network, None, []

    def __call__(self, batch):
        x, y, lengths, fresh = batch
        self.weights.append([p.detach().clone() for p in self.network.parameters()])
        logits, state = self.network(x.t(), None if fresh else self.state, lengths)
        self.state = detached(state)
        nll = F.cross_entropy(logits.flatten(0, 1), y.t().flatten(), ignore_index=PADDING)
        return nll, (y != PADDING).sum()


def detached(state):
    if isinstance(state, torch.Tensor):
        return state.detach()
    return type(state)(detached(part) for part in state) if isinstance(state, list | tuple) else state


@pytest.fixture
def data(tmp_path):
    return text_of(own_text(tmp_path / "text"))


def network_of(model: str, dtype=torch.float64) -> nn.Module:
    return task_of("ptb_word", model, "recipe.embedding_range=0.5").network.to(dtype).eval()


def static(network: nn.Module, batches) -> float:
    reader = Reader(network)
    with torch.no_grad():
        parts = [reader(batch) for batch in batches]
    return (sum(nll.double() * n for nll, n in parts) / sum(n for _, n in parts)).item()


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_a_learning_rate_of_0_is_static_evaluation(data, model, dtype, tolerance):
    """Of the validation split, whose three columns end apart; whatever the segment and the decay."""
    network, training = network_of(model, dtype), data.gradient_batches(4)[:2]
    expected = static(network, data.eval_batches(VAL))

    def dynamic(rate: float, decay: float, segment: int) -> float:
        found = Dynamic(rate, decay, 1e-5, segment, clip=10.0)
        return found.evaluate(network, Reader(network), training, data.segments(VAL, segment))

    assert dynamic(0.0, 0.02, 7) == pytest.approx(expected, abs=tolerance)
    assert dynamic(0.0, 1e9, 12) == pytest.approx(expected, abs=tolerance)
    assert abs(dynamic(1e-3, 0.02, 7) - expected) > 1e-4, "learning plays no part"


CLIP = 0.02


def gradients(network: nn.Module, nll: torch.Tensor) -> list[torch.Tensor]:
    network.zero_grad()
    nll.backward()
    return [p.grad.clip(-CLIP, CLIP) for p in network.parameters()]


@pytest.mark.parametrize("model, rate", [("indrnn", 0.4), ("res_indrnn", 0.4), ("gru", 1e-3)])
def test_it_is_the_equation_segment_by_segment(data, model, rate):
    """θ - η g / (sqrt(mean g²) + ε) + λ d (θ₀ - θ) with d = min(sqrt(mean g²) / their mean, 1 / λ).

    Their mean: of the means of the tensors, as in the authors' code. g is clipped, also where its squares are taken.
    """
    decay, epsilon, network = 0.8, 1e-3, network_of(model)
    training, test = data.gradient_batches(20), data.segments(TEST, 20)[:3]
    assert [batch[0].shape[1] for batch in training] == [20, 20, 20, 20, 15] and len(training[0][0]) == 3
    hand, reader = copy.deepcopy(network), Reader(network)
    found = Dynamic(rate, decay, epsilon, 20, CLIP).evaluate(network, reader, training, test)

    read = Reader(hand)
    squares = [[g.square() for g in gradients(hand, read(batch)[0])] for batch in training]
    roots = [torch.stack(of_weight).mean(0).sqrt() for of_weight in zip(*squares, strict=True)]
    mean = sum(r.mean() for r in roots) / len(roots)
    assert abs(mean / torch.cat([r.flatten() for r in roots]).mean() - 1) > 0.1, "over all weights it is the same"
    assert any(r.max() == pytest.approx(CLIP) for r in roots) and min(r.max() for r in roots) < CLIP / 2
    ds = [torch.where(r / mean < 1 / decay, r / mean, 1 / decay) for r in roots]
    theta0 = [p.detach().clone() for p in hand.parameters()]
    total, at_bound = 0.0, 0
    for batch in test:
        nll, tokens = read(batch)
        total += nll.item() * tokens.item()
        gs = gradients(hand, nll)
        with torch.no_grad():
            for (name, p), p0, g, r, d in zip(hand.named_parameters(), theta0, gs, roots, ds, strict=True):
                p.copy_(p - rate * g / (r + epsilon) + decay * d * (p0 - p))
                if name.endswith(".u"):
                    p.copy_(p.clip(-0.99, 0.99))
                    at_bound += int((p.abs() == 0.99).sum())
    assert found == pytest.approx(total / sum((y != PADDING).sum().item() for _, y, _, _ in test), abs=1e-12)
    assert len(reader.weights) == len(read.weights) == 8
    for ours, theirs in zip(reader.weights, read.weights, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    assert at_bound or model == "gru", "the bound plays no part"


@pytest.mark.parametrize("fails", [False, True])
def test_the_weights_are_afterwards_what_they_were(data, fails):
    network = network_of("indrnn", torch.float32)
    before, reader = copy.deepcopy(network.state_dict()), Reader(network)

    def measure(batch):
        if fails and len(reader.weights) > 30:
            raise KeyboardInterrupt
        return reader(batch)

    try:
        Dynamic(**USUAL).evaluate(network, measure, data.gradient_batches(4), data.segments(TEST, 2))
    except KeyboardInterrupt:
        assert fails
    assert any(not torch.equal(a, b) for a, b in zip(reader.weights[0], reader.weights[-1], strict=True))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("decay, left", [(0.0, "all"), (0.02, "less and less"), (1e9, "none")])
def test_decay_pulls_towards_the_trained_weights(data, decay, left):
    """The network learns from the first segment only; how far it is from home at the later ones."""
    network = network_of("gru")
    reader, training, test = Reader(network), data.gradient_batches(4), data.segments(TEST, 5)

    def measure(batch):
        nll, tokens = reader(batch)
        return (nll * 0 if len(reader.weights) > len(training) + 1 else nll), tokens

    Dynamic(1e-3, decay, 1e-5, 5, clip=10.0).evaluate(network, measure, training, test)
    home, *later = (torch.cat([p.flatten() for p in weights]) for weights in reader.weights[len(training) :])
    away = [(weights - home).norm().item() for weights in later]
    assert away[0] > 1e-3 and len(away) > 5
    if left == "all":
        assert away[1:] == pytest.approx([away[0]] * len(away[1:]))
    elif left == "none":
        assert max(away[1:]) < 1e-12
    else:
        assert all(b < a for a, b in zip(away, away[1:], strict=False)) and away[-1] > 1e-6


def test_a_text_that_repeats_itself_is_learned(tmp_path):
    source = own_text(tmp_path / "text")
    (source / "test.txt").write_text("bird cat the dog sat\n" * 20)
    data, network = text_of(source), network_of("gru")
    before = static(network, data.eval_batches(TEST))
    dynamic = Dynamic(0.01, 0.01, 1e-4, 6, clip=10.0)
    after = dynamic.evaluate(network, Reader(network), data.gradient_batches(4), data.segments(TEST, 6))
    assert after < 0.7 * before and np.isfinite(after)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"learning_rate": -1e-3}, "dynamic.learning_rate must be at least 0, not -0.001"),
        ({"learning_rate": float("nan")}, "dynamic.learning_rate must be at least 0, not nan"),
        ({"decay": -1.0}, "dynamic.decay must be at least 0, not -1.0"),
        ({"epsilon": 0.0}, "dynamic.epsilon must be above 0, not 0.0"),
        ({"epsilon": float("nan")}, "dynamic.epsilon must be above 0, not nan"),
        ({"segment": 0}, "segment must be a whole number of at least 1, not 0"),
        ({"segment": 2.5}, "segment must be a whole number"),
        ({"batches": 0}, "batches must be a whole number of at least 1, not 0"),
        ({"clip": 0.0}, "dynamic.clip must be above 0, not 0.0"),
        ({"clip": float("nan")}, "dynamic.clip must be above 0, not nan"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense(change, message):
    with pytest.raises(UserError, match=message):
        Dynamic(**USUAL | change)


@pytest.mark.parametrize("model, experiment", [("indrnn", "ptb_char"), ("lstm", "ptb_word")])
def test_a_run_tests_dynamically_beside_statically(config, tmp_path, monkeypatch, model, experiment):
    """What stands in the record without it stands there with it; and another run it is."""
    original, widths = Dynamic.evaluate, []

    def evaluate(dynamic, network, measure, training, test):
        training, test = list(training), list(test)
        widths.extend({batch[0].shape[1] for batch in batches[:-1]} for batches in (training, test))
        return original(dynamic, network, measure, training, test)

    monkeypatch.setattr(Dynamic, "evaluate", evaluate)
    source = own_text(tmp_path / "text")
    usual = overrides(experiment, model, f"data.source={source}", "trainer.max_updates=6", "trainer.val_every=3")
    usual = [*usual, "recipe.learning_rate=0.01"]
    cfg = config(*usual, "+dynamic@task.dynamic=rms", "task.dynamic.learning_rate=1e-4")
    plain, done = train(config(*usual)), train(cfg)
    assert widths == [{20}, {20}], "statistics and test take segments of as many steps"
    name = {"ptb_char": "test/dynamic_bpc", "ptb_word": "test/dynamic_ppl"}[experiment]
    assert set(done["metrics"]) == {*plain["metrics"], name} and done["signature"] != plain["signature"]
    assert {key: done["metrics"][key] for key in plain["metrics"]} == plain["metrics"]
    assert rows_of(cfg) == rows_of(config(*usual))
    found, still = done["metrics"][name], done["metrics"][name.replace("dynamic_", "")]
    assert found != still and found == pytest.approx(still, rel=0.2)
    assert record.read(folder(cfg)) == done and done["config"]["task"]["dynamic"]["segment"] == 20


def test_rms_is_p19s():
    cfg = configs.build(["experiment=ptb_word", "model=dense_indrnn", "+dynamic@task.dynamic=rms"])
    assert cfg.task.dynamic == {
        "_target_": "indrnn.tasks.dynamic.Dynamic",
        "learning_rate": 2.4e-6,
        "decay": 0.016,
        "epsilon": 2e-5,
        "segment": 20,
        "clip": 10.0,
        "batches": None,
    }
