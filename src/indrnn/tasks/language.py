"""Language models: P18 Section 5.3, P19 Section 5.3. Shapes: T time, B columns, V tokens."""

import logging
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.nn import functional as F

from indrnn.data import TEST
from indrnn.data.text import PADDING, Batch
from indrnn.errors import UserError
from indrnn.networks import Network
from indrnn.networks.language import LanguageNetwork, draw_u_, small_norm_
from indrnn.networks.last_transition import last_norms
from indrnn.tasks import Task
from indrnn.tasks.dynamic import Dynamic
from indrnn.tasks.fits import need, need_like
from indrnn.tasks.schedules import Constant

log = logging.getLogger(__name__)

METRICS = {"bpc": lambda nll: nll / math.log(2), "ppl": lambda nll: math.exp(nll) if nll < 700 else math.inf}


class LanguageModel(Task):
    """The next token of a text whose state is carried from batch to batch.

    Loss: nll, nats per token, a mean over all tokens of a batch; over a split, the true mean over all its tokens.

    Args:
        metric: bpc, bits per character, or ppl, perplexity: exp(nll).
        network: see ``body`` of LanguageNetwork, also for what is not named here.
        u_normal: mean and standard deviation of a normal distribution that all u start from (P18's word model), within
            the bound and, where a third number is given, at most there; otherwise as the network draws them.
        small_norm: weights of Linears and layers start from Kaiming's uniform distribution with a = 0, not as drawn by
            the network, and the scale of batch norm at 0.1 (the authors' ``small_normini``, for dense networks).
        last_scale: where the scale of the batch norm that a LastTransition adds starts; null: as all others. (In the
            authors' code at 1, as ``small_normini`` does not reach it.)
        dynamic: also tests with dynamic evaluation (indrnn.tasks.dynamic).
        others: see Task.
    """

    carries_state = True

    def __init__(
        self,
        network: Network,
        schedule: Constant,
        seed: int,
        max_updates: int,
        val_every: int,
        metric: str,
        embedding_size: int,
        embedding_range: float,
        tied: bool,
        weight_decay: float = 0.0,
        dropout_embedding: float = 0.0,
        dropout_words: float = 0.0,
        u_normal: tuple[float, ...] | None = None,
        small_norm: bool = False,
        dynamic: Dynamic | None = None,
        decay_norm: str | None = None,
        last_scale: float | None = None,
    ):
        if metric not in METRICS:
            raise UserError(f"task.metric must be bpc or ppl, not {metric}.")
        if u_normal is not None and (len(u_normal) not in (2, 3) or u_normal[1] < 0):
            raise UserError(f"task.u_normal must be mean, deviation and perhaps the largest, not {list(u_normal)}.")
        network = LanguageNetwork(network, embedding_size, embedding_range, tied, dropout_embedding, dropout_words)
        super().__init__(network, schedule, seed, max_updates, val_every, weight_decay, decay_norm=decay_norm)
        self.metric, self.dynamic = metric, dynamic
        self.evaluating = False
        self.vocabulary: str | None = None  # digest of the one that this model was trained with
        if u_normal is not None:
            draw_u_(network, *u_normal)
        if small_norm:
            small_norm_(network)
        if last_scale is not None:
            for norm in last_norms(network):
                nn.init.constant_(norm.weight, last_scale)

    def setup(self, stage: str) -> None:
        """Compare the vocabulary with that of the checkpoint.

        Raises:
            UserError: it is another one, though of equal size.
        """
        found = self.trainer.datamodule.corpus.digest
        if self.vocabulary not in (None, found):
            raise UserError(
                f"The checkpoint was trained with another vocabulary ({self.vocabulary}) than the text has ({found}): "
                "bring the text back, or remove the run's folder to train anew."
            )
        self.vocabulary = found

    # One update

    def measure(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean nll of a batch that follows the one before it, and the number of its tokens."""
        x, y, lengths, fresh = batch
        logits, state = self.network(x.t(), None if fresh else self.carried, lengths)
        self.carried = apply_to_collection(state, Tensor, Tensor.detach)
        targets = y.t().flatten()
        total = F.cross_entropy(logits.flatten(0, 1).float(), targets, ignore_index=PADDING, reduction="sum")
        tokens = lengths.sum() if lengths is not None else y.new_full((), y.numel())
        return total / tokens, tokens

    def alike(self, batch: Batch) -> bool:
        _, _, lengths, fresh = batch
        return lengths is None and not fresh and self.carried is not None

    def sums(self, loss: Tensor, metric: Tensor) -> Tensor:
        nll, tokens = loss.double(), metric.double()
        return torch.stack([nll * tokens, torch.zeros_like(nll), tokens])

    def training_means(self) -> dict[str, float]:
        return self._metrics("train", (self.train_sum[0] / self.train_sum[2]).item())

    def _metrics(self, split: str, nll: float) -> dict[str, float]:
        return {f"{split}/loss": nll, f"{split}/{self.metric}": METRICS[self.metric](nll)}

    # Validation and test: no update comes between, so the state of training waits

    def on_validation_start(self) -> None:
        super().on_validation_start()
        self._begin()

    def on_test_start(self) -> None:
        super().on_test_start()
        self._begin()

    def _begin(self) -> None:
        self.waiting, self.evaluating = self.carried, True
        self.total = torch.zeros(2, dtype=torch.float64, device=self.device)

    def _log(self, split: str, batch: Batch) -> None:
        nll, tokens = self.measured(batch)
        self.total += torch.stack([nll.double() * tokens, tokens.double()])

    def on_validation_epoch_end(self) -> None:
        self._end("val")

    def on_test_epoch_end(self) -> None:
        self._end("test")
        if self.dynamic is not None:
            data = self.trainer.datamodule
            segment = self.dynamic.segment
            training, test = data.gradient_batches(segment), data.segments(TEST, segment)
            nll = self.dynamic.evaluate(self.network, self.measure, *map(self._here, (training, test)))
            self.carried = self.waiting
            self.log(f"test/dynamic_{self.metric}", METRICS[self.metric](nll))

    def _end(self, split: str) -> None:
        self.carried, self.evaluating = self.waiting, False
        total, tokens = self.total.tolist()
        self.log_dict(self._metrics(split, total / tokens), logger=False)
        if split == "test":
            self.log("test/tokens", tokens, logger=False)

    def _here(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield apply_to_collection(batch, Tensor, lambda t: t.to(self.device))

    # Checkpoints

    def state(self) -> dict[str, Any]:
        carried = self.waiting if self.evaluating else self.carried
        return super().state() | {"carried": carried, "vocabulary": self.vocabulary}

    def check_state(self, state: dict[str, Any], batch_size: int) -> None:
        need(isinstance(state, dict) and {"carried", "vocabulary"} <= set(state), "task")
        state = dict(state)
        carried, vocabulary = state.pop("carried"), state.pop("vocabulary")
        super().check_state(state, batch_size)
        begun = state["update"] > 0
        need(isinstance(vocabulary, str) or vocabulary is None and not begun, "vocabulary")
        if not begun:
            need(carried is None, "carried")
        elif self.device.type != "meta":
            need_like(carried, self._pattern(batch_size), "carried", any_precision=True)

    @torch.no_grad()
    def _pattern(self, batch_size: int) -> Any:
        """A state that is nested as those that training carries on."""
        self.network.eval()
        state = self.network.features(torch.zeros(1, batch_size, dtype=torch.long, device=self.device))[1]
        self.network.train()
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.vocabulary, self.carried = state["vocabulary"], state["carried"]

    def on_train_start(self) -> None:
        self.carried = apply_to_collection(self.carried, Tensor, lambda h: h.to(self.device))

    def on_train_end(self) -> None:
        if self.device.type == "cuda":
            peak, data = torch.cuda.max_memory_allocated(), self.trainer.datamodule
            each = peak / (data.batch_size * data.seq_len)
            log.info("Memory at its peak: %.2f GB, %s bytes a token of an update.", peak / 1e9, f"{each:,.0f}")
