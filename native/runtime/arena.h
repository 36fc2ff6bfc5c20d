// Offsets in one block of memory for buffers that live during a stretch of steps.
#pragma once

#include <cstdint>
#include <vector>

namespace gossamer {

struct Buffer {
  int64_t bytes = 0;
  int first = 0, last = 0;  // steps, both included
  int64_t offset = 0;  // result
};

// Largest first, each at the lowest offset that no buffer alive at the same time covers (greedy by size; Pisarchyk and
// Lee 2020, "Efficient memory management for deep neural net inference", algorithm 3). Returns the bytes needed.
int64_t place_buffers(std::vector<Buffer>& buffers);

}  // namespace gossamer
