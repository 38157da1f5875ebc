"""What the user sees: lines, tables, messages and exit codes; the last ones through ./invoke itself."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.progress import Progress

from nodebake import console
from nodebake.console.progress import Lines
from nodebake.console.rate import Rate
from nodebake.errors import BuildError, InputError, Problem, ProfileError, SafetyError, UsageError
from nodebake.manifest import Artifact, Manifest
from tests.need import ROOT
from tests.patience import until
from tests.unit import inputs, target

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAVY = ("pydantic", "cryptography", "jinja2", "httpx", "rich", "pycdlib", "docker")
PROBLEMS = [Problem(where="a.yaml:1", path="x", what="bad", todo="do"), Problem(what="worse")]


def invoke(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the tasks as the wrapper does, without a terminal."""
    argv = [sys.executable, "-m", "nodebake", *arguments]
    env = {**os.environ, **environ}
    return subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - ours


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BuildError("it broke", hint="try again"), 1, "it broke\n  try again\n"),
        (ProfileError(PROBLEMS), 2, "a.yaml:1: x: bad; do\nworse\n"),
        (UsageError("no"), 2, "no\n"),
        (InputError("gone"), 3, "gone\n"),
        (SafetyError("refused"), 4, "refused\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied\n"),
    ],
)
def test_an_error_is_a_message_and_its_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    """No traceback: what is wrong on standard error, and the code that the design names."""

    def fail() -> None:
        with console.session():
            raise error

    with pytest.raises(SystemExit) as stopped:
        fail()
    assert stopped.value.code == code
    assert capsys.readouterr() == ("", message)


def test_a_short_task_says_nothing_in_a_log() -> None:
    """A task below a second leaves no line; a note is a line of its own."""
    to = io.StringIO()
    with Lines(to) as lines:
        lines.start("quick", 3)
        lines.advance("quick")
        lines.note("by the way")
        lines.finish("quick")
    assert to.getvalue() == "by the way\n"


def test_a_long_task_has_a_first_and_a_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line after the user's patience is over, and one with the time it took; no carriage returns."""
    monkeypatch.setattr("nodebake.console.progress.PATIENCE", 0.05)
    to = io.StringIO()
    with Lines(to) as lines:
        lines.start("slow")
        until("the first line is there", to.getvalue)
        lines.finish("slow")
    assert re.fullmatch(r"slow \.\.\.\nslow: done in \d\.\d s\n", to.getvalue())


def test_an_error_silences_what_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that was running when the command failed does not speak up afterwards."""
    monkeypatch.setattr("nodebake.console.progress.PATIENCE", 5)
    to = io.StringIO()
    with Lines(to) as lines:
        lines.start("abandoned")
    for one in threading.enumerate():
        if isinstance(one, threading.Timer):
            one.join()
    assert not to.getvalue()


def test_a_terminal_gets_bars_and_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drawing listener runs through a task's whole life, unknown ones included."""
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    with console.progress.bars() as bars:
        bars.start("[red]", 2)
        bars.advance("[red]")
        bars.note("[not markup]")
        bars.finish("[red]")
        bars.advance("unknown")
        bars.finish("unknown")
    assert "[not markup]\n" in shown.getvalue()


def test_a_question_is_not_wiped_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """While no task runs, before the first and after the last, nothing is written to the terminal."""
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("FORCE_COLOR", "1")  # to rich, a terminal
    with console.progress.bars() as bars:
        quiet = []
        for _ in range(2):
            before = shown.getvalue()
            time.sleep(0.3)
            quiet.append(shown.getvalue() == before)
            bars.start("work")
            bars.finish("work")
        assert "work" in shown.getvalue()
    assert quiet == [True, True]


def test_a_plan_shows_value_and_origin(tmp_path: Path) -> None:
    """As text each setting is a row with where it came from; as JSON it is for programs."""
    plan = target.plan(tmp_path)
    text = console.plan_as_text(plan)
    for setting in plan.settings:
        assert re.search(rf"^{re.escape(setting.path)} .* {re.escape(setting.origin)}$", text, re.MULTILINE)
    assert json.loads(console.plan_as_json(plan)) == plan.to_json()


