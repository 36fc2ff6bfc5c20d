#include "runtime/arena.h"

#include <algorithm>
#include <numeric>

#include "runtime/errors.h"

namespace gossamer {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kMostBytes = int64_t{1} << 36;

bool together(const Buffer& a, const Buffer& b) { return a.first <= b.last && b.first <= a.last; }

}  // namespace

int64_t place_buffers(std::vector<Buffer>& buffers) {
  std::vector<Buffer*> waiting;
  for (Buffer& buffer : buffers) {
    buffer.bytes = (buffer.bytes + kAlignment - 1) / kAlignment * kAlignment;
    waiting.push_back(&buffer);
  }
  std::stable_sort(waiting.begin(), waiting.end(), [](auto* a, auto* b) { return a->bytes > b->bytes; });
  std::vector<Buffer*> placed;  // by offset
  int64_t end = 0;
  for (Buffer* buffer : waiting) {
    buffer->offset = 0;
    for (const Buffer* other : placed) {
      if (!together(*buffer, *other)) continue;
      if (buffer->offset + buffer->bytes <= other->offset) break;
      buffer->offset = std::max(buffer->offset, other->offset + other->bytes);
    }
    end = std::max(end, buffer->offset + buffer->bytes);
    if (end > kMostBytes) throw ShapeError("the network needs more than 64 GiB of working memory for inputs of this shape");
    placed.insert(std::upper_bound(placed.begin(), placed.end(), buffer,
                                   [](auto* a, auto* b) { return a->offset < b->offset; }),
                  buffer);
  }
  return end;
}

}  // namespace gossamer
