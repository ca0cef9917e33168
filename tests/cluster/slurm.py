"""A real SLURM for tests: a controller and two nodes on this machine, thrown away afterwards.

All of it lives in a new folder and on free ports, so several can run at once. The daemons stay in the foreground as
children of this process: what is stopped is what was started.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

NODES = ("n1", "n2")
NODE_MEMORY_MB = 2000
NODE_CPUS = 2
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "munged", "mungekey")
ROOT = Path(__file__).parents[2]

_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_UNFINISHED = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED")

# Memory is what the steps' processes hold, looked at once a second; above the allocation they are killed.
_CONFIGURATION = """
ClusterName=streamsample
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MailProg=/bin/true
"""
_NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} Boards=1 SocketsPerBoard=1 "
    "CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory} State=UNKNOWN\n"
)


@dataclass(frozen=True)
class Job:
    """A job that has ended."""

    state: str
    """``COMPLETED``, ``FAILED``, ``OUT_OF_MEMORY`` and so on."""
    reason: str
    """Why it is in that state."""
    output: str
    """What it has printed, both streams."""


@dataclass
class Cluster:
    """A running cluster."""

    folder: Path
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """Variables for the clients: of the outer environment only what they need, so nothing there is stale."""
        return {"PATH": _PATH, "HOME": str(Path.home()), "SLURM_CONF": str(self.folder / "slurm.conf")}

    def client(
        self, argv: Sequence[str], variables: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the client programs from the project's folder, with more variables if given."""
        environ = {**self.environ, **(variables or {})}
        return subprocess.run(argv, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)

    def submit(self, script: str, *options: str, variables: Mapping[str, str] | None = None) -> str:
        """Submit a batch script, and return the job's number."""
        file = self.folder / "jobs" / f"{time.monotonic_ns()}.sh"
        file.write_text(f"#!/bin/sh\n{script}\n")
        argv = ["sbatch", "--parsable", f"--output={self.folder}/jobs/%j.out", *options, str(file)]
        done = self.client(argv, variables)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def wait(self, job: str, timeout: float = 120) -> Job:
        """Wait until a job has ended."""
        deadline = time.monotonic() + timeout
        while (state := _item("JobState", answer := self.show(job))) in _UNFINISHED:
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job} is {state} after {timeout} s\n{self.logs()}")
            time.sleep(0.2)
        output = self.folder / "jobs" / f"{job}.out"
        return Job(state, _item("Reason", answer), output.read_text() if output.exists() else "")

    def show(self, job: str) -> str:
        """What the controller says of a job."""
        done = self.client(["scontrol", "-d", "show", "job", job])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def logs(self) -> str:
        """The last lines of every daemon's log."""
        return "\n".join(
            f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            for log in sorted(self.folder.glob("*.log"))
        )


def missing() -> str | None:
    """Say why no cluster can be started here; None if one can."""
    absent = [program for program in PROGRAMS if shutil.which(program, path=_PATH) is None]
    if absent:
        return f"SLURM is not installed here: there is no {', '.join(absent)}"
    return None if os.geteuid() == 0 else "the daemons of SLURM need root"


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a cluster, wait until its nodes are idle, and stop and remove all of it in the end, whatever happens."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsample-slurm-", ignore_cleanup_errors=True))
        )
        folder.chmod(0o755)  # munge's own user has to come through
        made = Cluster(folder)
        stack.callback(_stop, made)
        _configure(folder)
        _start_munge(made)
        _start(made, ["slurmctld", "-D", "-f", made.environ["SLURM_CONF"]])
        for name in NODES:
            _start(made, ["slurmd", "-D", "-N", name, "-f", made.environ["SLURM_CONF"]])
        _await(lambda: _idle(made) == len(NODES), "the nodes are not idle", made)
        yield made


def _configure(folder: Path) -> None:
    """Write the configuration, and make the folders that it names."""
    for name in ("state", "jobs", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    host, ports = socket.gethostname().partition(".")[0], _free_ports(1 + len(NODES))
    text = _CONFIGURATION.format(host=host, ports=ports, folder=folder)
    for name, port in zip(NODES, ports[1:], strict=True):
        text += _NODE.format(name=name, host=host, port=port, cpus=NODE_CPUS, memory=NODE_MEMORY_MB)
    text += "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
    (folder / "slurm.conf").write_text(text.lstrip())
    (folder / "cgroup.conf").write_text("IgnoreSystemd=yes\n")


def _free_ports(number: int) -> list[int]:
    """Ports that nobody listens on: all taken at once, so that they differ, and given back."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _start_munge(made: Cluster) -> None:
    """Start the authentication with a key of its own, as munge's user where there is one: it refuses root."""
    folder = made.folder / "munge"
    folder.mkdir(mode=0o755)
    user = {}
    with suppress(KeyError):
        entry = pwd.getpwnam("munge")
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    options = {"env": made.environ, "check": True, **user}
    subprocess.run(["mungekey", "--create", f"--keyfile={folder}/key"], **options)  # type: ignore[call-overload]
    names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    argv = ["munged", "--foreground", *(f"--{option}={folder}/{name}" for option, name in names.items())]
    _start(made, argv, **user)
    _await((folder / "socket").exists, "munge does not answer", made)


def _start(made: Cluster, argv: Sequence[str], **options: object) -> None:
    """Start a daemon in the foreground, with its output in a log."""
    program = shutil.which(argv[0], path=_PATH)
    assert program is not None
    with (made.folder / f"{len(made.daemons)}-{argv[0]}.log").open("wb") as log:
        made.daemons.append(
            subprocess.Popen(  # type: ignore[call-overload]
                [program, *argv[1:]], env=made.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options
            )
        )


def _await(condition: Callable[[], bool], complaint: str, made: Cluster, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline or any(daemon.poll() is not None for daemon in made.daemons):
            raise RuntimeError(f"{complaint}\n{made.logs()}")
        time.sleep(0.1)


def _idle(made: Cluster) -> int:
    """Number of nodes that wait for work."""
    return len(made.client(["sinfo", "-h", "-N", "-r", "-t", "idle", "-o", "%N"]).stdout.split())


def _item(name: str, answer: str) -> str:
    """One ``name=value`` of what the controller says."""
    found = re.search(rf"\b{name}=(\S+)", answer)
    assert found is not None, answer
    return found[1]


def _stop(made: Cluster) -> None:
    """Cancel what runs, then stop the nodes, the controller and munge, and what a step may have left."""
    with suppress(subprocess.TimeoutExpired):
        made.client(["scancel", "--state=PENDING"], timeout=10)
        made.client(["scancel", "--signal=KILL", "--full", "--state=RUNNING"], timeout=10)
        deadline = time.monotonic() + 15
        while made.client(["squeue", "-h"], timeout=10).stdout.strip() and time.monotonic() < deadline:
            time.sleep(0.2)
    for daemon in reversed(made.daemons):
        daemon.terminate()
        try:
            daemon.wait(15)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    for pid in _left_over(made.folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _left_over(folder: Path) -> Iterator[int]:
    """Processes of this cluster's steps: they inherit the name of its configuration."""
    marker = f"SLURM_CONF={folder}/slurm.conf".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if marker in environ.read_bytes().split(b"\0"):
                yield int(environ.parent.name)
