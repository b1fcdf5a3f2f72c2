"""A model under training: which of its weights learn, and how fast."""

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from torch import nn

from ..errors import LiraError
from ..modeling_lira import LiraModel
from ..modeling_lira_causal_lm import LiraForCausalLM
from .queues import FifoQueue

Model = TypeVar("Model", LiraModel, LiraForCausalLM)


class Stage(nn.Module, Generic[Model]):
    """Base of all stages; a subclass maps a batch to `loss` and its terms.

    Parameters
    ----------
    model : LiraModel or LiraForCausalLM
        `requires_grad` of its weights is set in place.
    learning_rates : mapping of str to float
        Peak learning rate by sub-module or weight, the longest name that fits deciding. What no name fits, or 0, is
        frozen, and so is a backbone, of which only low-rank layers ever learn.

    Raises
    ------
    LiraError
        A learning rate of a part that the model does not have.
    """

    def __init__(self, model: Model, learning_rates: Mapping[str, float]) -> None:
        super().__init__()
        _check_parts(model, learning_rates)
        self.model: Model = model
        frozen = {name for name in model.backbone_keys() if ".lora_" not in name}
        self.rates = {
            name: 0.0 if name in frozen else _rate(name, learning_rates) for name, _ in model.named_parameters()
        }
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(self.rates[name] > 0)

    @property
    def queues(self) -> dict[str, FifoQueue]:
        """What the stage remembers of earlier batches, by name; saved with the trainer's state."""
        return {}

    def parameter_groups(self) -> list[dict[str, float | list[nn.Parameter]]]:
        """Return the learning parameters by learning rate, as optimizers take them."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self.rates[name], []).append(parameter)
        return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def within(name: str, parts: Iterable[str]) -> bool:
    """Whether a weight is one of the parts, or inside one."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _check_parts(model: nn.Module, learning_rates: Iterable[str]) -> None:
    """Raise `LiraError` for a learning rate of a part that the model does not have: nothing would learn by it."""
    parts = {name for name, _ in model.named_modules()} | {name for name, _ in model.named_parameters()}
    for name in learning_rates:
        if name not in parts:
            raise LiraError(f"learning rate of {name!r}: the model has no part of that name")


def _rate(name: str, learning_rates: Mapping[str, float]) -> float:
    fitting = [part for part in learning_rates if within(name, (part,))]
    return learning_rates[max(fitting, key=len)] if fitting else 0.0
