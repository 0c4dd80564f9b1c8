"""What the tests of the recurrence share: cases, random inputs, tolerances, and the comparison with the reference.

Shapes: T time, B batch, N neurons.
"""

import torch

from indrnn.recurrence import recurrence, reference

# float32 also where inputs are bfloat16 or float16: those are computed in float32.
TOLERANCE = {torch.float64: {"rtol": 1e-12, "atol": 1e-12}, torch.float32: {"rtol": 2e-5, "atol": 2e-5}}
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "identity")
SCANNED = ("relu", "identity")  # the scan has no leaky ReLU and no tanh
SLOPE = 0.2
NO_OR_ONE_STEP = [(0, 2, 3), (4, 0, 3), (1, 1, 1)]  # T, B, N; and a batch of none


def pairs(backends):
    """Every backend with what it computes."""
    return [(b, a) for b in backends for a in (SCANNED if b == "scan" else ACTIVATIONS)]


def sample(T, B, N, dtype=torch.float64, device="cpu"):
    """x, u, h0 and a gradient of h; u negative, zero, one and above one."""
    generator = torch.Generator().manual_seed(T)
    x, h0, dh = (torch.randn(s, generator=generator, dtype=dtype) for s in [(T, B, N), (B, N), (T, B, N)])
    u = torch.tensor([1.05, 0, -0.9, 1, 0.5, -1.05], dtype=dtype).repeat(N)[:N]
    return tuple(a.to(device) for a in (x, u, h0, dh))


def long_memory(T, N, device="cpu"):
    """The same in float32, B = 2, with gains of at most 2 over T steps."""
    x, _, h0, dh = sample(T, 2, N, torch.float32, device)
    return x / T**0.5, 2 ** (torch.linspace(-1, 1, N, device=device) / T), h0, dh


def strided(x, u, h0, dh):
    """Views of them, none contiguous."""
    return [
        (x.transpose(0, 1).contiguous().transpose(0, 1), u, h0, dh),  # batch first in memory
        (x[:, :, ::2], u[::2], h0[:, ::2], dh[:, :, ::2]),
        (x[:1].expand_as(x), u[:1].expand_as(u), h0[:1].expand_as(h0), dh[:, :1].expand_as(dh)),
        (x.flip(0)[1:], u, h0, dh[1:]),
    ]


def gradients(function, x, u, h0, dh):
    """h and the gradients of x, u and h0."""
    x, u, h0 = (a.detach().requires_grad_() for a in (x, u, h0))
    h = function(x, u, h0)
    return h.detach(), *torch.autograd.grad(h, (x, u, h0), dh.to(h.dtype))


def second_derivatives(function, x, u, h0, of=(0, 1, 2)):
    """The gradients of x, u and h0 of the squared gradients of some of them."""
    inputs = [a.detach().requires_grad_() for a in (x, u, h0)]
    grads = torch.autograd.grad(function(*inputs).sin().sum(), [inputs[i] for i in of], create_graph=True)
    return torch.autograd.grad(sum(g.pow(2).sum() for g in grads), inputs)


def assert_like_reference(backend, activation, x, u, h0, dh, per_neuron=True):
    """Outputs and all gradients against float64, relative to the largest entry of a neuron: rounding grows with u^T.

    Or relative to that of all neurons, where a gradient is a sum of so many terms that it is small by cancelling.
    dh0 = u dx_1 has the error of an entry of dx, times u: the few entries of dh0 may all be small by cancelling, where
    the sums that led to them were not, so the largest entry of dx, times u, is their scale.
    """
    double = [a.double() for a in (x, u, h0, dh)]
    exact = gradients(lambda *a: reference.forward(*a, activation, SLOPE), *double)
    ours = gradients(lambda *a: recurrence(*a, activation, SLOPE, backend), x, u, h0, dh)
    sizes = {}
    for name, a, b in zip(("h", "dx", "du", "dh0"), ours, exact, strict=True):
        assert a.shape == b.shape and a.is_contiguous() and a.device == x.device
        if a.numel():
            largest = sizes[name] = b.abs().reshape(-1, b.shape[-1]).amax(0)
            if name == "dh0" and "dx" in sizes:
                largest = torch.maximum(largest, double[1].abs() * sizes["dx"])
            scale = (largest if per_neuron else largest.max()).clamp(min=1)
            worst = ((a.double() - b).abs() / scale).max().item()
            # Gradients of low-precision inputs come back rounded to their own dtype.
            rounding = torch.finfo(a.dtype).eps if a.dtype in (torch.bfloat16, torch.float16) else 0
            assert worst <= TOLERANCE[ours[0].dtype]["atol"] + rounding, f"{name}: {worst:.1e}"


def rounded_apart(x, u, h0, h, alive=None):
    """By how much two scans or walks of the same dtype may differ at each step, in float64.

    Every rounding is at most δ = eps / 2 of a number that is no larger than what is added. A step of a walk is two
    roundings, or one where it is a fused multiply-add. A step of a scan's line is as many for `left` and three for
    the knee (slope, quotient, difference), and the four of a line's use are less than one for each step of a
    chunk: together 10 in two scans. Each is added to what was there, and goes on times u until a step is dead: a line
    that is not cut off has only living steps, and nothing in it is larger than the sum over them.

    Args:
        alive: the steps that let through; those with a state, or with one that rounding may make, if omitted.
    """
    delta = 10 * torch.finfo(h.dtype).eps / 2
    x, u, h0, h = (a.double() for a in (x, u, h0, h))
    apart, bounds = torch.zeros_like(h0), []
    for t, before in enumerate(torch.cat([h0[None], h])[: len(h)]):
        apart = u.abs() * apart + delta * (x[t].abs() + (u * before).abs())
        living = (h[t] != 0) | ((x[t] + u * before).abs() <= apart) if alive is None else alive[t]
        apart = torch.where(living, apart, 0)
        bounds.append(apart)
    return torch.stack(bounds)


def assert_within(ours, exact, bound):
    """Equal, or both no number, or no further apart than ``bound``."""
    near = (ours == exact) | (ours.isnan() & exact.isnan()) | ((ours.double() - exact.double()).abs() <= bound)
    assert near.all(), f"{(ours - exact).abs()[~near].max():.1e} apart, {bound[~near].max():.1e} allowed"
