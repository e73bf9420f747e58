"""The network in training: what is trained, by which optimiser, and how it is compiled, divided and averaged."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import nn

from siftvton.devices import errors_shared, on_main
from siftvton.model.inputs import Autoencoder
from siftvton.model.network import TryOnNetwork
from siftvton.training import compiling, lora, sharding
from siftvton.training.checkpoints import Learned
from siftvton.training.config import Train
from siftvton.training.frozen import frozen_digest, place_frozen
from siftvton.training.optimizers import optimizer_of
from siftvton.training.state import select_trainable


class Learner:
    """A network, its optimiser and its average.

    Attributes:
        inner: the network without wrappers. network: the network to call in training.
        undivided: a network whose weights can be saved and sampled from inside :meth:`averaged`.
        trained: the parameters to train; of a divided network, this process's shares.
        frozen: places and number formats of the parts that are not trained.
        frozen_digest: of the pretrained weights that are not trained; None if there are none.
        eagerly: a context for all passes that do not train.
        lora: whether only small updates of some layers are trained.
    """

    def __init__(self, config: Train, accelerator: Accelerator, vae: Autoencoder, inner: TryOnNetwork) -> None:
        """
        Raises:
            UsageError: the optimiser is not available, or LoRA is not installed or does not fit the network.
        """
        settings = config.train
        self.inner = self.undivided = inner
        self.accelerator = accelerator
        if settings.gradient_checkpointing:
            inner.enable_gradient_checkpointing()
        self.eagerly: Callable[[], AbstractContextManager[Any]] = nullcontext
        if settings.compile:
            compiling.compile_blocks(inner, compiling.supervised_layers(inner, config.supervision))
            self.eagerly = compiling.uncompiled
        self.lora = settings.trainable == "lora"
        if self.lora:
            with errors_shared():
                self.trained = lora.add_updates(inner, config)
            lora.small_checkpoints(accelerator)
        else:
            self.trained = select_trainable(inner, settings.trainable)
        # Before the weights are converted, divided or moved to a GPU: 1.6 GB take one to three seconds, and no memory.
        self.frozen_digest = on_main(lambda: frozen_digest(inner)) if config.model.pretrained else None
        cached = config.data.cache_latents is not None
        frozen_precision = "no" if accelerator.is_fsdp2 else settings.mixed_precision  # FSDP2 requires one format
        self.frozen = place_frozen(vae, inner, accelerator.device, frozen_precision, cached)
        optimizer = optimizer_of(self.trained, settings, accelerator.device)
        self.network: nn.Module
        if accelerator.is_fsdp2:
            self.undivided = sharding.hollow(inner)
            self.network, self.optimizer = sharding.divide(accelerator, inner, optimizer)
            self.trained = [parameter for parameter in inner.parameters() if parameter.requires_grad]
        else:
            self.network, self.optimizer = accelerator.prepare(inner, optimizer)
        self.average: EMAModel | None = None
        if settings.ema_decay is not None:
            self.average = EMAModel(self.trained, decay=settings.ema_decay, foreach=not accelerator.is_fsdp2)

    def learned(self) -> Learned:
        """What a checkpoint holds."""
        return Learned(self.inner, self.optimizer, self.average)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Use the averaged weights inside the block, if there is an average, and gather a divided network."""
        if self.accelerator.is_fsdp2:
            with sharding.filled(self.undivided, self.inner, self.average, self.accelerator.device):
                yield
            return
        if self.average is None:
            yield
            return
        self.average.store(self.trained)
        self.average.copy_to(self.trained)
        try:
            yield
        finally:
            self.average.restore(self.trained)
