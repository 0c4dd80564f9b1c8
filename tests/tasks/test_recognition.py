"""What Table 4's networks read and how they are judged. Shapes: T time, B batch, K crops, M input, N neurons."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from test_text import CALM
from torch import nn

from indrnn.data.ntu.geometry import DISTANCES, LIMBS, LINES, joint_line_distances, rotated, turns
from indrnn.errors import UserError
from indrnn.networks import PlainIndRNN
from indrnn.networks.dense import DenseIndRNN
from indrnn.tables import schema
from indrnn.tasks.recognition import Recognition
from indrnn.tasks.schedules import Plateau

# Joints that are tied together in Kinect's body, numbered from 1 as in the data set's description.
BONES = {(1, 2), (2, 21), (3, 21), (4, 3), (5, 21), (6, 5), (7, 6), (8, 7), (9, 21), (10, 9), (11, 10), (12, 11)}
BONES |= {(13, 1), (14, 13), (15, 14), (16, 15), (17, 1), (18, 17), (19, 18), (20, 19)}
BONES |= {(22, 8), (23, 8), (24, 12), (25, 12)}

# Geometry


def bodies(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(*shape, 25, 3))


def by_loops(x: np.ndarray) -> list[float]:
    """Distances of one body (25, 3), by Pythagoras."""
    found = []
    for a, b in LINES:
        along = (x[b] - x[a]) / math.dist(x[a], x[b])
        for j in range(25):
            if j not in (a, b):
                to = x[j] - x[a]
                found.append(math.sqrt(max(to @ to - (to @ along) ** 2, 0)))
    return found


def test_lines_are_bones_limbs_and_pairs_of_ends():
    bones, limbs, pairs = LINES[:24], LINES[24:29], LINES[29:]
    assert {frozenset((a + 1, b + 1)) for a, b in bones} == {frozenset(bone) for bone in BONES}
    assert limbs == LIMBS and {frozenset(p) for p in pairs} == {
        frozenset(p) for p in itertools.combinations([3, 7, 11, 14, 18], 2)
    }
    assert len({frozenset(line) for line in LINES}) == len(LINES) == 39 and DISTANCES == 897


def distances(x: np.ndarray) -> np.ndarray:
    return joint_line_distances(torch.from_numpy(x)).numpy()


def test_distances_are_those_of_a_loop():
    x = bodies(0, 2, 3)
    found = distances(x)
    assert found.shape == (2, 3, 897)
    for i, j in itertools.product(range(2), range(3)):
        np.testing.assert_allclose(found[i, j], by_loops(x[i, j]), atol=1e-7)
    assert distances(x.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(distances(x.astype(np.float32)), found, rtol=1e-3, atol=1e-5)


@CALM
@given(st.integers(0, 10**6))
def test_distances_know_no_place_and_no_direction(seed):
    x, rng = bodies(seed, 2), np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    np.testing.assert_allclose(distances(x @ turn + rng.normal(size=3)), distances(x), atol=1e-9)
    np.testing.assert_allclose(distances(3 * x), 3 * distances(x), atol=1e-9)


def test_a_body_that_is_not_there_and_joints_in_one_place_have_distance_0():
    x = bodies(0, 3).astype(np.float32)
    x[1] = 0
    x[2, 3] = x[2, 2]  # the head on the neck: a line with no direction
    found = distances(x)
    assert not found[1].any() and np.isfinite(found).all()
    line = LINES.index((3, 2))
    assert not found[2, 23 * line : 23 * (line + 1)].any() and found[2].any()


@CALM
@given(st.integers(0, 10**6), st.floats(-4, 4))
def test_rotation_is_about_the_vertical(seed, angle):
    x = bodies(seed, 2, 3).astype(np.float32)
    x[0, 0] = 0
    found = turned_by(x, [angle, 0.0])
    assert found.dtype == np.float32 and np.array_equal(found[1], x[1]) and not found[0, 0].any()
    assert np.array_equal(found[..., 1], x[..., 1])
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-5)
    turned = (x[0, :, :, 2] + 1j * x[0, :, :, 0]) * np.exp(1j * angle)
    np.testing.assert_allclose(found[0, :, :, 2] + 1j * found[0, :, :, 0], turned, atol=1e-5)
    np.testing.assert_allclose(turned_by(found, [-angle, 0.0]), x, atol=1e-5)


def turned_by(x: np.ndarray, angles: list[float]) -> np.ndarray:
    return rotated(torch.from_numpy(x), turns(np.array(angles))).numpy()


def test_rotation_is_a_product_with_a_matrix_bit_for_bit():
    """Published runs were trained on this one."""
    x, angles = bodies(0, 40, 5).astype(np.float32), np.random.default_rng(0).uniform(-0.6, 0.6, 40)
    cos, sin, zero, one = np.cos(angles), np.sin(angles), np.zeros(40), np.ones(40)
    matrix = np.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], axis=-1).reshape(-1, 3, 3)
    expected = np.einsum("n...j,nij->n...i", x, matrix).astype(np.float32)
    assert np.array_equal(turned_by(x, angles), expected)


# The task


def recognition(schedule=None, T: int = 4) -> Recognition:
    torch.manual_seed(1)
    net = PlainIndRNN(3, 5, 6, 2, seq_len=T, gamma=5.0, batch_norm="after", init_std=0.5).eval()
    return Recognition(net, schedule or Plateau(1e-3, 1, 0.1, 1e-9), seed=0, max_updates=10, val_every=1)


def test_the_mean_of_log_probabilities_answers():
    task, x = recognition(), 3 * torch.randn(7, 4, 4, 3)
    y = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    loss, accuracy = task.measure((x, y))
    right, losses = 0, []
    for crops, label in zip(x, y, strict=True):
        logs = [task.network(crop[:, None])[0][-1, 0].softmax(-1).log() for crop in crops]
        mean = sum(logs) / len(logs)
        losses.append(-mean[label])
        right += int(mean.argmax() == label)
    torch.testing.assert_close(loss, sum(losses) / 7)
    assert accuracy.item() == pytest.approx(100 * right / 7) and 0 < right < 7


def test_one_crop_is_as_none_and_the_loss_has_gradients():
    task, x, y = recognition(), torch.randn(6, 4, 3), torch.arange(6) % 5
    one, none = task.measure((x[:, None], y)), task.measure((x, y))
    torch.testing.assert_close(one, none)
    torch.testing.assert_close(none[0], nn.functional.cross_entropy(task.answer(x), y))
    none[0].backward()
    assert all(p.grad.abs().sum() > 0 for p in task.network.parameters()) and not none[1].requires_grad


def test_accuracy_is_100_where_all_are_right():
    task, x = recognition(), torch.randn(6, 2, 4, 3)
    y = task.answer(x.flatten(0, 1)).log_softmax(-1).unflatten(0, (6, 2)).mean(1).argmax(-1)
    assert task.measure((x, y))[1] == 100 and task.measure((x, (y + 1) % 5))[1] == 0


class Validations:
    """In place of Lightning's trainer, as far as the end of a validation asks it."""

    def __init__(self):
        self.callback_metrics, self.loggers, self.should_stop = {}, [], False


