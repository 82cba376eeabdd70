/* A durable write, as the log of a node does it. */
#include "tests/bench/probe/parts.h"

#include <fcntl.h>
#include <unistd.h>

enum { FILE_WRITES = 1024 };

int probe_file(const char *directory)
{
    static const char bytes[PROBE_WRITE_BYTES];
    int file = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file < 0) {
        probe_fail(directory);
    }
    for (int i = 0; i < FILE_WRITES; i++) {
        if (write(file, bytes, sizeof bytes) != (ssize_t)sizeof bytes) {
            probe_fail("write");
        }
    }
    if (fsync(file) != 0) {
        probe_fail("fsync");
    }
    return file;
}

void probe_write(int file, unsigned number)
{
    static char bytes[PROBE_WRITE_BYTES];
    bytes[0] = (char)number;
    if (pwrite(file, bytes, sizeof bytes, (off_t)(number % FILE_WRITES) * PROBE_WRITE_BYTES) !=
            (ssize_t)sizeof bytes ||
        fdatasync(file) != 0) {
        probe_fail("a durable write");
    }
}
