"""What a Debian guest that is thrown away goes without: units, rules and devices nobody asks for there."""

from __future__ import annotations

from nodebake.tree import Tree, file, link

# Every program started costs an emulated processor half a second, every unit a tenth of that even if it is
# not for this machine; every rule has to be read, and is tried on every device.
_UNITS = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dev-hugepages.mount", "dev-mqueue.mount"),
    *("dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer"),
    *("getty@tty1.service", "kmod-static-nodes.service", "ldconfig.service", "modprobe@configfs.service"),
    *("modprobe@drm.service", "modprobe@efi_pstore.service", "modprobe@fuse.service"),
    *("proc-sys-fs-binfmt_misc.automount", "run-lock.mount", "sys-fs-fuse-connections.mount"),
    *("sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"),
    *("systemd-ask-password-console.path", "systemd-ask-password-wall.path", "systemd-binfmt.service"),
    *("systemd-creds.socket", "systemd-firstboot.service", "systemd-hibernate-clear.service"),
    *("systemd-hwdb-update.service", "systemd-initctl.socket", "systemd-journal-catalog-update.service"),
    *("systemd-network-generator.service", "systemd-networkd-persistent-storage.service"),
    *("systemd-pcrextend.socket", "systemd-pcrlock.socket", "systemd-pcrmachine.service"),
    *("systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-pstore.service"),
    *("systemd-random-seed.service", "systemd-sysext.socket", "systemd-tmpfiles-clean.timer"),
    *("systemd-tmpfiles-setup-dev.service", "systemd-tmpfiles-setup-dev-early.service"),
    *("systemd-tpm2-setup.service", "systemd-tpm2-setup-early.service"),
    *("systemd-udev-load-credentials.service", "systemd-update-done.service", "tmp.mount"),
)
_GENERATORS = (
    *("debug", "gpt-auto", "hibernate-resume", "rc-local", "run", "ssh", "system-update", "sysv", "tpm2"),
)
_RULES = (
    *("60-autosuspend", "60-cdrom_id", "60-dmi-id", "60-drm", "60-evdev", "60-fido-id", "60-infiniband"),
    *("60-input-id", "60-persistent-alsa", "60-persistent-input", "60-persistent-storage-mtd"),
    *("60-persistent-storage-tape", "60-persistent-v4l", "60-sensor", "64-btrfs", "66-azure-ephemeral"),
    *("70-camera", "70-joystick", "70-memory", "70-mouse", "70-power-switch", "70-touchpad", "70-uaccess"),
    *("71-seat", "73-seat-late", "75-probe_mtd", "78-sound-card", "90-iocost", "96-e2scrub"),
)
# Of two hundred devices seventy are virtual terminals, and the processor alone loads a dozen modules.
_TRIGGER = """\
[Service]
ExecStart=
ExecStart=udevadm trigger --type=all --action=add --subsystem-match=block --subsystem-match=net \\
    --subsystem-match=pci --subsystem-match=virtio --subsystem-match=rtc
ExecStart=udevadm trigger --type=all --action=add --subsystem-match=tty --sysname-match=ttyS0
"""


def settings() -> Tree:
    """Return the guest's own files; an empty machine-id is one to be made at the first boot."""
    nowhere = link("/dev/null")
    units = {f"etc/systemd/system/{name}": nowhere for name in _UNITS}
    generators = {f"etc/systemd/system-generators/systemd-{name}-generator": nowhere for name in _GENERATORS}
    rules = {f"etc/udev/rules.d/{name}.rules": nowhere for name in _RULES}
    own = {
        "etc/fstab": "",
        "etc/machine-id": "",
        "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\n",
        "etc/systemd/system/systemd-udev-trigger.service.d/lab.conf": _TRIGGER,
    }
    return Tree(units | generators | rules | {path: file(text.encode()) for path, text in own.items()})
