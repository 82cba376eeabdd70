/* Owns the timelines: one self-contained SVG file for a finding, which shows its key around it. */
#ifndef LOCKSTEP_TORTURE_SVG_H
#define LOCKSTEP_TORTURE_SVG_H

#include "report.h"

/* Write DIR/NN-rule-key.svg for each finding; the directory is made if there is none. @return false: a message was printed. */
bool svg_write_all(const char *directory, const struct facts *facts, const struct report *report);

#endif
