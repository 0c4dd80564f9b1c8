"""What `cpu.py` compiles with numba: Eq. (2) and its gradients down the rows of a block of columns.

Each function makes the kernel that takes ``steps`` rows at once. That number is a constant when LLVM reads the loop
over them, so it writes them out and makes one loop over columns in vectors of them all.

Shapes: T time, B batch, N neurons; x, h, dh, dx (T, B·N), T a multiple of ``steps``; u, h0, last, du (B·N,); ``last``
is the gradient of the step after these, and du is added to.
"""


def relu(steps):
    def kernel(x, u, h0, zero, h, start, stop):
        before = h0
        for t in range(0, x.shape[0], steps):
            for i in range(start, stop):
                z = before[i]
                for k in range(steps):
                    z = x[t + k, i] + u[i] * z
                    z = zero if z <= 0 else z  # this way round a NaN stays a NaN
                    h[t + k, i] = z
            before = h[t + steps - 1]

    return kernel


def leaky(steps):
    def kernel(x, u, h0, slope, h, start, stop):
        before = h0
        for t in range(0, x.shape[0], steps):
            for i in range(start, stop):
                z = before[i]
                for k in range(steps):
                    z = x[t + k, i] + u[i] * z
                    z = z if z > 0 else slope * z
                    h[t + k, i] = z
            before = h[t + steps - 1]

    return kernel


def relu_backward(steps):
    def kernel(dh, h, u, h0, last, zero, dx, du, start, stop):
        later = last
        for t in range(h.shape[0] - steps, -1, -steps):
            before = h[t - 1] if t > 0 else h0
            for i in range(start, stop):
                dz, h_k, sum_ = later[i], h[t + steps - 1, i], du[i]
                dz_odd, h_odd = zero, zero
                for k in range(steps - 1, -1, -1):
                    dz = dh[t + k, i] + u[i] * dz
                    dz = zero if h_k <= 0 else dz
                    dx[t + k, i] = dz
                    h_k = h[t + k - 1, i] if k > 0 else before[i]
                    if k % 2 == 1:  # two steps are added before they are widened: that halves the conversions
                        dz_odd, h_odd = dz, h_k
                    else:
                        sum_ += dz_odd * h_odd + dz * h_k
                du[i] = sum_
            later = dx[t]

    return kernel


def leaky_backward(steps):
    def kernel(dh, h, u, h0, last, slope, dx, du, start, stop):
        later = last
        for t in range(h.shape[0] - steps, -1, -steps):
            before = h[t - 1] if t > 0 else h0
            for i in range(start, stop):
                dz, h_k, sum_ = later[i], h[t + steps - 1, i], du[i]
                for k in range(steps - 1, -1, -1):
                    dz = dh[t + k, i] + u[i] * dz
                    dz = dz if h_k > 0 else slope * dz
                    dx[t + k, i] = dz
                    h_k = h[t + k - 1, i] if k > 0 else before[i]
                    sum_ += dz * h_k
                du[i] = sum_
            later = dx[t]

    return kernel


def tanh_backward(steps):
    def kernel(dh, h, u, h0, last, one, dx, du, start, stop):
        later = last
        for t in range(h.shape[0] - steps, -1, -steps):
            before = h[t - 1] if t > 0 else h0
            for i in range(start, stop):
                dz, h_k, sum_ = later[i], h[t + steps - 1, i], du[i]
                for k in range(steps - 1, -1, -1):
                    dz = (dh[t + k, i] + u[i] * dz) * (one - h_k * h_k)
                    dx[t + k, i] = dz
                    h_k = h[t + k - 1, i] if k > 0 else before[i]
                    sum_ += dz * h_k
                du[i] = sum_
            later = dx[t]

    return kernel
