"""torch.func through the recurrence: every transform gives what it gives of the reference, which is plain torch."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.utils._pytree import tree_leaves

from indrnn.recurrence import recurrence, reference

# torch.func.jvp itself calls what torch has deprecated, in a warning whose kind differs between versions of torch.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "identity")
B, N, V = 2, 3, 4


def tensors(T: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(seed)
    x, u, h0 = torch.randn(T, B, N), 2 * torch.rand(N) - 0.8, torch.rand(B, N)
    return x.double(), u.double(), h0.double()


def two(activation: str):
    """The recurrence and its definition, as functions of x, u, h0."""
    return (
        lambda x, u, h0: recurrence(x, u, h0, activation, 0.1),
        lambda x, u, h0: reference.forward(x, u, h0, activation, 0.1),
    )


def weighed(f, T: int):
    """A number, whose gradient differs at every place and whose second derivatives are not 0."""
    weights = torch.linspace(-1, 2, T * B * N, dtype=torch.float64).reshape(T, B, N)
    return lambda *inputs: (weights * f(*inputs)).sum() + f(*inputs).square().sum()


TRANSFORMS = {
    "grad": lambda f: grad(f, (0, 1, 2)),
    "vjp": lambda f: lambda *inputs: vjp(f, *inputs)[1](torch.tensor(2.0, dtype=torch.float64)),
    "jvp": lambda f: lambda *inputs: jvp(f, inputs, tuple(a.flip(0) for a in inputs))[1],
    "hessian": lambda f: hessian(f, (0, 1, 2)),
    "reverse twice": lambda f: jacrev(jacrev(f, (0, 1, 2)), (0, 1, 2)),
    "forward twice": lambda f: jacfwd(jacfwd(f, (0, 1, 2)), (0, 1, 2)),
    "reverse over forward": lambda f: jacrev(jacfwd(f, (0, 1, 2)), (0, 1, 2)),
    "forward twice over reverse": lambda f: jacfwd(hessian(f, (0, 1, 2)), (1,)),
}


@pytest.mark.parametrize("T", [0, 1, 4])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_gives_what_it_gives_of_the_definition(name, activation, T):
    ours, theirs = (tree_leaves(TRANSFORMS[name](weighed(f, T))(*tensors(T))) for f in two(activation))
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert T == 0 or any(a.abs().sum() > 0 for a in ours)


DIMS = [(0, None, None), (1, None, None), (None, 0, None), (None, None, 1), (2, 0, 0), (3, 1, 2)]


@pytest.mark.parametrize("dims", DIMS, ids=str)
@pytest.mark.parametrize("of", ["states", "gradients", "tangents"])
def test_vmap_is_a_loop_over_its_dimension(of, dims):
    f = two("tanh")[0]
    f = {"states": f, "gradients": TRANSFORMS["grad"](weighed(f, 4)), "tangents": TRANSFORMS["jvp"](f)}[of]
    of_each = [tensors(4, seed) for seed in range(V)]
    inputs = [of_each[0][i] if dim is None else torch.stack([a[i] for a in of_each], dim) for i, dim in enumerate(dims)]
    mapped = tree_leaves(vmap(f, dims)(*inputs))
    alone = [tree_leaves(f(*(of_each[0 if d is None else v][i] for i, d in enumerate(dims)))) for v in range(V)]
    for a, b in zip(mapped, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(a, torch.stack(b), rtol=1e-12, atol=1e-12)


def test_forward_mode_without_torch_func():
    inputs, tangents = tensors(4), tensors(4, 1)
    with forward_ad.dual_level():
        h = recurrence(*(forward_ad.make_dual(a, t) for a, t in zip(inputs, tangents, strict=True)), "tanh")
        found = forward_ad.unpack_dual(h).tangent
    assert torch.equal(found, jvp(two("tanh")[1], inputs, tangents)[1]) and found.abs().sum() > 0


def test_without_a_first_state_and_in_two_dtypes():
    x, u, _ = tensors(4)
    x, u = x.to(torch.bfloat16), u.float()
    dx, du = grad(lambda x, u: recurrence(x, u).square().sum(), (0, 1))(x, u)
    assert dx.dtype == torch.bfloat16 and du.dtype == torch.float32
    x, u = x.clone().requires_grad_(), u.clone().requires_grad_()
    recurrence(x, u).square().sum().backward()
    assert torch.equal(dx, x.grad) and torch.equal(du, u.grad)
