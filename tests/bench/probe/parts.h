/* What the probe measures, as calls that block until it is done. A call that fails ends the program, and says what failed. */
#ifndef BENCH_PROBE_PARTS_H
#define BENCH_PROBE_PARTS_H

#include <stdbool.h>

enum { PROBE_WRITE_BYTES = 4096, PROBE_MESSAGE_BYTES = 64 };

/* Prints `what` with errno's text, and ends the program. */
_Noreturn void probe_fail(const char *what);

/* ==== disk.c ==== */

/* A file without a name in `directory`, all of it written and durable. */
int probe_file(const char *directory);

/* PROBE_WRITE_BYTES into a file of probe_file's, and fdatasync; `number` says where, and changes the bytes. */
void probe_write(int file, unsigned number);

/* ==== loopback.c ==== */

/* Puts the process on the first, second, … processor of those that it may use; with only one of them it stays there.
 * Without PROBE_ANYWHERE's call it is wherever the kernel likes. */
enum { PROBE_ANYWHERE = -1 };
void probe_pin(int place);

/* A process of its own that runs `serve` with one end of a TCP connection over loopback; returns the other end. It ends when
 * `serve` returns, or with the process that called this. */
int probe_start(void (*serve)(int connection, const char *directory), const char *directory);

/* A message of PROBE_MESSAGE_BYTES, whole. False if the other end is gone. */
bool probe_send(int connection, const char *message);
bool probe_receive(int connection, char *message);

/* Sends back what it gets, on the second processor. */
void probe_echo(int connection, const char *directory);

/* ==== replicate.c ==== */

/* The leader of three processes; sends a message back once two of them have made a write durable. */
void probe_replicate(int connection, const char *directory);

#endif
