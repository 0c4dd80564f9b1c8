"""Language models: size, causality, state, tying, dropout, loss, resumed runs. Shapes: T time, B columns, V tokens."""

import copy
import functools
import math

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from small_language import overrides, own_text, task_of, text_of
from test_config import MODELS
from test_run import Killed, folder, kill_at, rows_of
from torch import nn

from indrnn import configs, record
from indrnn.data import TEST, TRAIN, VAL
from indrnn.data.text import Text
from indrnn.errors import UserError
from indrnn.layers import IndRNNLayer, IndRNNUnit
from indrnn.layers.norm_dropout import FrameBatchNorm, recompute_batch_norm
from indrnn.training.run import build, train

EXPERIMENTS = ["ptb_char", "ptb_word"]
T, B, V = 9, 4, 8


@pytest.fixture(autouse=True)
def one_thread():
    """As in a run; two threads on a busy machine wait for each other."""
    torch.set_num_threads(1)


def parameters(*choice: str) -> int:
    cfg = configs.build(choice)
    with torch.device("meta"):
        task = instantiate(cfg.task, network=instantiate(cfg.model))
    return sum(p.numel() for p in task.network.parameters())


@pytest.mark.parametrize(
    "choice, count",
    [
        (("experiment=ptb_char", "model=indrnn"), 24_248_050),
        (("experiment=ptb_char", "model=res_indrnn"), 44_288_050),
        (("experiment=ptb_char", "model=res_indrnn", "model.num_layers=21"), 84_368_050),
        (("experiment=ptb_char", "model=dense_indrnn"), 45_675_762),
        (("experiment=ptb_word", "model=res_indrnn"), 48_501_600),
        (("experiment=ptb_word", "model=dense_indrnn"), 51_655_712),
    ],
    ids=str,
)
def test_parameters_are_those_of_the_papers_networks(choice, count):
    assert parameters(*choice) == count


@pytest.mark.parametrize("experiment, count", [("ptb_char", 24_248_050), ("ptb_word", 48_501_600)])
@pytest.mark.parametrize("model", ["lstm", "gru", "irnn", "rnn_tanh"])
def test_baselines_have_as_many_parameters(experiment, model, count):
    assert parameters(f"experiment={experiment}", f"model={model}") == pytest.approx(count, rel=0.005)


# What a network computes


def network_of(experiment: str, model: str) -> nn.Module:
    """In evaluation mode, with statistics that differ from position to position."""
    return copy.deepcopy(made(experiment, model))


@functools.cache
def made(experiment: str, model: str) -> nn.Module:
    network = task_of(experiment, model).network.double()
    recompute_batch_norm(network, [torch.randint(V, (2 * T, 16)) for _ in range(2)])
    return network.eval()


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("model", MODELS)
def test_no_logit_depends_on_a_later_token(experiment, model, train):
    """In training, too: batch norm is frame-wise, and masks are the same for all steps."""
    network, x = network_of(experiment, model).train(train), torch.randint(V, (T, B))
    other = x.clone()
    other[5:] = (x[5:] + 1 + torch.randint(V - 1, x[5:].shape)) % V
    torch.manual_seed(1)
    y, _ = network(x)
    torch.manual_seed(1)
    changed, _ = network(other)
    assert torch.equal(y[:5], changed[:5]) and not torch.allclose(y[5], changed[5])


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("model", MODELS)
def test_carried_state_is_one_long_sequence(experiment, model):
    network, x = network_of(experiment, model), torch.randint(V, (T, B))
    whole, _ = network(x)
    parts, state = [], None
    for part in x.split([3, 1, 5]):
        y, state = network(part, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts), whole)
    assert not torch.allclose(network(x[3:])[0], whole[3:]), "the state plays no part"


@pytest.mark.parametrize("model", ["indrnn", "res_indrnn", "dense_indrnn", "lstm"])
def test_a_tied_decoder_is_the_embedding(model):
    tied, untied = (task_of(experiment, model).network for experiment in ("ptb_word", "ptb_char"))
    assert tied.head.weight is tied.embedding.weight and not tied.head.bias.any()
    assert (untied.head.weight is untied.embedding.weight) == (model == "dense_indrnn")  # its recipe ties by characters
    assert (tied.project is not None) == (model in ("indrnn", "lstm")), "6 features, an embedding of 5"
    tied.load_state_dict({name: 2 * tensor for name, tensor in tied.state_dict().items()})
    assert tied.head.weight is tied.embedding.weight
    assert [name for name, _ in tied.named_parameters() if "head" in name] == ["head.bias"]


