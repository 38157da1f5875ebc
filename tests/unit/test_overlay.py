"""Promises of `nodebake.overlay`."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from nodebake import overlay
from nodebake.errors import BuildError, UsageError
from nodebake.tree import Tree, directory, file, link


@pytest.fixture
def overlays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty directory that stands in for `overlays/`."""
    monkeypatch.setattr(overlay, "OVERLAYS", tmp_path)
    return tmp_path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_template_is_filled_and_loses_its_suffix(overlays: Path) -> None:
    """A template's values come from the caller, and its last newline stays."""
    _write(overlays / "a/any/etc/motd.j2", "hello {{ name }}\n")
    expected = Tree({"etc": directory(), "etc/motd": file(b"hello x\n")})
    assert expected == overlay.render("a", ["any"], {"name": "x"})


def test_script_is_executable_and_nothing_else_is(overlays: Path) -> None:
    """The mode follows from the first two bytes, not from the build machine's disk."""
    _write(overlays / "a/any/bin/tool.j2", "#!/bin/sh\necho {{ word }}\n")
    _write(overlays / "a/any/etc/plain", "text\n")
    (overlays / "a/any/etc/plain").chmod(0o777)
    tree = overlay.render("a", ["any"], {"word": "hi"})
    expected = {"bin/tool": 0o755, "etc/plain": 0o644}
    assert expected == {path: stat.S_IMODE(tree[path].mode) for path in expected}


def test_later_variant_wins(overlays: Path) -> None:
    """Where two variants have the same file, the later one's is taken."""
    _write(overlays / "a/any/f", "general\n")
    _write(overlays / "a/openrc/f", "special\n")
    expected = b"special\n"
    assert expected == overlay.render("a", ["any", "openrc"], {})["f"].content


def test_missing_value_names_file_and_line(overlays: Path) -> None:
    """A template that uses a name nobody gave is an error with its place."""
    _write(overlays / "a/any/f.j2", "one\n\n{{ nobody }}\n")
    with pytest.raises(BuildError, match=r"^overlays/a/any/f\.j2:3: 'nobody' is undefined"):
        overlay.render("a", ["any"], {})


def test_broken_template_names_file_and_line(overlays: Path) -> None:
    """A template that does not parse is an error with its place."""
    _write(overlays / "a/any/f.j2", "one\n{% if %}\n")
    with pytest.raises(BuildError, match=r"^overlays/a/any/f\.j2:2: "):
        overlay.render("a", ["any"], {})


def test_missing_variant_is_an_error(overlays: Path) -> None:
    """An incomplete checkout is not taken for a component without files."""
    del overlays
    with pytest.raises(BuildError, match="overlays/a/openrc is missing"):
        overlay.render("a", ["openrc"], {})


def test_user_overlay_has_the_modes_of_the_profile(tmp_path: Path) -> None:
    """Modes come from the profile, links stay links, and the disk's modes do not count."""
    _write(tmp_path / "etc/wireguard/wg0.conf", "secret\n")
    _write(tmp_path / "opt/run", "#!/bin/sh\n")
    (tmp_path / "etc/wireguard/wg0.conf").chmod(0o755)
    (tmp_path / "etc/localtime").symlink_to("/usr/share/zoneinfo/UTC")
    expected = Tree(
        {
            "etc/localtime": link("/usr/share/zoneinfo/UTC"),
            "etc/wireguard/wg0.conf": file(b"secret\n", 0o600),
            "opt/run": file(b"#!/bin/sh\n", 0o755),
        }
    )
    assert expected == overlay.user_overlay(tmp_path, {"/etc/wireguard/wg0.conf": "0600"})


def test_mode_for_no_file_is_refused(tmp_path: Path) -> None:
    """A misspelt path among the modes must not leave a secret readable."""
    _write(tmp_path / "etc/a", "")
    with pytest.raises(UsageError, match="has no file etc/b"):
        overlay.user_overlay(tmp_path, {"etc/b": "0600"})


def test_user_overlay_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    """A path that is not there is the user's mistake, not a traceback."""
    with pytest.raises(UsageError, match="is not a directory"):
        overlay.user_overlay(tmp_path / "nowhere", {})


def test_user_overlay_that_cannot_be_read_is_refused() -> None:
    """A directory that is closed to us does not silently stay behind."""
    mine = os.geteuid()
    with tempfile.TemporaryDirectory() as name:  # not tmp_path, which is root's alone
        closed = Path(name) / "etc/closed"
        closed.mkdir(parents=True)
        Path(name).chmod(0o755)
        closed.chmod(0)
        if mine == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(UsageError, match="etc/closed: Permission denied"):
                overlay.user_overlay(Path(name), {})
        finally:
            os.seteuid(mine)
            closed.chmod(0o700)
