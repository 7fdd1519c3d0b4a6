"""The example, served by a daphne of its own."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tests.live.servers import Server, free_port, python


class ChatServer:
    """
    ``manage.py demo``, which can be stopped and started again at the same address.

    Its database is the one that ``EXAMPLE_DB`` names.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._port = free_port()
        self._processes = ExitStack()
        self._running: Server | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "ChatServer":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._processes.close()

    @property
    def log(self) -> str:
        """Everything that the server has printed."""
        return self._log.read_text()

    def start(self) -> None:
        argv = ["manage.py", "demo", "--port", str(self._port)]
        server = python(argv, port=self._port, log=self._log)
        self._running = self._processes.enter_context(server)

    def stop(self) -> int:
        """Return the exit code."""
        assert self._running is not None
        self._running.process.terminate()
        return self._running.process.wait(30)