# Dropout


def test_a_dropped_word_is_dropped_wherever_it_stands():
    network = task_of("ptb_word", "indrnn", "recipe.dropout_embedding=0", "recipe.dropout_words=0.5").network
    x = torch.randint(V, (40, 30))
    y, kept = network.train().embed(x), set()
    for word in range(V):
        found = y[x == word]
        scale = 2 * network.embedding.weight[word] if found.any() else torch.zeros(5)
        torch.testing.assert_close(found, scale.expand_as(found))
        kept.add(bool(found.any()))
    assert kept == {True, False}
    assert torch.equal(network.eval().embed(x), network.embedding(x))


def test_dropout_of_the_embedding_is_the_same_at_all_steps():
    network = task_of("ptb_word", "indrnn", "recipe.dropout_embedding=0.5", "recipe.dropout_words=0").network
    x = torch.randint(V, (40, 30))
    y = network.train().embed(x) / network.embedding(x)
    assert torch.equal(y, y[:1].expand_as(y)) and sorted(y.unique().tolist()) == [0, 2]
    assert len(y[0].unique(dim=0)) > 10, "every column has a mask of its own"


@pytest.mark.parametrize(
    "model, places",
    [
        ("indrnn", {"layers.0": 0.45, "layers.1": 0.5}),
        ("res_indrnn", {"units.0": 0.45, "units.1": 0.45, "units.2": 0.5, "last": 0.65, "last.layer": 0.0}),
        (
            "dense_indrnn",
            {"bottlenecks.0": 0.1, "denses.1": 0.5, "transitions.0": 0.4, "transitions.1": 0.65},
        ),
    ],
)
def test_every_place_has_its_own_dropout(model, places):
    network = task_of("ptb_word", model).network
    assert {name: network.body.get_submodule(name).dropout.p for name in places} == places
    assert network.dropout.p == 0.65 and network.dropout_words.p == 0.2


# Initial values


def test_small_norm_starts_kaiming_and_with_small_scales():
    network = task_of("ptb_word", "dense_indrnn", "recipe.embedding_size=50", "model.growth=30").network
    layers = [module for module in network.modules() if isinstance(module, IndRNNLayer)]
    norms = [module for module in network.modules() if isinstance(module, FrameBatchNorm)]
    assert len(layers) == 8 and len(norms) == 9  # one more at the end
    for layer in layers:
        kaiming = math.sqrt(6 / layer.input_size)
        assert 0.98 * kaiming < layer.weight_ih.abs().max() <= kaiming
    assert all((norm.weight == 0.1).all() for norm in norms[:-1]) and not any(norm.bias.any() for norm in norms)
    assert norms[-1] is network.body.transitions[-1].norm and (norms[-1].weight == 1).all(), "theirs is left out of it"
    assert 0.009 < network.embedding.weight.abs().max() <= 0.01


def test_without_small_norm_they_start_as_published():
    network = task_of("ptb_word", "res_indrnn", "recipe.embedding_size=50", "recipe.hidden_size=60").network
    kaiming = math.sqrt(6 / (65 * 60))
    assert all(0.95 * kaiming < linear.weight.abs().max() <= kaiming for linear in network.body.linears)
    assert all((m.weight == 1).all() for m in network.modules() if isinstance(m, FrameBatchNorm))


def test_u_starts_in_its_range_or_normal_within_the_bound():
    def drawn(*more):
        network = task_of("ptb_word", "res_indrnn", "recipe.hidden_size=400", *more).network
        return torch.cat([unit.u for unit in network.modules() if isinstance(unit, IndRNNUnit)])

    u, normal, wide = drawn(), drawn("task.u_normal=[0.4,0.2]"), drawn("task.u_normal=[0.4,5]")
    assert 0 <= u.min() < 0.01 and 0.98 < u.max() <= 0.99 and len(u) == 3 * 400 + 5
    assert normal.mean().item() == pytest.approx(0.4, abs=0.02) and normal.std().item() == pytest.approx(0.2, abs=0.02)
    assert -0.5 < normal.min() < -0.05 and normal.max() <= 0.99
    assert wide.abs().max() <= 0.99 and 0.7 < (wide.abs() == 0.99).float().mean() < 0.95


