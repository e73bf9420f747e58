"""The pictures to score, divided among the processes of a run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from accelerate.utils import gather_object
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from siftvton.devices import errors_shared

Value = TypeVar("Value")


@dataclass(frozen=True)
class Shares:
    """The share of this process: every ``count``-th batch, from number ``rank`` on.

    The batches are the same for any number of processes, and so are the values.

    Attributes:
        rank: the number of this process.
        count: the number of processes that share the work; 1: this process works alone.
    """

    rank: int = 0
    count: int = 1

    def of_batches(
        self, compute: Callable[[Any], Value], pictures: Dataset[Any], batch_size: int, workers: int, title: str
    ) -> list[Value]:
        """Compute a value for each batch of pictures. Every process returns all values, in the order of the pictures.

        Args:
            compute: the value of one batch; it must be possible to pickle it.
            pictures: a data set with a length.
            batch_size: number of pictures in a batch.
            workers: number of data loading processes.
            title: the name of the progress bar, which the first process shows for its own share.

        Raises:
            InputError, OSError: in this process or in another one.
        """
        size = len(pictures)  # type: ignore[arg-type]
        batches = [list(range(first, min(first + batch_size, size))) for first in range(0, size, batch_size)]
        own = DataLoader(pictures, batch_sampler=batches[self.rank :: self.count], num_workers=workers)

        def computed() -> list[Value]:
            return [compute(batch) for batch in tqdm(own, desc=title, disable=self.rank > 0)]

        if self.count == 1:
            return computed()
        with errors_shared():
            values = computed()
        of_process = gather_object([values])
        return [of_process[number % self.count][number // self.count] for number in range(len(batches))]


ALONE = Shares()
