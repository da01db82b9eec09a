/* All of handover_test, with herod-keeper killed instead of an upgrade. */
#define KEEPER_IS_KILLED
#include "handover_test.c"