def test_the_last_lines_say_where_and_what_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory, relative where it can be, and a step for every kind of artefact."""
    items = [Artifact(kind=kind, path=f"n/{kind}", size=1 << 20, sha256="") for kind in ("seed", "rootfs")]
    manifest = Manifest(profile="p", cluster="c", epoch=0, inputs=(), nodes={"n": tuple(items)}, operator=())
    monkeypatch.chdir(tmp_path)
    lines = console.built(tmp_path / "build/p", manifest).splitlines()
    assert lines[0] == "1 nodes, 2 files, 2.0 MiB in build/p/"
    assert "n/n-seed.iso" in lines[2]
    assert "n/n.rootfs.tar.zst" in lines[3]
    assert lines[-1] == "then: . build/p/operator/etcdctl.env; etcdctl endpoint health --cluster"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("build",), 2, "no profile is named"),
        (("build", "--profil", "pi3"), 2, "No idea what '--profil' is!"),
        (("bake",), 2, "No idea what 'bake' is!"),
        (("build", "--profile", "pi3", "--jobs", "many"), 2, "--jobs many is not a number of nodes"),
        (("build", "--profile", "pi3", "--jobs", "0"), 2, "--jobs 0 is not a number of nodes"),
        (("build", "--profile", "pi3", "--jobs=0x1"), 2, "--jobs 0x1 is not a number of nodes"),
        (("plan", "--profile", "nosuch"), 2, "there is no profile 'nosuch'"),
        (("build", "--profile", "pi3", "--node", "nosuch"), 2, "pi3 has no node nosuch"),
        (("build", "--profile", "pi3", "--jobs", "-1"), 2, "--jobs -1 is not a number of nodes"),
        (
            ("verify", "--from", "build", "--key", "nosuch.pub"),
            2,
            "--key nosuch.pub: No such file or directory",
        ),
        (
            ("verify", "--from", "oci://h", "--key", "README.md"),
            2,
            "--from oci://h names no tag in a registry",
        ),
    ],
)
def test_wrong_arguments_end_with_2(arguments: tuple[str, ...], code: int, message: str) -> None:
    """One message, no traceback, exit code 2."""
    done = invoke(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def stalled(tmp_path: Path) -> Iterator[tuple[socket.socket, list[str]]]:
    """Return a build that comes to wait for a mirror which never answers, and that mirror's socket."""
    path = Path(inputs.profile(tmp_path))
    path.write_text(path.read_text().replace("3.5.16", "3.5.22"))  # pinned, and in nobody's cache
    with socket.create_server(("127.0.0.1", 0)) as mirror:
        mirror.settimeout(60)
        argv = [sys.executable, "-m", "nodebake", "build", "--profile", str(path)]
        argv += ["--out", str(tmp_path / "out"), "--vault", str(tmp_path / "v")]
        yield mirror, [*argv, "--mirror", f"http://127.0.0.1:{mirror.getsockname()[1]}"]


@pytest.mark.parametrize("seconds", [0.2, 0.6, None])
def test_interrupting_ends_with_130_and_one_line(
    stalled: tuple[socket.socket, list[str]], seconds: float | None
) -> None:
    """Ctrl-C is answered the same way while loading, planning and waiting for a download."""
    mirror, argv = stalled
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:  # noqa: S603 - ours
        if seconds:
            time.sleep(seconds)
        peers = [] if seconds else [mirror.accept()[0]]
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=60)
    for peer in peers:
        peer.close()
    if seconds and running.returncode == -signal.SIGINT:
        return  # Python itself was still starting
    assert running.returncode == 130
    assert "Traceback" not in told
    assert told.endswith("interrupted; what was written before is whole\n")


@pytest.mark.parametrize(
    ("epoch", "message"),
    [
        ("yesterday", "SOURCE_DATE_EPOCH is 'yesterday', not a number of seconds since 1970\n"),
        ("9" * 20, f"SOURCE_DATE_EPOCH is '{'9' * 20}', not a number of seconds since 1970\n"),
        (
            "4294967296",
            "SOURCE_DATE_EPOCH 4294967296 is after the year 2106, which not every file system knows\n",
        ),
    ],
)
def test_an_epoch_that_cannot_be_used_ends_with_2(epoch: str, message: str) -> None:
    """SOURCE_DATE_EPOCH counts as an argument."""
    done = invoke("build", "--profile", "pi3", SOURCE_DATE_EPOCH=epoch)
    assert (done.returncode, done.stderr) == (2, message)


def test_the_schema_is_json() -> None:
    """What `schema` prints is a JSON Schema."""
    done = invoke("schema")
    assert json.loads(done.stdout)["$schema"].startswith("https://json-schema.org/")


def test_listing_the_tasks_loads_no_room() -> None:
    """`--list` stays quick because it imports nothing that builds."""
    script = f"import sys, tasks; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_asking_whether_anything_changed_loads_no_room(tmp_path: Path) -> None:
    """An unchanged build takes less than a second because it imports nothing that builds."""
    path = inputs.profile(tmp_path)
    script = (
        f"import sys; from nodebake.console import Flags; assert Flags(profile={path!r}).unchanged() is None;"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_relative_path_starts_from_where_the_user_is(tmp_path: Path) -> None:
    """The wrapper works from any directory, and imports nothing that lies there."""
    (tmp_path / "mine.yaml").write_text((ROOT / "profiles/vm.yaml").read_text())
    (tmp_path / "json.py").write_text("raise SystemExit('imported')\n")
    env = {**os.environ, "NODEBAKE_VENV": sys.prefix}
    argv = [str(ROOT / "invoke"), "plan", "--profile", "./mine.yaml"]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("mine: ")


def test_a_question_is_asked_only_where_somebody_can_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal it is shown as it is, and the answer is the line that was typed."""
    assert console.prompt() is None
    outer, inner = os.openpty()
    os.write(outer, b"sdb\n")
    with os.fdopen(inner) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        asked = console.prompt()
        assert asked is not None
        assert asked("which [one]? ") == "sdb"
    os.close(outer)
    assert capsys.readouterr().err == "which [one]? "


def test_bars_of_bytes_tell_rate_and_time_left() -> None:
    """What counts bytes has megabytes per second; what counts nodes has none."""
    told = {}
    for total in (300 << 20, 300):
        bars = Progress(Rate(), get_time=iter(map(float, range(100))).__next__, disable=True)
        task = bars.add_task("x", total=total)
        for _ in range(5):
            bars.advance(task, total / 100)
        told[total] = str(Rate().render(bars.tasks[0]))
    assert told[300] == ""
    assert re.fullmatch(r"\d+\.\d MB/s, \d+ s left", told[300 << 20])
