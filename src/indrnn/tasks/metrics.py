"""What the tables print. Shapes: B batch, K classes."""

from torch import Tensor


def error(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of examples whose largest logit is not the label, in percent. logits (B, K), labels (B,)."""
    return 100 * (logits.argmax(dim=-1) != labels).float().mean()