def test_the_best_is_the_highest_and_the_schedule_hears_that_higher_is_better(monkeypatch):
    schedule = Plateau(1e-3, 1, 0.1, 1e-9)
    task = recognition(schedule)
    trainer = Validations()
    monkeypatch.setattr(Recognition, "trainer", trainer)
    monkeypatch.setattr(Recognition, "loggers", [])
    seen = []
    for accuracy in (10.0, 30.0, 50.0, 40.0, 45.0, 60.0, 60.0, math.nan, 20.0):
        task.update += 1
        trainer.callback_metrics = {"val/accuracy": torch.tensor(accuracy), "val/loss": torch.tensor(1.0)}
        task.train_sum += 1
        with torch.no_grad():
            task.network.head.bias.fill_(accuracy)
        task.on_validation_end()
        seen.append((task.best["value"], task.best["update"], schedule.drops))
    assert seen[:3] == [(10, 1, 0), (30, 2, 0), (50, 3, 0)], "a rise is an improvement"
    assert seen[3:5] == [(50, 3, 0), (50, 3, 1)], "patience 1: the second validation without a better one drops"
    assert seen[5:] == [(60, 6, 1), (60, 6, 1), (60, 6, 2), (60, 6, 3)]
    task.load_best()
    assert (task.network.head.bias == 60).all()


# Dense, with differences in time

T, B, M, K = 5, 3, 4, 2


def dense(**changes) -> DenseIndRNN:
    options = {"seq_len": T, "gamma": 2.0, "batch_norm": "after", "init_std": 0.5, "time_difference": True}
    return DenseIndRNN(M, K, 2, [2, 1], **options | changes).double().eval()


