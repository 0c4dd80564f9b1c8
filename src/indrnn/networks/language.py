"""Tokens in, logits of the next token out. Shapes: T time, B columns, E embedding, N features, V tokens; time first."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from indrnn.errors import at_least, positive
from indrnn.layers import IndRNNLayer, IndRNNUnit
from indrnn.layers.norm_dropout import SharedMaskDropout
from indrnn.networks import Network
from indrnn.products import Linear


class LanguageNetwork(nn.Module):
    """Embedding -> features of a network -> decoder, one token after the other.

    Args:
        body: maps (T, B, E) to features (T, B, N) and, with its own head, to (T, B, V).
        embedding_size: E.
        embedding_range: the embedding starts uniform within ± this.
        tied: the decoder's weights are the embedding; where N is not E, a Linear leads from one to the other.
            Otherwise the decoder is the head of ``body``.
        dropout_embedding: probability dropped of the embedded input, one mask for all steps.
        dropout_words: probability that a word is dropped from the embedding, wherever it stands in the batch.
    """

    def __init__(
        self,
        body: Network,
        embedding_size: int,
        embedding_range: float,
        tied: bool,
        dropout_embedding: float,
        dropout_words: float,
    ):
        super().__init__()
        positive(embedding_size=embedding_size)
        at_least(0, embedding_range=embedding_range)
        features, tokens = body.head.in_features, body.head.out_features
        self.embedding = nn.Embedding(tokens, embedding_size)
        nn.init.uniform_(self.embedding.weight, -embedding_range, embedding_range)
        self.dropout = SharedMaskDropout(dropout_embedding)
        self.dropout_words = SharedMaskDropout(dropout_words)
        self.body, self.project, self.head = body, None, body.head
        del body.head
        if tied:
            if features != embedding_size:
                self.project = Linear(features, embedding_size)
            self.head = Linear(embedding_size, tokens)
            self.head.weight = self.embedding.weight
            nn.init.zeros_(self.head.bias)

    def embed(self, x: Tensor) -> Tensor:
        """x (T, B) token numbers -> (T, B, E)."""
        embedded = self.embedding(x)
        mask = self.dropout_words.mask(1, self.embedding.weight[:, 0])
        if mask is not None:
            embedded = embedded * mask[0][x][..., None]
        return self.dropout(embedded)

    def features(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """x (T, B), state and lengths as for ``body`` -> what the decoder reads, and the state."""
        h, state = self.body.features(self.embed(x), state, lengths)
        return (h if self.project is None else self.project(h)), state

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """x (T, B) -> logits of the next token (T, B, V), state; where padded, logits mean nothing."""
        h, state = self.features(x, state, lengths)
        return self.head(h), state

    def constrain_(self) -> None:
        """Bring every u back into its bound; to be called after every update."""
        Network.constrain_(self)


@torch.no_grad()
def draw_u_(network: nn.Module, mean: float, std: float, largest: float = math.inf) -> None:
    """Draw every u from N(mean, std²); what is above ``largest`` starts there, and all within the bound."""
    for module in network.modules():
        if isinstance(module, IndRNNUnit):
            nn.init.normal_(module.u, mean, std).clamp_(max=largest)
            module.constrain_()


def small_norm_(network: LanguageNetwork) -> None:
    """See LanguageModel."""
    for module in network.body.modules():
        if isinstance(module, IndRNNLayer):
            nn.init.kaiming_uniform_(module.weight_ih)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight)
        elif isinstance(module, nn.BatchNorm1d):
            nn.init.constant_(module.weight, 0.1)