# Training


@pytest.fixture
def data(tmp_path):
    return text_of(own_text(tmp_path / "text"))


def ragged(data) -> tuple:
    """The last batch of an epoch, which not all columns fill."""
    batch = data.train_batch(len(data.epoch(0)) - 1)
    assert batch[2] is not None and len(set(batch[2].tolist())) == 2
    return batch


@pytest.mark.parametrize("model", ["indrnn", "res_indrnn", "dense_indrnn"])
def test_saved_memory_costs_no_bit(data, model):
    """Two updates with carried state and one whose columns end apart, with dropout everywhere."""
    found, kept = {}, {}
    for save in (False, True):
        task, saved = task_of("ptb_word", model), []
        task.network.body.save_memory = save
        for number, batch in enumerate((data.train_batch(0), data.train_batch(1), ragged(data))):
            torch.manual_seed(number)
            with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):  # noqa: B023
                loss, _ = task.measure(batch)
            loss.backward()
        found[save] = [loss, *(p.grad for p in task.network.parameters())]
        kept[save] = sum(saved)
    assert all(torch.equal(a, b) for a, b in zip(*found.values(), strict=True))
    assert all(gradient.any() for gradient in found[True]) and kept[True] < kept[False] / 2


@pytest.mark.parametrize("model", ["indrnn", "res_indrnn", "dense_indrnn", "gru"])
def test_the_loss_of_a_ragged_batch_is_the_mean_over_its_tokens(data, model):
    task = task_of("ptb_word", model)
    task.measure(data.train_batch(len(data.epoch(0)) - 2))
    carried, (x, y, lengths, fresh) = task.carried, ragged(data)
    torch.manual_seed(1)
    nll, tokens = task.measure((x, y, lengths, fresh))
    torch.manual_seed(1)
    logits, _ = task.network(x.t(), carried, lengths)
    logp = logits.log_softmax(2)
    each = [logp[t, b, y[b, t]] for b in range(len(x)) for t in range(lengths[b])]
    assert tokens == len(each) == lengths.sum()
    torch.testing.assert_close(nll, -torch.stack(each).mean())
    task.carried, padded = carried, x.clone()
    padded[torch.arange(x.shape[1]) >= lengths[:, None]] += 1  # the padding is another word
    padded %= V
    torch.manual_seed(1)
    assert task.measure((padded, y, lengths, fresh))[0] == nll and not torch.equal(padded, x)


def test_state_is_carried_until_a_batch_is_fresh(data):
    task, (x, y, _, _) = task_of("ptb_word", "lstm", "recipe.embedding_range=1").eval(), data.train_batch(0)
    first = task.measure((x, y, None, True))[0]
    later, again = (task.measure((x, y, None, fresh))[0] for fresh in (False, True))
    assert first == again != later and not any(h.requires_grad for h in task.carried)


def by_token(network: nn.Module, tokens: np.ndarray, columns: int) -> float:
    """nll, one column after the other, one token after the other."""
    total, before = 0.0, 0
    with torch.no_grad():
        for column in np.array_split(tokens, columns):
            state = None
            for token in column.tolist():
                logits, state = network(torch.tensor([[before]]), state)
                total -= logits.double().log_softmax(2)[0, 0, token].item()
                before = token
    return total / len(tokens)


@pytest.mark.parametrize(
    "experiment, model", [("ptb_word", "res_indrnn"), ("ptb_char", "indrnn"), ("ptb_char", "lstm")]
)
def test_the_record_has_true_means_over_all_tokens(config, tmp_path, experiment, model):
    source = own_text(tmp_path / "text")
    short = ("trainer.max_updates=8", "trainer.val_every=4", f"data.source={source}", "recipe.learning_rate=0.01")
    cfg = config(*overrides(experiment, model, *short))
    done, (_, task) = train(cfg), build(cfg)
    weights = torch.load(folder(cfg) / "weights.pt", weights_only=True)
    task.network.load_state_dict(weights)
    network, splits, metrics = task.network.eval(), text_of(source).corpus.splits, done["metrics"]
    test = by_token(network, splits[TEST], 1)
    name, of = {"ptb_word": ("ppl", math.exp), "ptb_char": ("bpc", lambda nll: nll / math.log(2))}[experiment]
    assert metrics["test/loss"] == pytest.approx(test, abs=1e-5)
    assert metrics[f"test/{name}"] == pytest.approx(of(test), rel=1e-5)
    assert metrics[f"val/{name}"] == pytest.approx(of(by_token(network, splits[VAL], 3)), rel=1e-5)
    assert metrics["test/tokens"] == len(splits[TEST]) and done["data"]["tokens"] == [len(s) for s in splits]