def layer(module: nn.Module, x: list) -> list:
    """One layer of one sequence by Eq. (2), step by step; batch norm as in evaluation."""
    h, out, norm = torch.zeros_like(module.u), [], module.norm
    for step in x:
        h = torch.relu(module.weight_ih @ step + module.bias + module.u * h)
        out.append((h - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias)
    return out


def read(x: list) -> list:
    """x_t and x_t - x_{t-1}, with zeros before the first."""
    return [torch.cat([step, step - before]) for step, before in zip(x, [torch.zeros_like(x[0]), *x], strict=False)]


def by_steps(net: DenseIndRNN, x: torch.Tensor) -> torch.Tensor:
    """One sequence (T, M) -> (T, K)."""
    h = read(list(x)) if net.first is None else read(layer(net.first, read(list(x))))
    pairs = zip(net.bottlenecks, net.denses, strict=True)
    for layers, transition in zip(net.blocks, net.transitions, strict=True):
        for bottleneck, growing in itertools.islice(pairs, layers):
            new = read(layer(growing, read(layer(bottleneck, h))))
            h = [torch.cat(both) for both in zip(h, new, strict=True)]
        h = read(layer(transition, h))
    return torch.stack([net.head(step) for step in h])


def shaken(net: DenseIndRNN) -> DenseIndRNN:
    """With batch norm statistics and weights that are no longer those of a new network."""
    for name, tensor in net.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor += 0.3 * torch.rand_like(tensor)
    return net


@pytest.mark.parametrize("first_layer", [True, False])
def test_every_layer_and_the_head_read_the_difference_to_the_step_before(first_layer):
    net, x = shaken(dense(first_layer=first_layer)), torch.randn(T, B, M).double()
    y, _ = net(x)
    for b in range(B):
        torch.testing.assert_close(y[:, b], by_steps(net, x[:, b]))


def test_padded_sequences_are_as_alone():
    net, x, lengths = shaken(dense()), torch.randn(T, B, M).double(), [5, 2, 1]
    y, _ = net(x, lengths=torch.tensor(lengths))
    for b, length in enumerate(lengths):
        torch.testing.assert_close(y[:length, b], by_steps(net, x[:length, b]))


def test_a_state_is_refused():
    net, x = dense(), torch.randn(T, B, M).double()
    _, state = net(x)
    with pytest.raises(UserError, match="time_difference starts from zeros: it does not keep the last inputs"):
        net(x, state)


def test_saved_memory_changes_nothing():
    net, x = dense().train(), torch.randn(T, B, M).double()
    other = copy.deepcopy(net)
    other.save_memory = True
    for each in (net, other):
        each(x)[0].square().sum().backward()
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)


def test_without_differences_the_network_is_as_before():
    """An option that is null changes neither weights nor their random numbers."""
    states = []
    for changes in ({}, {"time_difference": None}, {"time_difference": False}):
        torch.manual_seed(0)
        states.append(DenseIndRNN(M, K, 2, [2, 1], seq_len=T, gamma=2.0, batch_norm="after", **changes).state_dict())
    assert all(torch.equal(states[0][name], state[name]) for state in states for name in states[0])


# Sizes

COUNTS = {"indrnn_6": 1_430_588, "indrnn_4": 902_204, "indrnn_6_p18": 1_430_588, "res_indrnn": 2_751_548}
COUNTS |= {"dense_indrnn": 2_314_428, "dense_indrnn_aug": 5_640_108}


@pytest.mark.parametrize("experiment", ["ntu_cs", "ntu_cv", "fast/ntu_cs"])
@pytest.mark.parametrize("row", COUNTS)
def test_networks_have_the_sizes_that_the_authors_logs_print(config, row, experiment):
    cfg = config(f"experiment={experiment}", *schema.load_table("table4_ntu").rows[row].overrides)
    with torch.device("meta"):
        net = instantiate(cfg.model)
    assert sum(p.numel() for p in net.parameters()) == COUNTS[row]
    data = instantiate(cfg.data)
    assert data.input_size == (1944 if row == "dense_indrnn_aug" else 150) and data.output_size == 60


def test_the_recipes_are_those_of_the_logs(config):
    cfg = config("experiment=ntu_cs", "model=dense_indrnn")
    dropouts = ("dropout_first", "dropout_dense", "dropout_bottleneck", "dropout_transition")
    assert [cfg.model[name] for name in dropouts] == [0.5, 0.5, 0.1, 0.3] and cfg.model.growth == 48
    cfg = config("experiment=ntu_cv", "model=indrnn")
    assert (cfg.data.protocol, cfg.data.seq_len, cfg.data.val_share, cfg.recipe.dropout) == ("cv", 20, 0.05, 0.4)
