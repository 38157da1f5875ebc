"""Which release of etcd may follow which."""

from __future__ import annotations

import pytest

from nodebake.components.etcd.releases import objection, release


def said(running: str, wanted: str) -> str:
    """Return what is said against going from some releases, with spaces between, to another."""
    return "; ".join(objection([release(one) for one in running.split()], release(wanted)) or ())


@pytest.mark.parametrize(
    ("running", "wanted"),
    [
        ("3.5.16", "3.5.16"),
        ("3.5.16", "3.5.33"),
        ("3.4.23", "3.5.16"),
        ("3.4.23 3.5.16", "3.5.16"),
        ("3.5.26", "3.6.14"),
        ("3.6.11", "3.7.1"),
        ("3.5.1", "3.5.1"),
    ],
)
def test_allowed(running: str, wanted: str) -> None:
    """A later patch, the next minor version, and one half of the members being there already."""
    assert said(running, wanted) == ""


@pytest.mark.parametrize(
    ("running", "wanted", "expected"),
    [
        ("3.5.16", "3.5.15", "3.5.15 is older than 3.5.16"),
        ("3.6.14 3.5.33", "3.5.33", "3.5.33 is older than 3.6.14"),
        ("3.4.23", "3.6.14", "first upgrade to the newest 3.5"),
        ("3.4.23 3.5.30", "3.6.14", "first upgrade to the newest 3.5"),
        ("3.5.25", "3.6.14", "first upgrade to 3.5.26 or later"),
        ("3.6.10", "3.7.1", "first upgrade to 3.6.11 or later"),
        ("3.4.23", "3.5.2", "can lose data"),
    ],
)
def test_refused(running: str, wanted: str, expected: str) -> None:
    """Downgrades, skips, what is too old for the next minor version, and releases that lose data."""
    assert expected in said(running, wanted)


def test_users_keep_3_4_from_3_5() -> None:
    """Their entries in the log are written in another way from 3.5 on; later steps are free."""
    wrong = objection([(3, 4, 23)], (3, 5, 16), users=True)
    assert wrong is not None
    assert "etcd with users cannot go from 3.4.23 to 3.5.16" in wrong[0]
    assert objection([(3, 5, 30)], (3, 6, 14), users=True) is None


@pytest.mark.parametrize(
    ("version", "expected"),
    [("3.5.16", (3, 5, 16)), ("3.5.16-4", (3, 5, 16)), ("1:3.4.23-4+b4", (3, 4, 23))],
)
def test_debians_versions_are_upstreams(version: str, expected: tuple[int, int, int]) -> None:
    """What Debian adds is left out."""
    assert release(version) == expected


def test_what_is_no_version_is_refused() -> None:
    """Never taken for an old one."""
    with pytest.raises(ValueError, match="not a release"):
        release("unknown")
