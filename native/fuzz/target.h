// What is fuzzed: every decoder of the codec. The first byte chooses one, the next ones its arguments, the rest is data.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
