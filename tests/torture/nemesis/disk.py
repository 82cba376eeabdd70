"""A node's disk: a directory, a small tmpfs of its own where that is permitted, and the file by which disk_faults.c is told
what to do to the node's calls."""

import errno
import mmap
import os
import struct

from nemesis.network import run

# The bytes of struct control in disk_faults.c.
FIELDS = {"write_delay_us": "I", "sync_delay_us": "I", "write_errno": "i", "sync_errno": "i", "allocate_errno": "i",
          "delayed": "I", "failed": "I"}
OFFSETS = {name: 4 * index for index, name in enumerate(FIELDS)}

TMPFS_MIB = 64
CHUNK = 1 << 20


class Disk:
    def __init__(self, home, own_file_system):
        self.directory = os.path.join(home, "disk")
        self.own_file_system = own_file_system
        self.control_path = os.path.join(home, "disk-faults")
        os.makedirs(self.directory)
        if own_file_system:
            run("mount", "-t", "tmpfs", "-o", f"size={TMPFS_MIB}m", "none", self.directory)
        with open(self.control_path, "wb") as file:
            file.write(bytes(4 * len(FIELDS)))
        with open(self.control_path, "r+b") as file:
            self.control = mmap.mmap(file.fileno(), 0)
        self.faulty = set()

    def environment(self):
        return {"LOCKSTEP_TORTURE_DISK": self.control_path}

    def set(self, **fields):
        for name, value in fields.items():
            struct.pack_into("=" + FIELDS[name], self.control, OFFSETS[name], value)

    def get(self, name):
        return struct.unpack_from("=" + FIELDS[name], self.control, OFFSETS[name])[0]

    def fill(self):
        """A balloon takes all that is free."""
        with open(os.path.join(self.directory, "balloon"), "wb", buffering=0) as file:
            size = CHUNK
            while size > 0:
                try:
                    written = file.write(bytes(size))
                    if written < size:
                        size //= 2
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def empty(self):
        try:
            os.unlink(os.path.join(self.directory, "balloon"))
        except FileNotFoundError:
            pass

    def heal(self):
        self.set(write_delay_us=0, sync_delay_us=0, write_errno=0, sync_errno=0, allocate_errno=0)
        self.empty()
