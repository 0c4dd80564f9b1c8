"""Networks: features of every step, and a head that reads them. One file a picture of the papers."""

from indrnn.networks.baseline import Baseline, gru, irnn, lstm, rnn_tanh
from indrnn.networks.network import Network
from indrnn.networks.plain import PlainIndRNN
from indrnn.networks.residual import ResidualIndRNN

__all__ = ["Baseline", "Network", "PlainIndRNN", "ResidualIndRNN", "gru", "irnn", "lstm", "rnn_tanh"]
