/* What the linker puts in the place of malloc, calloc and realloc. */
#include "allocations.h"

static size_t count;
static size_t bytes;
static bool refused;

/* The names are the linker's. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t number, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t number, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static bool taken(size_t size)
{
    count++;
    bytes += size;
    return !refused;
}

void *__wrap_malloc(size_t size)
{
    return taken(size) ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t number, size_t size)
{
    return taken(number * size) ? __real_calloc(number, size) : NULL;
}

void *__wrap_realloc(void *memory, size_t size)
{
    return taken(size) ? __real_realloc(memory, size) : NULL;
}

size_t allocations_count(void)
{
    return count;
}

size_t allocations_bytes(void)
{
    return bytes;
}

void allocations_refuse(bool refuse)
{
    refused = refuse;
}
