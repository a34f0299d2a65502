"""Finds out whether the hosts of jobs can have namespaces of their own on this machine."""

import sys
import threading
from collections import deque
from pathlib import Path

from localaws.core import Core
from localaws.sagemaker.jobs.hosts import Host
from localaws.sagemaker.jobs.network import READY_SECONDS, SYSTEM_PATH, NamespaceError, Network, open_network


class Isolation:
    """Finds out, once and by doing it, whether hosts can have namespaces of their own."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lock = threading.Lock()
        self._is_known = False
        self._refusal: str | None = None

    def refusal(self, folder: Path) -> str | None:
        """Return None when they can, else what was refused. Takes about 0.1 s the first time; `folder` is scratch."""
        with self._lock:
            if not self._is_known:
                self._refusal = self._try(folder)
                self._is_known = True
            return self._refusal

    def _try(self, folder: Path) -> str | None:
        if sys.platform != "linux":
            return f"{sys.platform} has no namespaces"
        folder = folder / "probe"
        folder.mkdir()
        network: Network | None = None
        try:
            network = open_network(self._core.processes, folder, name="jobs/probe", hosts=1, address=None)
            host = Host.prepare(folder, "algo-1", home=self._core.settings.home, index=0, hosts=("algo-1",), folders=())
            lines: deque[str] = deque(maxlen=1)
            command = host.launch_command(network, [sys.executable, "-I", "-S", "-c", "open('/opt/ml/probe', 'x')"])
            probe = self._core.processes.spawn(
                command, name="jobs/probe", env={"PATH": SYSTEM_PATH}, cwd=folder, on_line=lines.append
            )
            status = probe.wait(READY_SECONDS)
            if status is None:
                probe.stop(0.0)
            is_there = (host.ml / "probe").exists()
            return None if status == 0 and is_there else "".join(lines) or f"the probe ended with {status}"
        except NamespaceError as error:
            return str(error)
        finally:
            if network is not None:
                network.close()
