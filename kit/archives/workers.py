"""Work through a list from front to back with a few threads."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
THREADS = min(4, os.cpu_count() or 1)
# Below this mean weight threads get in each other's way: the disk creates one file per folder at a time.
WORTH_THREADS = 1 << 20  # bytes
# Large enough that handing out costs nothing, small enough that all threads are busy to the end.
BATCH_ITEMS, BATCH_BYTES = 256, 1 << 25
SECONDS = 0.5


class Stop:
    """The channel between the threads and the caller that waits for them."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._counts: SimpleQueue[int] = SimpleQueue()

    def set(self) -> None:
        """Ask the threads to stop."""
        self._event.set()

    def check(self) -> None:
        """Raise `CancelledError` once a stop is asked for; threads call this every now and then."""
        if self._event.is_set():
            raise CancelledError

    def count(self, amount: int) -> None:
        """Report that `amount` more is done."""
        self._counts.put(amount)

    def counted(self) -> int:
        """Return what was done since the last call."""
        return sum(self._counts.get() for _ in range(self._counts.qsize()))


def in_order(
    work: Callable[[int, list[T], Stop], int],
    items: list[T],
    weight: Callable[[T], int],
    done: Callable[[int], None],
) -> Iterator[int]:
    """Run `work(number, batch, stop)` on batches of the items in threads and yield the results in their order.

    Args:
        work: processes one batch, in a thread.
        items: everything to work on.
        weight: of an item, in bytes, so that batches are alike.
        done: called here, not in a thread, with what the threads have counted.

    Raises:
        Exception: the first one in the order of the items, after all threads have stopped.
    """
    stop, running = Stop(), deque[Future[int]]()
    threads = THREADS if sum(map(weight, items)) > WORTH_THREADS * len(items) else 1

    def first() -> int:
        while not wait((running[0],), SECONDS).done:
            done(stop.counted())
        done(stop.counted())
        return running.popleft().result()

    with ThreadPoolExecutor(threads) as pool:
        try:
            for number, batch in enumerate(_batches(items, weight)):
                running.append(pool.submit(work, number, batch, stop))
                if len(running) > 2 * threads:
                    yield first()
            while running:
                yield first()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _batches(items: list[T], weight: Callable[[T], int]) -> Iterator[list[T]]:
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += weight(item)
        if len(batch) == BATCH_ITEMS or total >= BATCH_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
