"""Programs are inspected before they are baked in."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodebake.errors import InputError
from nodebake.sources.elf import LOADERS, inspect
from nodebake.sources.runtime import closure
from tests.unit.inputs import HOST, busybox

OTHER = {"x86_64": "aarch64", "aarch64": "x86_64"}[HOST]


def dynamic() -> bytes:
    """Return a dynamic program of the host's architecture."""
    return Path("/bin/true").read_bytes()


def test_a_static_program_needs_nothing() -> None:
    """No loader, no libraries."""
    program = inspect(busybox(), HOST)
    assert (program.interpreter, program.needed) == ("", ())


def test_a_dynamic_program_names_its_loader_and_libraries() -> None:
    """What readelf shows of it."""
    program = inspect(dynamic(), HOST)
    assert (program.interpreter, program.needed) == (f"/{LOADERS[HOST]}", ("libc.so.6",))


def test_a_program_for_another_machine_is_refused_with_both_machines() -> None:
    """It would be a node that never starts."""
    with pytest.raises(InputError, match=rf"etcd is for another machine: 64 bit .* {OTHER} is wanted"):
        inspect(busybox(), OTHER, name="etcd")


def test_a_32_bit_program_is_refused() -> None:
    """The class in the header decides, before anything else is read."""
    content = bytearray(52)
    content[:7] = b"\x7fELF\x01\x01\x01"
    content[16:20] = b"\x02\x00\x28\x00"
    with pytest.raises(InputError, match="another machine: 32 bit little-endian EM_ARM"):
        inspect(bytes(content), HOST)


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"<html>"])
def test_what_is_no_program_is_refused(content: bytes) -> None:
    """A script, a page of a captive portal, nothing."""
    with pytest.raises(InputError, match="has no ELF header"):
        inspect(content, HOST)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.9])
def test_a_cut_off_program_is_refused(share: float) -> None:
    """Its headers name more bytes than there are."""
    content = dynamic()
    with pytest.raises(InputError):
        inspect(content[: int(len(content) * share)], HOST)


@given(at=st.integers(0, 1500), junk=st.binary(min_size=1, max_size=16))
def test_a_damaged_header_never_ends_in_a_traceback(at: int, junk: bytes) -> None:
    """Whatever the bytes, it is a program or an input error."""
    content = bytearray(dynamic())
    content[at : at + len(junk)] = junk
    with suppress(InputError):
        inspect(bytes(content), HOST)


def test_another_loader_than_glibcs_is_refused() -> None:
    """Alpine's own programs cannot take a C library along."""
    with pytest.raises(InputError, match=r"asks for the loader /lib/ld-musl-x86_64\.so\.1"):
        closure({}, (), ["/lib/ld-musl-x86_64.so.1"], arch="x86_64")


def test_a_library_outside_the_c_librarys_package_is_named() -> None:
    """A program that needs more than glibc is refused, not shipped broken."""
    libraries = {f"usr/lib/x/{Path(LOADERS[HOST]).name}": busybox()}
    with pytest.raises(InputError, match=r"asks for libfoo\.so\.1"):
        closure(libraries, ["libfoo.so.1"], [f"/{LOADERS[HOST]}"], arch=HOST)
