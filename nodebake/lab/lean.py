"""What a Debian guest that is thrown away goes without: units, rules and modules nobody asks for there."""

from __future__ import annotations

from nodebake.tree import Tree, file, link

_FSTAB = "/dev/vda / ext4 rw,noatime 0 0\n"
# Every program started costs an emulated processor half a second, every rule is tried on two hundred
# devices, and every module has to be unpacked.
_UNITS = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "fstrim.timer", "getty@tty1.service", "systemd-binfmt.service"),
    *("modprobe@configfs.service", "modprobe@drm.service", "modprobe@efi_pstore.service"),
    *("modprobe@fuse.service", "proc-sys-fs-binfmt_misc.automount", "sys-kernel-config.mount"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-hugepages.mount", "dev-mqueue.mount"),
    *("systemd-network-generator.service", "systemd-networkd-persistent-storage.service"),
    *("systemd-pstore.service", "systemd-udev-load-credentials.service"),
)
_GENERATORS = (
    "debug",
    "gpt-auto",
    "hibernate-resume",
    "rc-local",
    "run",
    "ssh",
    "system-update",
    "sysv",
    "tpm2",
)
_RULES = (
    *("60-autosuspend", "60-cdrom_id", "60-dmi-id", "60-drm", "60-evdev", "60-fido-id", "60-infiniband"),
    *("60-input-id", "60-persistent-alsa", "60-persistent-input", "60-persistent-storage-mtd"),
    *("60-persistent-storage-tape", "60-persistent-v4l", "60-sensor", "64-btrfs", "66-azure-ephemeral"),
    *("70-camera", "70-joystick", "70-memory", "70-mouse", "70-power-switch", "70-touchpad", "70-uaccess"),
    *("71-seat", "73-seat-late", "75-probe_mtd", "78-sound-card", "90-iocost", "96-e2scrub"),
)
_MODULES = (
    *("aesni_intel", "button", "crc32_pclmul", "crc32c_intel", "crct10dif_pclmul", "evdev"),
    *("ghash_clmulni_intel", "qemu_fw_cfg", "serio_raw", "sha1_ssse3", "sha256_ssse3", "sha512_ssse3"),
)


def settings() -> Tree:
    """Return the guest's own files; an empty machine-id is one to be made at the first boot."""
    nowhere = link("/dev/null")
    units = {f"etc/systemd/system/{name}": nowhere for name in _UNITS}
    generators = {f"etc/systemd/system-generators/systemd-{name}-generator": nowhere for name in _GENERATORS}
    rules = {f"etc/udev/rules.d/{name}.rules": nowhere for name in _RULES}
    own = {
        "etc/fstab": _FSTAB,
        "etc/machine-id": "",
        "etc/modprobe.d/lab.conf": "".join(f"blacklist {name}\n" for name in _MODULES),
    }
    return Tree(units | generators | rules | {path: file(text.encode()) for path, text in own.items()})
