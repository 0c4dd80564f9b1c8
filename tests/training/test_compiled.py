"""machine.compile: one graph, the eager numbers and names, and eager again where nothing compiles."""

import functools

import pytest
import torch
from small_language import overrides, own_text
from test_run import DIGITS, SMALL, folder, rows_of
from torch._dynamo.backends.common import aot_autograd
from torch.utils._pytree import tree_map_only

from indrnn.errors import OutOfMemory, UserError
from indrnn.layers.norm_dropout import recompute_batch_norm
from indrnn.networks import PlainIndRNN, ResidualIndRNN, lstm
from indrnn.networks.dense import DenseIndRNN
from indrnn.networks.language import LanguageNetwork
from indrnn.tasks import Task
from indrnn.training.compiled import compile_, how
from indrnn.training.run import build, train

# Torch warns of itself while it compiles, and a warning that is an error would be a failed compilation.
pytestmark = pytest.mark.filterwarnings("default")
SIZES = {"input_size": 6, "output_size": 5, "seq_len": 7, "gamma": 2.0}
NETWORKS = {
    "plain": lambda **more: PlainIndRNN(**SIZES, hidden_size=8, num_layers=2, dropout=0.3, **more),
    "residual": lambda **more: ResidualIndRNN(**SIZES, hidden_size=8, num_layers=3, dropout=0.3, **more),
    "dense": lambda **more: DenseIndRNN(**SIZES, growth=4, blocks=[2], dropout_dense=0.3, **more),
}


def steps(network, state_goes_on, inputs=None):
    """Outputs, gradients and last state of three training steps in a row."""
    state, found = None, []
    for i in range(3):
        torch.manual_seed(i)
        x = torch.randn(7, 4, 6) if inputs is None else inputs
        h, end = network.features(x, state)
        weights = [p for name, p in network.named_parameters() if "head" not in name]
        found += [h, *torch.autograd.grad(h.square().sum(), weights)]
        state = tree_map_only(torch.Tensor, torch.Tensor.detach, end) if state_goes_on else None
    return found, end


