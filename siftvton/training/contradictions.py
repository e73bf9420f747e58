"""Refuse settings of a training that contradict each other, before anything is loaded."""

from pathlib import Path

from siftvton.errors import UsageError
from siftvton.places import require_kept
from siftvton.training.config import OptimisationConfig, Train
from siftvton.training.tracking import require_run_name


def refuse_contradictions(config: Train) -> None:
    """Check the keys that no other part of training checks.

    Raises:
        UsageError: a key has no effect, or cannot work, with the value of another key.
    """
    _require_adam(config.train)
    _require_variant(config.train)
    require_run_name(config.train)
    if pretrained := config.model.pretrained:
        written = (Path(config.output, name) for name in ("model", "best"))
        require_kept(pretrained, written, f"model.pretrained={pretrained}")


def _require_adam(settings: OptimisationConfig) -> None:
    """Check that settings of AdamW are changed only where AdamW runs."""
    if settings.optimizer != "adafactor":
        return
    plain = OptimisationConfig()
    for key in ("adam_beta1", "adam_beta2", "adam_epsilon"):
        value, default = getattr(settings, key), getattr(plain, key)
        if value != default:
            raise UsageError(
                f"train.{key}={value} is not allowed with train.optimizer=adafactor, which does not use it; set "
                f"train.optimizer=adamw, or train.{key}={default}"
            )


def _require_variant(settings: OptimisationConfig) -> None:
    """Check that the models to write can have a variant's file names."""
    if not settings.save_variant:
        return
    if settings.save_dtype == "float32":
        raise UsageError(
            "train.save_variant=true is not allowed with train.save_dtype=float32, whose files have plain names; set "
            "train.save_dtype=float16 or bfloat16, or train.save_variant=false"
        )
    if settings.trainable == "lora":
        raise UsageError(
            "train.save_variant=true is not allowed with train.trainable=lora, because the file of updates has one "
            "name in all number formats; set train.save_variant=false"
        )
