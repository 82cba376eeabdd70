/* How much a line of the log matters. The parts that know no logger hand it out beside each line of theirs. */
#ifndef LOCKSTEP_NODE_LOGGER_LEVEL_H
#define LOCKSTEP_NODE_LOGGER_LEVEL_H

enum logger_level { LOGGER_ERROR = 0, LOGGER_WARNING = 1, LOGGER_INFO = 2, LOGGER_DEBUG = 3 };

#endif
