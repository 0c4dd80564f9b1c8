"""P18 Section 4: a linear RNN with a diagonalizable recurrent matrix is a two-layer IndRNN.

The first layer runs in the eigenvectors' basis, with u the eigenvalues; the second leads back, with u = 0.

Shapes: T time, B batch, M input, N neurons.
"""

import pytest
import torch

from indrnn.recurrence import recurrence


def real_diagonalizable(N, generator):
    """U = P diag(λ) P⁻¹ with a random, well-conditioned P and λ in (-1, 1).

    The eigenvalues are chosen real because u and the input weights of an IndRNN are real. A random real
    matrix has complex pairs of eigenvalues, whose 2 x 2 rotations no real diagonal can write.
    """
    rotation, _ = torch.linalg.qr(torch.randn(N, N, generator=generator, dtype=torch.float64))
    stretch = torch.rand(N, generator=generator, dtype=torch.float64) + 0.5
    shear = torch.eye(N, dtype=torch.float64) + 0.3 * torch.randn(N, N, generator=generator).double().triu(1)
    P = rotation @ torch.diag(stretch) @ shear
    eigenvalues = 2 * torch.rand(N, generator=generator, dtype=torch.float64) - 1
    return P @ torch.diag(eigenvalues) @ torch.linalg.inv(P)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("N", [1, 2, 5, 16])
def test_linear_rnn_equals_two_layers_of_indrnn(N, seed):
    T, B, M = 12, 3, 4
    generator = torch.Generator().manual_seed(seed)
    inputs, W, b, start = (
        torch.randn(s, generator=generator, dtype=torch.float64) for s in [(T, B, M), (N, M), (N,), (B, N)]
    )
    U = real_diagonalizable(N, generator)

    h, rnn = start, []
    for x_t in inputs:
        h = x_t @ W.T + h @ U.T + b
        rnn.append(h)

    # The eigenvectors are found from U alone, as the theorem has it, not taken from how U was made.
    eigenvalues, vectors = torch.linalg.eig(U)
    assert eigenvalues.imag.abs().max() < 1e-9
    u, P = eigenvalues.real, vectors.real
    Q = torch.linalg.inv(P)

    first = recurrence(inputs @ (Q @ W).T + Q @ b, u, start @ Q.T, "identity")
    second = recurrence(first @ P.T, torch.zeros_like(u), activation="identity")
    torch.testing.assert_close(second, torch.stack(rnn), rtol=1e-8, atol=1e-8)
