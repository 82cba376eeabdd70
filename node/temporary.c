/* See temporary.h. */
#include "node/temporary.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

enum { OPEN_DIRECTORIES_MAX = 8 };

bool temporary_directory_create(char *ret_path, size_t size)
{
    const char *parent = getenv("TMPDIR");
    int length = snprintf(ret_path, size, "%s/lockstep-dev-XXXXXX",
                          parent != NULL && parent[0] != '\0' ? parent : "/tmp");
    if (length < 0 || (size_t)length >= size) {
        errno = ENAMETOOLONG;
        return false;
    }
    return mkdtemp(ret_path) != NULL;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

bool temporary_directory_remove(const char *path)
{
    return nftw(path, remove_one, OPEN_DIRECTORIES_MAX, FTW_DEPTH | FTW_PHYS) == 0;
}
