"""Every backend against the float64 reference, and against what mathematics says about Eq. (2).

Shapes: T time, B batch, N neurons.
"""

import pytest
import torch
from recurrence_samples import (
    NO_OR_ONE_STEP,
    SLOPE,
    TOLERANCE,
    assert_like_reference,
    gradients,
    long_memory,
    pairs,
    sample,
    second_derivatives,
    strided,
)

from indrnn.recurrence import available_backends, recurrence, reference

BACKENDS = available_backends("cpu")
PAIRS = pairs(BACKENDS)
# Of one and two steps; odd and even; wider than one block of columns.
SIZES = [*NO_OR_ONE_STEP, (1, 3, 4), (2, 1, 5), (7, 5, 3), (16, 4, 8), (3, 2, 4099)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("backend, activation", PAIRS)
def test_outputs_and_gradients(backend, activation, dtype, size):
    assert_like_reference(backend, activation, *sample(*size, dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_low_precision_computes_and_returns_float32(backend, dtype):
    x, u, h0, dh = sample(9, 3, 5, dtype)
    assert recurrence(x, u, h0, backend=backend).dtype == torch.float32
    assert_like_reference(backend, "relu", x, u, h0, dh)
    assert recurrence(x, u.float(), backend=backend).dtype == torch.float32


@pytest.mark.parametrize("backend", BACKENDS)
def test_long_memory_in_float32(backend):
    """T = 5000 at gains of at most 2: rounding does not pile up in h or in the sum of du."""
    assert_like_reference(backend, "relu", *long_memory(5000, 6), per_neuron=False)


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_strides(backend):
    for case in strided(*sample(6, 4, 8)):
        assert_like_reference(backend, "relu", *case)
        assert recurrence(*case[:3], backend=backend).is_contiguous()


@pytest.mark.parametrize("backend", BACKENDS)
def test_omitted_h0_is_zero_and_inputs_stay_untouched(backend):
    x, u, h0, _ = sample(5, 3, 4)
    before = x.clone()
    assert torch.equal(recurrence(x, u, backend=backend), recurrence(x, u, 0 * h0, backend=backend))
    assert torch.equal(x, before)


@pytest.mark.parametrize("T", [0, 1, 4])
@pytest.mark.parametrize("backend, activation", PAIRS)
def test_first_and_second_derivatives(backend, activation, T):
    x, u, h0, _ = (a.requires_grad_() for a in sample(T, 2, 3))
    assert torch.autograd.gradcheck(lambda *a: recurrence(*a, activation, SLOPE, backend), (x, u, h0))
    assert torch.autograd.gradgradcheck(lambda *a: recurrence(*a, activation, SLOPE, backend), (x, u, h0))


@pytest.mark.parametrize("which", [0, 1, 2], ids=["x", "u", "h0"])
def test_second_derivative_of_one_input_alone(which):
    inputs = sample(5, 2, 3)[:3]
    ours = second_derivatives(lambda *a: recurrence(*a, "tanh"), *inputs, of=[which])
    exact = second_derivatives(lambda *a: reference.forward(*a, "tanh", SLOPE), *inputs, of=[which])
    torch.testing.assert_close(ours, exact, **TOLERANCE[torch.float64])


def test_third_derivative_of_the_reference():
    x, u, h0, _ = (a.requires_grad_() for a in sample(3, 1, 2))

    def gradient_norm(x, u, h0):
        h = reference.forward(x, u, h0, "tanh", SLOPE)
        return sum(g.pow(2).sum() for g in torch.autograd.grad(h.sum(), (x, u, h0), create_graph=True))

    assert torch.autograd.gradgradcheck(gradient_norm, (x, u, h0))


@pytest.mark.parametrize("backend, activation", PAIRS)
def test_without_recurrence_is_the_activation(backend, activation):
    x, u, h0, _ = sample(6, 3, 4)
    h = recurrence(x, 0 * u, h0, activation, SLOPE, backend)
    torch.testing.assert_close(h, reference.activate(x, activation, SLOPE), **TOLERANCE[torch.float64])


@pytest.mark.parametrize("backend", BACKENDS)
def test_positive_inputs_with_unit_weight_are_a_cumulative_sum(backend):
    x, u, _, _ = sample(50, 3, 4)
    h = recurrence(x.abs(), torch.ones_like(u), backend=backend)
    torch.testing.assert_close(h, x.abs().cumsum(0), **TOLERANCE[torch.float64])


@pytest.mark.parametrize("backend", BACKENDS)
def test_equation_4_gradient_along_an_active_path(backend):
    """P18 Eq. (4): with σ' = 1 on the way, dh_T / dx_t = u^(T-t)."""
    T, N = 20, 5
    x = torch.rand(T, 1, N, dtype=torch.float64).add(0.1).requires_grad_()
    u = torch.linspace(0.1, 1.2, N, dtype=torch.float64)
    (dx,) = torch.autograd.grad(recurrence(x, u, backend=backend)[-1].sum(), x)
    powers = u ** torch.arange(T - 1, -1, -1, dtype=torch.float64)[:, None]
    torch.testing.assert_close(dx[:, 0], powers, **TOLERANCE[torch.float64])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dead_step_cuts_the_path(backend):
    x = torch.ones(6, 1, 1, dtype=torch.float64)
    x[3] = -100
    x.requires_grad_()
    (dx,) = torch.autograd.grad(recurrence(x, x.new_ones(1), backend=backend)[-1].sum(), x)
    assert dx.flatten().tolist() == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("backend, activation", [pair for pair in PAIRS if pair[1] != "tanh"])
def test_scaling_the_input_scales_the_states(backend, activation):
    x, u, h0, _ = sample(9, 3, 4)
    once = recurrence(x, u, h0, activation, SLOPE, backend)
    assert torch.equal(recurrence(8 * x, u, 8 * h0, activation, SLOPE, backend), 8 * once)


@pytest.mark.parametrize("backend", BACKENDS)
def test_neurons_and_sequences_are_independent_and_time_runs_forward(backend):
    x, u, h0, _ = sample(9, 3, 4)
    h = recurrence(x, u, h0, backend=backend)
    changed = x.clone()
    changed[5, 1, 2] += 3
    different = (recurrence(changed, u, h0, backend=backend) != h).nonzero()
    assert (different[:, 0] >= 5).all() and (different[:, 1] == 1).all() and (different[:, 2] == 2).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sequence_may_be_cut_anywhere(backend):
    x, u, h0, _ = sample(9, 3, 4)
    first = recurrence(x[:4], u, h0, backend=backend)
    second = recurrence(x[4:], u, first[-1], backend=backend)
    assert torch.equal(torch.cat([first, second]), recurrence(x, u, h0, backend=backend))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")], ids=str)
@pytest.mark.parametrize("backend, activation", PAIRS)
def test_nan_and_infinity_go_where_the_definition_sends_them(backend, activation, bad):
    for name in ("x", "h0", "dh"):
        x, u, h0, dh = sample(9, 1, 40)
        # A whole row, so in vectorised loops and in their remainders.
        {"x": x[4], "h0": h0, "dh": dh[5]}[name].fill_(bad)
        ours = gradients(lambda *a: recurrence(*a, activation, SLOPE, backend), x, u, h0, dh)
        exact = gradients(lambda *a: reference.forward(*a, activation, SLOPE), x, u, h0, dh)
        torch.testing.assert_close(ours, exact, equal_nan=True, **TOLERANCE[torch.float64])
        if name == "x" and bad != bad:
            assert ours[0][4].isnan().all()
