"""Mutants by number: made, given to the commands that read them, and judged. The same seed makes the same mutants."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz import checks, seeds
from fuzz.kinds import KINDS, Kind
from fuzz.mutate import mutated

SECONDS = 20.0
"""Of a processor, that a command may take."""

PATIENCE = 120.0
"""Seconds that it may take on a busy machine, in which it waits for other processes, or for nothing."""

BYTES = 3 << 30
"""That the process may hold."""

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Fault:
    """A mutant and what was wrong with it."""

    number: int
    kind: str
    command: str
    wrong: str


@dataclass
class Counts:
    """Of one kind: mutants, commands by exit code, faults."""

    mutants: int = 0
    codes: dict[int, int] = field(default_factory=dict)
    faults: int = 0


class Campaign:
    """Mutants of all kinds, in a folder of its own: the seeds, the mutant at hand, those that showed a fault."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed
        self._worker = Worker(folder)  # it imports what it needs while the seeds are made
        self.counts = {kind.name: Counts() for kind in KINDS}
        self._models = folder / "models"
        self._models.mkdir(parents=True, exist_ok=True)
        seeds.tiny(self._models / "tiny.onnx")
        self._seeds = {kind.name: list(self._make(kind)) for kind in KINDS}
        self._files = [path for each in self._seeds.values() for _, targets in each for path in targets]

    def run(self, numbers: Iterator[int], tell: Callable[[Fault], None]) -> list[Fault]:
        """Try mutants by their numbers, as long as there are any. Returns the faults; each is told when it is seen."""
        faults = []
        for number in numbers:
            for fault in self._try(number):
                faults.append(fault)
                self.counts[fault.kind].faults += 1
                tell(fault)
        return faults

    def close(self) -> None:
        self._worker.stop()

    def _make(self, kind: Kind) -> Iterator[tuple[Path, list[Path]]]:
        """The seeds of a kind, each with the files that may be changed."""
        place = self._folder / "seeds" / kind.name.replace(" ", "-")
        shutil.rmtree(place, ignore_errors=True)
        kind.make(place)
        for seed in sorted(each for each in place.iterdir() if each.is_dir()):
            (seed / "out").mkdir(exist_ok=True)
            targets = [path for pattern in kind.targets for path in sorted(seed.glob(pattern)) if path.is_file()]
            if targets:
                yield seed, targets

    def _try(self, number: int) -> list[Fault]:
        rng = random.Random(f"{self._seed} {number}")
        kind = rng.choices(KINDS, [each.share for each in KINDS])[0]
        self.counts[kind.name].mutants += 1
        origin, targets = rng.choice(self._seeds[kind.name])
        target = rng.choice(targets)
        data = mutated(rng, target, self._files)
        commands = [*kind.every, *([rng.choice(kind.some)] if kind.some else [])]
        faults = []
        for command in commands:
            seed = self._folder / "mutant"
            self._place(seed, origin, target, data, kind)
            words = self._words(command, seed)
            wrong = self._judge(seed, kind, words)
            if wrong:
                faults.append(Fault(number, kind.name, " ".join(words), "; ".join(wrong)))
                self._keep(seed, faults[-1])
        return faults

    def _place(self, seed: Path, origin: Path, target: Path, data: bytes, kind: Kind) -> None:
        shutil.rmtree(seed, ignore_errors=True)
        shutil.copytree(origin, seed)
        (seed / target.relative_to(origin)).write_bytes(data)
        kind.prepare(seed)

    def _words(self, command: str, seed: Path) -> list[str]:
        if command == "{command}":
            command = (seed / "command").read_text()
        return command.replace("{seed}", str(seed)).replace("{models}", str(self._models)).split()

    def _judge(self, seed: Path, kind: Kind, words: list[str]) -> list[str]:
        """Run a command on a mutant; returns what was wrong."""
        before = checks.listed(seed)
        said = self._folder / "said"
        said.mkdir(exist_ok=True)
        answer = self._worker.ask({"words": words, "said": str(said), "seed": str(seed)})
        if "died" in answer:
            return [answer["died"]]
        code, error = answer["code"], answer["error"]
        counts = self.counts[kind.name].codes
        counts[code] = counts.get(code, 0) + 1
        stdout, stderr = ((said / name).read_text(errors="replace") for name in ("stdout", "stderr"))
        if error:
            return [f"traceback: {error.strip()}"]
        wrong = [*checks.of_output(code, stdout, stderr), *checks.of_files(seed, code, stderr, before)]
        wrong += [f"left open: {each}" for each in answer["open"][:1]]
        if not code and not wrong:
            answer = self._worker.ask({"right": kind.name, "seed": str(seed), "said": str(said)})
            wrong += [each for each in (answer.get("died"), answer.get("error")) if each]
        return wrong

    def _keep(self, seed: Path, fault: Fault) -> None:
        """Put a mutant aside with the command that shows its fault."""
        kept = self._folder / "faults" / f"{fault.number}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(seed, kept, symlinks=True)
        (kept / "fault.txt").write_text(
            f"unet-deploy {fault.command.replace(str(seed), str(kept))}\n\n{fault.kind}: {fault.wrong}\n"
        )


class Worker:
    """The process that commands run in; one that died or was ended is started again when it is next asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[str] | None = self._start()

    def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Have something done; {"died": why} where it took too long or too much memory, or ended the process."""
        process = self._process = self._process or self._start()
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        began, used = time.monotonic(), _computed(process.pid)
        while not select.select([process.stdout], [], [], 0.02)[0]:
            if _computed(process.pid) - used > SECONDS or time.monotonic() - began > PATIENCE:
                return self._end(f"hang: over {SECONDS:g} s")
            if _resident(process.pid) > BYTES:
                return self._end(f"memory: over {BYTES >> 20} MiB")
        line = process.stdout.readline()
        if line:
            return json.loads(line)
        return self._end(f"crash: ended by {process.wait()}")

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _end(self, why: str) -> dict[str, Any]:
        self.stop()
        return {"died": why}

    def _start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "UNET_DEPLOY_CACHE": str(self._folder / "cache"), "COLUMNS": "120"}
        paths = [str(TESTS), str(TESTS.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        return subprocess.Popen(
            [sys.executable, "-m", "fuzz.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=self._folder,
        )


def _computed(process: int) -> float:
    """Seconds of a processor that a process has taken."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(process: int) -> int:
    """Bytes that a process holds."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
