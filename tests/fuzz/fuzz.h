#ifndef NBH_TESTS_FUZZ_FUZZ_H
#define NBH_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's entry; replay.c calls it as well, with files and with what it makes of them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif
