"""The parts of a response, for what is put around an application."""

_END = object()


class Response:
    """The iterable of an application, each of whose steps goes through `guard`.

    `guard(step, function)` calls the function. The step is `iteration` or `close`.
    """

    def __init__(self, iterable, guard):
        self._iterable = iterable
        self._guard = guard
        self._iterator = None

    def __iter__(self):
        return self

    def __next__(self):
        block = self._guard("iteration", self._next)
        if block is _END:
            raise StopIteration
        return block

    def _next(self):
        if self._iterator is None:
            self._iterator = iter(self._iterable)
        # The end is no exception for those who watch.
        return next(self._iterator, _END)

    def close(self):
        close = getattr(self._iterable, "close", None)
        if close is not None:
            self._guard("close", close)
