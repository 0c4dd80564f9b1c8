"""The layer without its own parameters: functional_call, and torch.func through it."""

import pytest
import torch
from torch.func import functional_call, grad, jvp, stack_module_state, vmap

from indrnn import IndRNN

# torch.func.jvp itself calls what torch has deprecated, in a warning whose kind differs between versions of torch.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
T, B, M, N = 6, 2, 3, 4


@pytest.fixture
def rnn() -> IndRNN:
    torch.manual_seed(0)
    return IndRNN(M, N, 2, seq_len=10).double()


def outside(rnn: IndRNN) -> dict[str, torch.Tensor]:
    """Its parameters, but u beyond the bound."""
    return {name: 3 * p.detach() if name.endswith("u") else p.detach().clone() for name, p in rnn.named_parameters()}


def loss(rnn: IndRNN, parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    return functional_call(rnn, parameters, (x,))[0].square().sum()


X = torch.randn(T, B, M, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("training", [True, False])
def test_functional_call_changes_neither_what_it_is_given_nor_the_layer(rnn, training):
    rnn.train(training)
    given, own = outside(rnn), {name: p.detach().clone() for name, p in rnn.named_parameters()}
    before = {name: p.clone() for name, p in given.items()}
    functional_call(rnn, given, (X,))
    assert all(torch.equal(given[name], before[name]) for name in given)
    assert all(torch.equal(p, own[name]) for name, p in rnn.named_parameters())
    assert any((p.abs() > rnn.bound).any() for name, p in given.items() if name.endswith("u"))


def test_it_computes_what_the_layer_computes_with_these_parameters_gradients_too(rnn):
    given = outside(rnn)
    wanted = IndRNN(M, N, 2, seq_len=10).double()
    wanted.load_state_dict(given)
    y = wanted(X)[0]
    y.square().sum().backward()
    assert torch.equal(functional_call(rnn, given, (X,))[0], y)
    found = grad(loss, 1)(rnn, given, X)
    for name, p in wanted.named_parameters():
        torch.testing.assert_close(found[name], p.grad, rtol=1e-12, atol=1e-12)
    assert found["layers.0.u"].abs().sum() > 0, "a u outside its bound gets a gradient, as in training"


def test_one_gradient_for_each_sequence(rnn):
    parameters = {name: p.detach() for name, p in rnn.named_parameters()}
    each = vmap(grad(loss, 1), (None, None, 1), randomness="error")(rnn, parameters, X[:, :, None])
    for b in range(B):
        alone = grad(loss, 1)(rnn, parameters, X[:, b : b + 1])
        for name, of_one in alone.items():
            torch.testing.assert_close(each[name][b], of_one, rtol=1e-12, atol=1e-12)


def test_an_ensemble_is_one_call():
    rnns = [IndRNN(M, N, 2).double() for _ in range(3)]
    parameters, buffers = stack_module_state(rnns)
    y = vmap(lambda p, b: functional_call(rnns[0], (p, b), (X,))[0])(parameters, buffers)
    torch.testing.assert_close(y, torch.stack([rnn(X)[0] for rnn in rnns]), rtol=1e-12, atol=1e-12)


def test_a_tangent_is_the_limit_of_differences(rnn):
    parameters = {name: p.detach() for name, p in rnn.named_parameters()}
    directions = {name: torch.linspace(-1, 1, p.numel(), dtype=p.dtype).view_as(p) for name, p in parameters.items()}

    def moved(by: float) -> torch.Tensor:
        return loss(rnn, {name: p + by * directions[name] for name, p in parameters.items()}, X)

    _, tangent = jvp(lambda p: loss(rnn, p, X), (parameters,), (directions,))
    # where u is clipped the difference would not see what the tangent, as the gradient, still has
    inside = all((p.abs() < rnn.bound - 1e-5).all() for name, p in parameters.items() if name.endswith("u"))
    assert inside and tangent == pytest.approx(float((moved(1e-6) - moved(-1e-6)) / 2e-6), rel=1e-6)
