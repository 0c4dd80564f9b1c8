"""RNN-tanh, IRNN, LSTM and GRU on torch's own kernels. Shapes: T time, B batch, M input, N neurons; time first.

Each maps (T, B, M) and a state to (T, B, N) and a state, as an IndRNN stack does. Torch keeps two bias vectors where
the equations have one, so that a layer has 4N (LSTM), 3N (GRU) or N (RNN) parameters more than the papers count.
"""

import torch
from torch import nn

from indrnn.errors import positive


def rnn_tanh(input_size: int, hidden_size: int, num_layers: int = 1) -> nn.RNNBase:
    """h_t = tanh(W x_t + U h_{t-1} + b) with torch's default initial weights, uniform within N^(-1/2)."""
    positive(hidden_size=hidden_size, num_layers=num_layers)
    return nn.RNN(input_size, hidden_size, num_layers)


@torch.no_grad()
def irnn(input_size: int, hidden_size: int, num_layers: int = 1) -> nn.RNNBase:
    """h_t = relu(W x_t + U h_{t-1} + b): U starts as the identity, b at 0, W from N(0, 0.001) (Le et al. 2015)."""
    positive(hidden_size=hidden_size, num_layers=num_layers)
    cell = nn.RNN(input_size, hidden_size, num_layers, nonlinearity="relu")
    for name, parameter in cell.named_parameters():
        if name.startswith("weight_hh"):
            nn.init.eye_(parameter)
        elif name.startswith("weight_ih"):
            nn.init.normal_(parameter, std=0.001)
        else:
            nn.init.zeros_(parameter)
    return cell


@torch.no_grad()
def lstm(input_size: int, hidden_size: int, num_layers: int = 1) -> nn.RNNBase:
    """LSTM with a forget bias of 1, other biases 0; weights as torch draws them. No peepholes (the authors' has)."""
    positive(hidden_size=hidden_size, num_layers=num_layers)
    cell = nn.LSTM(input_size, hidden_size, num_layers)
    for name, parameter in cell.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
        if name.startswith("bias_ih"):
            parameter[hidden_size : 2 * hidden_size] = 1  # gates lie in the order input, forget, cell, output
    return cell


def gru(input_size: int, hidden_size: int, num_layers: int = 1) -> nn.RNNBase:
    """GRU as torch makes and draws it."""
    positive(hidden_size=hidden_size, num_layers=num_layers)
    return nn.GRU(input_size, hidden_size, num_layers)