@pytest.mark.parametrize("save_memory", [False, True], ids=["", "save_memory"])
@pytest.mark.parametrize("norm", ["after", "before", None])
@pytest.mark.parametrize("kind", NETWORKS)
def test_training_compiles_without_a_break_into_the_same_numbers(kind, norm, save_memory):
    torch.manual_seed(0)
    eager = NETWORKS[kind](batch_norm=norm)
    fast = NETWORKS[kind](batch_norm=norm)
    fast.load_state_dict(eager.state_dict())
    eager.save_memory = fast.save_memory = save_memory
    compile_(fast, "default", backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(steps(fast, False)[0], steps(eager, False)[0], rtol=1e-5, atol=1e-5)
    assert not fast.features.failed and fast.state_dict().keys() == eager.state_dict().keys()
    running = [name for name in eager.state_dict() if "running" in name]
    assert save_memory or all(torch.equal(fast.state_dict()[n], eager.state_dict()[n]) for n in running)


def test_a_carried_state_with_positions_compiles_once_more_and_then_never():
    def language():
        torch.manual_seed(0)
        return LanguageNetwork(NETWORKS["plain"](batch_norm="before", frame_wise=True), 6, 0.1, True, 0.2, 0.2)

    eager, fast = language(), language()
    compile_(fast, "default", backend="aot_eager", fullgraph=True)
    torch._dynamo.utils.counters.clear()
    tokens = torch.arange(28).view(7, 4) % 5
    (ours, end), (exact, last) = steps(fast, True, tokens), steps(eager, True, tokens)
    torch.testing.assert_close(ours, exact)
    assert [pair[1] for pair in end] == [pair[1] for pair in last] == [21, 21] and not fast.features.failed
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2


def test_evaluation_and_statistics_stay_eager():
    network = NETWORKS["plain"](batch_norm="after")
    compile_(network, "default")
    network.features.fast = None  # would be called
    recompute_batch_norm(network, [torch.randn(7, 4, 6)])
    network.eval()
    network(torch.randn(7, 4, 6))
    network.train()
    with torch.no_grad():
        network.features(torch.randn(7, 4, 6))


def test_networks_of_torch_stay_as_they_are():
    network = lstm(input_size=6, output_size=5, hidden_size=8, num_layers=1)
    assert how(network) is None
    compile_(network, "default")
    assert "features" not in vars(network) and how(network) == "eager: torch's own LSTM, GRU or RNN"


def epochs(task, data, updates):
    """Losses, gradients and states of training on in a text, and what each piece is: T, fresh, ragged."""
    found, pieces = [], []
    for i in range(updates):
        x, y, lengths, fresh = data.train_batch(i)
        torch.manual_seed(i)
        loss, _ = task.measure((x, y, lengths, fresh))
        found += [loss, *torch.autograd.grad(loss, list(task.network.parameters())), task.carried]
        pieces.append((x.shape[1], fresh, lengths is not None))
    return found, pieces


def of_text(config, tmp_path, monkeypatch, *more):
    """Eager task, compiled task and data of a run whose ``compile_`` needs no compiler."""
    monkeypatch.setattr(
        "indrnn.training.run.compile_", functools.partial(compile_, backend="aot_eager", fullgraph=True)
    )
    words = overrides("ptb_char", "indrnn", f"data.source={own_text(tmp_path / 'text')}", "recipe.dropout=0.3", *more)
    eager, (data, fast) = build(config(*words))[1], build(config(*words, "machine.compile=default"))
    data.setup()
    return eager, fast, data


@pytest.mark.parametrize(
    "words",
    [
        ("data.reset=4", "data.offset=3", "data.seq_len=5", "data.batch_size=4", "seed=1"),
        ("data.vary_length=true", "data.reset=4", "data.seq_len=8"),
    ],
    ids=["odd, ragged and fresh pieces", "many lengths"],
)
def test_all_pieces_of_a_text_compile(config, tmp_path, monkeypatch, words):
    eager, fast, data = of_text(config, tmp_path, monkeypatch, *words)
    assert how(fast.network) == "default" and how(eager.network) is None
    torch._dynamo.utils.counters.clear()
    monkeypatch.setattr(fast.network.features, "eager", None)  # would be called
    (ours, pieces), (exact, _) = epochs(fast, data, 50), epochs(eager, data, 50)
    torch.testing.assert_close(ours, exact)
    assert len(set(pieces)) > 4
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs < torch._dynamo.config.recompile_limit, "torch goes on eagerly and says nothing"


@pytest.mark.parametrize("at", ["forward", "backward", "after drawing"])
def test_where_compiling_fails_training_goes_on_with_the_same_numbers(config, monkeypatch, caplog, at):
    cfg = config(*DIGITS, "recipe.dropout=0.3", "trainer.max_updates=2", f"machine.runs={folder(config()).parent / at}")
    expected = train(cfg)

    def fail(graph, inputs):
        torch.rand(3 if at == "after drawing" else 0)
        raise RuntimeError("no working C++ compiler\nis here")

    backend = aot_autograd(fw_compiler=lambda graph, _: graph, bw_compiler=fail) if at == "backward" else fail
    networks = []

    def compiling(network, *words, **more):
        compile_(network, *words, **more, backend=backend)
        networks.append((network, how(network)))

    monkeypatch.setattr("indrnn.training.run.compile_", compiling)
    again = config(*DIGITS, "recipe.dropout=0.3", "trainer.max_updates=2", "machine.compile=default")
    done = train(again)
    assert done["metrics"] == expected["metrics"] and rows_of(again) == rows_of(cfg)
    [(network, before)] = networks
    assert before == "default" and how(network) == "eager: RuntimeError: no working C++ compiler"
    said = [r.message for r in caplog.records if "machine.compile" in r.message]
    assert said == [
        "The network could not be compiled (RuntimeError: no working C++ compiler): the run goes on eagerly and is "
        "slower than with machine.compile=default; its end and its record say so again.",
        "This run was trained without machine.compile=default (eager: RuntimeError: no working C++ compiler).",
    ]
    assert [sitting["compile"] for sitting in done["sittings"]] == [how(network)]


def test_memory_that_runs_out_while_compiling_is_no_failed_compilation(config, monkeypatch):
    def full(graph, inputs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("indrnn.training.run.compile_", functools.partial(compile_, backend=full))
    with pytest.raises(OutOfMemory, match="asked for 2 GiB"):
        train(config(*DIGITS, "machine.compile=default"))


def test_the_word_for_what_a_graph_does_now_is_told_and_passed_over(config, tmp_path, caplog):
    expected = train(config(*SMALL, f"machine.runs={tmp_path / 'plain'}"))
    assert train(config(*SMALL, "machine.compile=reduce-overhead"))["metrics"] == expected["metrics"]
    assert "machine.compile=reduce-overhead is gone: with machine=gpu a whole update is a CUDA graph." in caplog.text


def test_words_that_make_no_sense_are_refused(config):
    with pytest.raises(UserError, match="machine.compile must be null or default, not 'fast'"):
        train(config(*SMALL, "machine.compile=fast"))
    with pytest.raises(UserError, match="machine.compile works on one device"):
        train(config(*SMALL, "machine.compile=default", "machine.devices=2"))
    with pytest.raises(UserError, match="trainer.precision must be 32-true, tf32, bf16-mixed, not '16-mixed'"):
        train(config(*SMALL, "trainer.precision=16-mixed"))  # loss scaling and a fused Adam do not go together
    with pytest.raises(UserError, match="Few CPUs have an LSTM in bf16: set trainer.precision=32-true"):
        train(config(*SMALL, "trainer.precision=bf16-mixed", "model=lstm"))


@pytest.mark.parametrize("precision, products", [("tf32", "high"), ("32-true", "highest")])
def test_tf32_is_of_one_run_and_changes_nothing_on_a_cpu(config, monkeypatch, precision, products):
    torch.set_float32_matmul_precision("high" if products == "highest" else "highest")  # of the run before
    cfg = config(*SMALL, f"trainer.precision={precision}")
    assert train(cfg)["status"] == "finished"
    assert torch.get_float32_matmul_precision() == products
    assert torch.backends.cudnn.allow_tf32 is (precision == "tf32")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("clip_by", ["value", "norm", "null"])
def test_bf16_trains_and_clips_as_float32_does(config, monkeypatch, clip_by, compiled):
    """Lightning refuses to clip for a fused Adam with its mixed precisions; null is the norm, as it is there."""
    largest, ends = [], Task.on_train_batch_end

    def measured(task, *arguments):
        gradients = torch.cat([p.grad.flatten() for p in task.network.parameters()])
        largest.append(gradients.norm() if clip_by != "value" else gradients.abs().max())
        ends(task, *arguments)

    monkeypatch.setattr(Task, "on_train_batch_end", measured)
    monkeypatch.setattr(
        "indrnn.training.run.compile_", functools.partial(compile_, backend="aot_eager", fullgraph=True)
    )
    words = ("trainer.precision=bf16-mixed", f"trainer.clip_by={clip_by}", "trainer.clip=1e-3")
    done = train(config(*DIGITS, *words, *["machine.compile=default"] * compiled))
    assert done["status"] == "finished"
    torch.testing.assert_close(torch.stack(largest), torch.full((done["updates"],), 1e-3), rtol=1e-4, atol=0)