@pytest.mark.parametrize("model", ["res_indrnn", "lstm"])
def test_evaluation_does_not_depend_on_the_batch_size(tmp_path, model):
    task, found = task_of("ptb_word", model), []
    task.network = network_of("ptb_word", model).float()
    for batch_size in (2, 3, 20):
        data = text_of(own_text(tmp_path / "text"), batch_size=batch_size)
        with torch.no_grad():
            parts = [task.measure(batch) for batch in data.eval_batches(VAL)]
        found.append(sum((nll.double() * n).item() for nll, n in parts) / len(data.corpus.splits[VAL]))
    assert found[0] == pytest.approx(found[1], abs=1e-6) == pytest.approx(found[2], abs=1e-6)


# Runs

RUN = ("trainer.max_updates=24", "trainer.val_every=3", "data.vary_length=true", "data.reset=3", "data.seq_len=6")
RECIPES = {
    "residual": overrides("ptb_word", "res_indrnn", *RUN, "recipe.learning_rate=0.2", "recipe.patience=0"),
    "gru": overrides("ptb_char", "gru", *RUN, "data.reset=0"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_killed_and_started_again_ends_with_the_same_bits(config, tmp_path, monkeypatch, name):
    """Kills in the middle of an epoch, where the carried state counts, and in its validations and test."""
    monkeypatch.setattr("indrnn.tasks.CALIBRATION_EXAMPLES", 40)
    recipe = [*RECIPES[name], f"data.source={own_text(tmp_path / 'text')}"]
    undisturbed = config(*recipe, f"machine.runs={tmp_path / 'undisturbed'}")
    expected = train(undisturbed)
    if name == "residual":
        assert len({row.split(",")[1] for row in rows_of(undisturbed)[1:]}) > 1, "no best weights were reloaded"
    cfg = config(*recipe, "machine.checkpoint_seconds=0")
    for method, update in (
        ("on_train_batch_start", 4),
        ("validation_step", 6),
        ("on_train_batch_start", 9),
        ("on_train_batch_end", 16),
        ("test_step", 24),
    ):
        kill_at(monkeypatch, method, update)
        with pytest.raises(Killed):
            train(cfg)
    done = train(cfg)
    assert done["metrics"] == expected["metrics"] and done["status"] == "finished"
    assert rows_of(cfg) == rows_of(undisturbed)
    weights = [torch.load(folder(c) / "weights.pt", weights_only=True) for c in (cfg, undisturbed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_a_checkpoint_with_another_vocabulary_of_equal_size_is_refused(config, tmp_path, monkeypatch):
    """One of an earlier version, which took no digest of the text."""
    monkeypatch.setattr(Text, "digest", lambda data: None)
    source = own_text(tmp_path / "text")
    recipe = [*RECIPES["gru"], f"data.source={source}"]
    assert train(config(*recipe, "trainer.max_time=0"))["status"] == "interrupted"
    own_text(source, ("bird", "cow", "dog", "fish", "ran", "sat", "the"))
    with pytest.raises(
        UserError, match=r"another vocabulary \([0-9a-f]{12}\) than the text has \([0-9a-f]{12}\)"
    ) as error:
        train(config(*recipe))
    assert "\n" not in str(error.value) and record.read(folder(config(*recipe)))["updates"] == 0
    own_text(source)
    assert train(config(*recipe))["status"] == "finished"


def test_a_language_model_trains_on_one_device(config):
    with pytest.raises(UserError, match="one device: set machine.devices=1"):
        train(config(*overrides("ptb_char", "indrnn"), "machine.devices=2"))


def test_the_metric_must_be_known():
    with pytest.raises(Exception, match="task.metric must be bpc or ppl, not accuracy"):
        task_of("ptb_char", "lstm", "task.metric=accuracy")


def test_the_recipes_above_are_small_and_whole(data):
    """An epoch has more updates than lie between two validations, so that state is carried over one."""
    assert len(data.corpus.vocabulary) == V and len(data.epoch(0)) > 12
    assert len(data.corpus.splits[TRAIN]) % 3 and len(data.corpus.splits[VAL]) % 3
