"""Count the bytes of a computation without its device: a run on PyTorch's meta device takes no memory and no time.

:class:`LiveBytes` follows all tensors from their creation to their end. :class:`CudaAutocast` gives operations the
number formats that autocast gives them on a GPU, because autocast does not know the meta device.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

BLOCK = 512  # bytes; PyTorch's allocator on a GPU rounds up to multiples of this
# From https://docs.pytorch.org/docs/stable/amp.html, what these networks use of it.
IN_HALF = (functional.conv2d, torch.conv2d, functional.linear, torch.matmul, torch.bmm, torch.baddbmm)
IN_FLOAT = (functional.group_norm, functional.layer_norm, functional.softmax, torch.softmax, functional.mse_loss)


class LiveBytes(TorchDispatchMode):
    """The bytes of the tensors that were made inside the ``with`` block and still exist.

    Attributes:
        now: the bytes at present. peak: the largest number so far; set it to ``now`` to start again.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        """
        Args:
            known: tensors that existed before, which do not count; their views do not count either.
        """
        super().__init__()
        self.now = self.peak = 0
        self._sizes = {tensor.untyped_storage()._cdata: 0 for tensor in known}  # by the address of the storage

    def __torch_dispatch__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._see(value.untyped_storage())
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        address = storage._cdata
        if address in self._sizes:
            return
        self._sizes[address] = size = -(-storage.nbytes() // BLOCK) * BLOCK
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._end, address)

    def _end(self, address: int) -> None:
        self.now -= self._sizes.pop(address)


class CudaAutocast(TorchFunctionMode):
    """Autocast as on a GPU, and attention without score matrices, for tensors on the meta device."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        """
        Args:
            dtype: number format of products; None: no autocast.
        """
        super().__init__()
        self.dtype = dtype
        self._cast: dict[int, Tensor] | None = None  # the cast weights, by the weights' addresses

    @contextmanager
    def caching(self) -> Iterator[None]:
        """Keep cast weights inside the block, as autocast does until its own block ends."""
        self._cast = {}
        try:
            yield
        finally:
            self._cast = None

    def __torch_function__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            query, key, value = map(self._half, args[:3] or [kwargs[name] for name in ("query", "key", "value")])
            fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # keeps what the GPU's keeps
            return fused(query, key, value, scale=kwargs.get("scale"))[0]
        change = self._half if func in IN_HALF else _float if self.dtype and func in IN_FLOAT else None
        if change is not None:
            args, kwargs = [change(value) for value in args], {name: change(value) for name, value in kwargs.items()}
        return func(*args, **kwargs)

    def _half(self, value: Any) -> Any:
        if self.dtype is None or not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        if self._cast is None or not isinstance(value, nn.Parameter) or not value.requires_grad:
            return value.to(self.dtype)
        if id(value) not in self._cast:
            self._cast[id(value)] = value.to(self.dtype)
        return self._cast[id(value)]


def _float(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
