/* Owns the table at the end of a run: what was in the history, how fast it was judged, and what was rejected. */
#ifndef LOCKSTEP_TORTURE_SUMMARY_H
#define LOCKSTEP_TORTURE_SUMMARY_H

#include <stdio.h>

#include "report.h"

void summary_print(const struct facts *facts, const struct report *report, double seconds, FILE *out);

#endif
