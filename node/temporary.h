/* The data directory of --dev: made for one run, removed at its end. */
#ifndef LOCKSTEP_NODE_TEMPORARY_H
#define LOCKSTEP_NODE_TEMPORARY_H

#include <stdbool.h>
#include <stddef.h>

/* Make a directory under $TMPDIR, or /tmp. @return false with errno set. */
bool temporary_directory_create(char *ret_path, size_t size);
/* Remove it with all that is in it; symbolic links are removed, not followed. @return false with errno set. */
bool temporary_directory_remove(const char *path);

#endif
