/* The driver of a fuzz target where libFuzzer is not linked: runs the target's function once over each of the files
 * named on the command line. So the corpus is tested in every build, also by gcc.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Inputs are small by construction; one that is larger is a mistake in the corpus. */
#define REPLAY_FILE_BYTES_MAX ((size_t)16 * 1024 * 1024)

/* Exits with a message if the file can not be read: a corpus that is not run must not look like one that passed. */
static void replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    uint8_t *data = malloc(REPLAY_FILE_BYTES_MAX);
    if (data == NULL) {
        perror("malloc");
        exit(EXIT_FAILURE);
    }
    size_t size = fread(data, 1, REPLAY_FILE_BYTES_MAX, file);
    if (ferror(file) || size == REPLAY_FILE_BYTES_MAX) {
        fprintf(stderr, "%s: can not be read, or is too large\n", path);
        exit(EXIT_FAILURE);
    }
    (void)fclose(file); /* read only: nothing can be lost */

    /* The exact size, so that the address sanitizer sees a read past the end. */
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL) {
        perror("malloc");
        exit(EXIT_FAILURE);
    }
    for (size_t i = 0; i < size; i++) {
        exact[i] = data[i];
    }
    free(data);
    (void)LLVMFuzzerTestOneInput(exact, size); /* libFuzzer ignores it as well */
    free(exact);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE...: there is no corpus to run\n", argv[0]);
        return EXIT_FAILURE;
    }
    for (int i = 1; i < argc; i++) {
        replay_file(argv[i]);
    }
    printf("%d inputs\n", argc - 1);
    return EXIT_SUCCESS;
}
