/* Tables for people, JSON for programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"

static void *checked(void *memory)
{
    if (memory == NULL) {
        (void)fputs("lockstep: out of memory\n", stderr);
        exit(CLI_EXIT_FAILED);
    }
    return memory;
}

void cli_table_row(struct cli_table *table, const char *const *cells)
{
    table->rows = checked(realloc(table->rows, (table->rows_count + 1) * sizeof *table->rows));
    char **row = checked(calloc(table->columns, sizeof *row));
    for (unsigned i = 0; i < table->columns; i++) {
        row[i] = checked(strdup(cells[i]));
    }
    table->rows[table->rows_count++] = row;
}

void cli_table_begin(struct cli_table *table, unsigned columns, const char *const *heads)
{
    *table = (struct cli_table){.columns = columns};
    cli_table_row(table, heads);
}

static void print_row(const struct cli_table *table, char *const *row, const size_t *widths)
{
    for (unsigned i = 0; i + 1 < table->columns; i++) {
        (void)printf("%-*s  ", (int)widths[i], row[i]);
    }
    (void)printf("%s\n", row[table->columns - 1]); /* the last column has nothing to be filled up for */
}

void cli_table_print(const struct cli_table *table)
{
    size_t widths[CLI_COLUMNS_MAX] = {0};
    for (size_t r = 0; r < table->rows_count; r++) {
        for (unsigned i = 0; i < table->columns; i++) {
            size_t width = strlen(table->rows[r][i]);
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    for (size_t r = 0; r < table->rows_count; r++) {
        print_row(table, table->rows[r], widths);
    }
}

void cli_table_free(struct cli_table *table)
{
    for (size_t r = 0; r < table->rows_count; r++) {
        for (unsigned i = 0; i < table->columns; i++) {
            free(table->rows[r][i]);
        }
        free(table->rows[r]);
    }
    free(table->rows);
    *table = (struct cli_table){.columns = 0};
}

void cli_json_end(json_t *value)
{
    (void)json_dumpf(checked(value), stdout, JSON_INDENT(2));
    (void)putchar('\n');
    json_decref(value);
}
