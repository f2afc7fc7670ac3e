"""Settings of a training: optimiser, length, early stopping."""

from typing import Literal, Self

from pydantic import Field, model_validator

from drunet.settings.base import Block, refusal

_WITH_EPSILON = ("adam", "adamax")

# What a training watches, for each value of `keep`.
WATCHED = {"best_loss": "loss", "best_accuracy": "accuracy", "best_f1": "f1", "last": "loss"}


class DecaySettings(Block):
    """A learning rate that falls in steps."""

    factor: float = Field(gt=0, le=1)
    """what the learning rate is multiplied by"""
    epochs: int = Field(ge=1)
    """after every so many epochs"""


class HeadTraining(Block):
    """How long and how a head on kept features is trained; see `drunet.training.loop.Trainer`."""

    optimiser: Literal["adam", "adamax", "sgd"]
    """name of the optimiser"""
    learning_rate: float = Field(gt=0, le=1)
    """step size"""
    batch_size: int = Field(ge=1)
    """samples per step"""
    epochs: int = Field(ge=1)
    """largest number of epochs"""
    steps_per_epoch: int | None = Field(ge=1)
    """null: every sample once"""
    patience: int = Field(ge=1)
    """early stopping: epochs without a gain in what `keep` names, in validation or, where there is none, in training"""
    decay: DecaySettings | None = None
    """decay of the learning rate; null: constant"""
    epsilon: float | None = Field(default=None, gt=0)
    """adam and adamax: added to the root of the second moment; large, it turns them towards plain descent with
    momentum; null: Keras' own, 1e-7"""
    keep: Literal["best_loss", "best_accuracy", "best_f1", "last"] = "best_loss"
    """the epoch whose weights are kept: that of the lowest loss, of the highest accuracy or F1 (mean over classes), of
    validation or, where there is none, of training; or the last one, and early stopping watches the loss"""
    min_delta: float = Field(default=0.0, ge=0)
    """early stopping: a gain that is not larger counts as none"""
    averaging: float | None = Field(default=None, gt=0, lt=1)
    """share of itself that a running average of the weights keeps at every step (0.98: of some 50 steps); it is judged
    and kept in place of the weights, which swing about it (Polyak and Juditsky 1992); null: the weights themselves"""

    @model_validator(mode="after")
    def _epsilon_has_an_optimiser(self) -> Self:
        if self.epsilon is not None and self.optimiser not in _WITH_EPSILON:
            mend = f"It belongs to {' and '.join(_WITH_EPSILON)}; use null for others."
            raise refusal("the optimiser has no epsilon", key="epsilon", found=self.epsilon, mend=mend)
        return self

    def learning_rate_in(self, epoch: int) -> float:
        """Learning rate of an epoch, from 0; it depends on nothing else, so a restart uses the same one."""
        if self.decay is None:
            return self.learning_rate
        return float(self.learning_rate * self.decay.factor ** (epoch // self.decay.epochs))


class TrainingSettings(HeadTraining):
    """How long and how a network is trained; see `drunet.training.loop.Trainer`."""

    epochs: int = Field(ge=0)
    """largest number of epochs; 0, of a classifier or refiner: the weights that it starts from, as they are"""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"]
    """Keras' dtype policy of the layers"""
    reestimate_batches: int = Field(ge=0)
    """batches over which batch-norm statistics are re-estimated before every validation, and at the end where there is
    none; 0: the moving averages, which lag behind the weights in short runs"""
    l2: float = Field(default=0.0, ge=0)
    """added to the loss: so many times the squares of the kernels of convolutions that learn"""


class ClasslessTraining(TrainingSettings):
    """How long and how a network is trained that predicts no class."""

    keep: Literal["best_loss", "last"] = "best_loss"
    """the epoch whose weights are kept: that of the lowest loss, of validation or, where there is none, of training; or
    the last one"""
