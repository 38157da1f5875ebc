"""What a program is: its word size, machine, loader and libraries (System V ABI, ELF)."""

from __future__ import annotations

import io
from dataclasses import dataclass

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from nodebake.errors import InputError

MACHINES = {"x86_64": (64, "EM_X86_64"), "aarch64": (64, "EM_AARCH64"), "armv7": (32, "EM_ARM")}
LOADERS = {"x86_64": "lib64/ld-linux-x86-64.so.2", "aarch64": "lib/ld-linux-aarch64.so.1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program's needs.

    Attributes:
        interpreter: the loader's path as the program has it, empty if it is static.
        needed: names of the libraries it asks for, in its order.
    """

    interpreter: str
    needed: tuple[str, ...]


def inspect(content: bytes, arch: str, *, name: str = "the file") -> Program:
    """Read what the ELF file `content` is and needs.

    Args:
        content: the whole file.
        arch: the target's; of one that is not among `MACHINES` any program will do.
        name: what to call it in messages.

    Raises:
        InputError: it is no ELF program, or one for another machine.
    """
    if not content.startswith(b"\x7fELF"):
        raise InputError(f"{name} is not a program: it has no ELF header")
    try:
        return _read(ELFFile(io.BytesIO(content)), arch, name)
    except (
        ELFError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        AssertionError,
        OverflowError,
    ) as error:
        raise InputError(f"{name} is a damaged ELF file: {error}") from error


def _read(elf: ELFFile, arch: str, name: str) -> Program:
    machine = str(elf["e_machine"])
    if arch in MACHINES and (elf.elfclass, machine, elf.little_endian) != (*MACHINES[arch], True):
        order = "little" if elf.little_endian else "big"
        raise InputError(
            f"{name} is for another machine: {elf.elfclass} bit {order}-endian {machine}, "
            f"and {arch} is wanted"
        )
    interpreter, needed = "", list[str]()
    size = elf.stream.seek(0, io.SEEK_END)
    for segment in elf.iter_segments():
        if segment["p_offset"] + segment["p_filesz"] > size:
            raise InputError(f"{name} is cut off: it has {size} bytes, and its headers name more")
        if isinstance(segment, InterpSegment):
            interpreter = segment.get_interp_name()
        elif isinstance(segment, DynamicSegment):
            tags = segment.iter_tags("DT_NEEDED")
            needed += [str(tag.needed) for tag in tags]  # type: ignore[attr-defined]  # it is set by name
    return Program(interpreter=interpreter, needed=tuple(needed))
